"""The official clients, Python and TypeScript, hold whole conversations with the real command."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from hermes_acp import config
from tests.acp.sdk import script
from tests.acp.sdk.clients import PythonClient, TypeScriptClient, missing
from tests.acp.sdk.desk import PATIENCE, CallError, Client, Desk, Json

pytestmark = pytest.mark.slow

NOTES = "milk\neggs\n"
MODES = ("ask", "accept_edits", "plan")
FILES = {"fs": {"readTextFile": True, "writeTextFile": True}}
TURN_UPDATES = {
    "agent_message_chunk",
    "agent_thought_chunk",
    "user_message_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
}


@dataclass
class Editor:
    """A connected client with its desk, and what every conversation must obey."""

    client: Client
    desk: Desk
    cwd: str
    _answered: dict[str, int] = field(default_factory=dict[str, int])

    async def new(self, **members: object) -> str:
        return (await self.call("session/new", cwd=self.cwd, mcpServers=[], **members))["sessionId"]

    async def call(self, method: str, **params: object) -> Json:
        async with asyncio.timeout(PATIENCE):
            return await self.client.call(method, params)

    async def prompt(self, session_id: str, text: str) -> str:
        """A turn: its stop reason. What came after the answer of the turn before is a mistake."""
        self.check_silence(session_id)
        blocks = [{"type": "text", "text": text}]
        answer = await self.call("session/prompt", sessionId=session_id, prompt=blocks)
        self._answered[session_id] = len(self.desk.told)
        self.check_calls(session_id)
        return answer["stopReason"]

    async def cancel(self, session_id: str) -> None:
        """What editors do: the notification, then the open questions are answered as cancelled."""
        await self.client.notify("session/cancel", {"sessionId": session_id})
        self.desk.answer_open(None)

    def expect_replay(self, session_id: str) -> None:
        """What was told until now may belong to a replay."""
        self._answered.pop(session_id, None)

    def check_silence(self, session_id: str) -> None:
        told = self.desk.told[self._answered.get(session_id, 0) :]
        kinds = {item["update"]["sessionUpdate"] for item in told if item["sessionId"] == session_id}
        if session_id in self._answered:
            assert not kinds & TURN_UPDATES

    def check_calls(self, session_id: str) -> None:
        """Every tool call was opened once and reached an end."""
        status: dict[str, str] = {}
        for update in self.desk.updates(session_id):
            if update["sessionUpdate"] == "tool_call":
                assert update["toolCallId"] not in status
                status[update["toolCallId"]] = update["status"]
            elif update["sessionUpdate"] == "tool_call_update":
                assert status[update["toolCallId"]] not in ("completed", "failed")
                status[update["toolCallId"]] = update.get("status") or status[update["toolCallId"]]
        assert set(status.values()) <= {"completed", "failed"}

    def text(self, session_id: str, kind: str = "agent_message_chunk") -> str:
        return "".join(update["content"]["text"] for update in self.desk.updates(session_id, kind))

    def last_call(self, session_id: str) -> Json:
        """The last tool call, as its updates add up."""
        updates = [item for item in self.desk.updates(session_id) if "toolCallId" in item]
        of_call = [item for item in updates if item["toolCallId"] == updates[-1]["toolCallId"]]
        merged: Json = {}
        for update in of_call:
            merged |= {name: value for name, value in update.items() if value is not None}
        return merged

    def result(self, session_id: str) -> str:
        """What the last tool call says it did."""
        return "".join(item["content"]["text"] for item in self.last_call(session_id)["content"])


Connect = Callable[..., AbstractAsyncContextManager[Editor]]


@pytest.fixture(params=[PythonClient, TypeScriptClient], ids=["python", "typescript"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Starts the command with a client; each use starts another process on the same home."""
    if request.param is TypeScriptClient and (reason := missing()):
        pytest.skip(reason)
    project = tmp_path / "project"
    _prepare(project, tmp_path / "script.jsonl")
    env = dict(config.environment()) | {
        "HERMES_EDITOR_HOME": str(tmp_path / "home"),
        "HERMES_EDITOR_SERVER_IDLE": "2",
        "HERMES_EDITOR_MODEL": f"scripted/{tmp_path / 'script.jsonl'}",
        "HERMES_EDITOR_MODELS": "scripted/other,scripted/third",
    }

    @asynccontextmanager
    async def start(**capabilities: object) -> AsyncGenerator[Editor, None]:
        desk = Desk(tmp_path)
        async with request.param.connected(desk, env) as client:
            editor = Editor(client, desk, str(project))
            await editor.call(
                "initialize",
                protocolVersion=1,
                clientCapabilities=capabilities,
                clientInfo={"name": "tests", "version": "1"},
            )
            yield editor

    return start


def _prepare(project: Path, path: Path) -> None:
    project.mkdir()
    (project / "notes.txt").write_text(NOTES)
    script.write(path)


async def test_initialize_offers_version_1_and_every_session_capability(connect: Connect) -> None:
    async with connect() as editor:
        answer = await editor.call("initialize", protocolVersion=1, clientCapabilities={})
        assert answer["protocolVersion"] == 1
        assert answer["agentInfo"]["name"] == "hermes-editor"
        capabilities = answer["agentCapabilities"]
        assert capabilities["loadSession"] is True
        assert set(capabilities["sessionCapabilities"]) == {
            "list",
            "resume",
            "close",
            "delete",
            "additionalDirectories",
        }


async def test_a_turn_streams_thoughts_and_text_exactly_and_reports_usage(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        assert await editor.prompt(session, "hello") == "end_turn"
        assert editor.text(session) == script.GREETING
        assert editor.text(session, "agent_thought_chunk") == "A greeting."
        [usage] = editor.desk.updates(session, "usage_update")
        assert (usage["used"], usage["cost"]) == (48, {"amount": 0.5, "currency": "USD"})


async def test_an_allowed_edit_shows_its_diff_before_and_after(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        path = str(Path(editor.cwd) / "notes.txt")
        diff = {"type": "diff", "path": path, "oldText": NOTES, "newText": "bread\neggs\n"}
        [asked] = editor.desk.requests("session/request_permission")
        call = editor.last_call(session)
        assert (call["kind"], call["status"], call["content"]) == ("edit", "completed", [diff])
        assert (asked["toolCall"]["toolCallId"], asked["toolCall"]["content"]) == (call["toolCallId"], [diff])
        assert call["locations"] == [{"path": path, "line": 1}]
        assert await asyncio.to_thread(Path(path).read_text) == "bread\neggs\n"
        assert editor.text(session) == script.AFTER_TOOL


async def test_a_rejected_edit_changes_nothing_and_the_turn_goes_on(connect: Connect) -> None:
    async with connect() as editor:
        editor.desk.choose = "reject_once"
        session = await editor.new()
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert editor.last_call(session)["status"] == "failed"
        assert "refused" in editor.result(session)
        assert await asyncio.to_thread((Path(editor.cwd) / "notes.txt").read_text) == NOTES


async def test_an_answer_for_the_session_is_not_asked_for_again(connect: Connect) -> None:
    async with connect() as editor:
        editor.desk.choose = "allow_session"
        session = await editor.new()
        assert await editor.prompt(session, "write it") == "end_turn"
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert len(editor.desk.requests("session/request_permission")) == 1


async def test_files_are_read_and_written_through_the_editor_where_it_offers_that(connect: Connect) -> None:
    async with connect(**FILES) as editor:
        path = str(Path(editor.cwd) / "notes.txt")
        editor.desk.buffers[path] = "unsaved milk\n"
        session = await editor.new()
        assert await editor.prompt(session, "read the notes") == "end_turn"
        assert "unsaved milk" in editor.result(session)
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert editor.desk.buffers[path] == "unsaved bread\n"
        written = editor.desk.requests("fs/write_text_file")
        assert written == [{"sessionId": session, "path": path, "content": "unsaved bread\n"}]
        assert await editor.prompt(session, "write it") == "end_turn"
        assert editor.desk.buffers[str(Path(editor.cwd) / "fresh.txt")] == "new\n"


async def test_without_the_capability_files_are_read_and_written_directly(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        await editor.prompt(session, "read the notes")
        await editor.prompt(session, "write it")
        assert await asyncio.to_thread((Path(editor.cwd) / "fresh.txt").read_text) == "new\n"
        assert {method for method, _ in editor.desk.asked} == {"session/request_permission"}


async def test_a_command_runs_in_the_terminal_of_the_editor(connect: Connect) -> None:
    async with connect(terminal=True) as editor:
        session = await editor.new()
        assert await editor.prompt(session, "run it") == "end_turn"
        call = editor.last_call(session)
        assert (call["kind"], call["status"]) == ("execute", "failed")
        assert call["content"] == [{"type": "terminal", "terminalId": "editor-1"}]
        assert "one\ntwo\nexit code 3" in call["rawOutput"]["text"]
        [created] = editor.desk.requests("terminal/create")
        assert created["cwd"] == editor.cwd
        await editor.desk.until(lambda: bool(editor.desk.requests("terminal/release")))


async def test_without_a_terminal_the_output_comes_as_content(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        assert await editor.prompt(session, "run it") == "end_turn"
        call = editor.last_call(session)
        [content] = call["content"]
        assert content["content"]["text"].startswith("```\none\ntwo\n```\nexit code 3 in ")
        assert not editor.desk.requests("terminal/create")


async def test_with_terminal_output_the_output_comes_in_pieces_that_add_up(connect: Connect) -> None:
    async with connect(_meta={"terminal_output": True}) as editor:
        session = await editor.new()
        assert await editor.prompt(session, "run it") == "end_turn"
        metas = [update.get("_meta") or {} for update in editor.desk.updates(session, "tool_call_update")]
        pieces = [meta["terminal_output"]["data"] for meta in metas if "terminal_output" in meta]
        assert "".join(pieces) == "one\ntwo\n"
        [ended] = [meta["terminal_exit"] for meta in metas if "terminal_exit" in meta]
        assert ended["exit_code"] == 3


async def test_a_plan_is_shown_with_its_states(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        assert await editor.prompt(session, "plan it") == "end_turn"
        [plan] = editor.desk.updates(session, "plan")
        assert plan["entries"] == [
            {"content": "Look", "priority": "medium", "status": "completed"},
            {"content": "Change", "priority": "high", "status": "in_progress"},
        ]


async def test_a_question_is_put_as_a_form_where_the_editor_shows_forms(connect: Connect) -> None:
    async with connect(elicitation={"form": {}}) as editor:
        editor.desk.fill = {"answer": "blue"}
        session = await editor.new()
        assert await editor.prompt(session, "choose one") == "end_turn"
        [asked] = editor.desk.requests("elicitation/create")
        assert asked["message"] == "Which colour?"
        assert editor.result(session) == "The user answered: blue"
        editor.desk.fill = None
        assert await editor.prompt(session, "choose again") == "end_turn"
        assert "declined" in editor.result(session)


async def test_a_question_with_choices_is_put_as_a_permission_elsewhere(connect: Connect) -> None:
    async with connect() as editor:
        editor.desk.choose = "0"
        session = await editor.new()
        assert await editor.prompt(session, "choose one") == "end_turn"
        assert editor.result(session) == "The user answered: red"


async def test_cancel_while_the_model_streams(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        assert await _cancelled(editor, session, "stream", "agent_message_chunk") == "cancelled"
        assert await editor.prompt(session, "hello") == "end_turn"


async def test_cancel_while_a_command_runs_ends_the_command(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        shown = r"pid (\d+) end"
        assert await _cancelled(editor, session, "sleep", "tool_call_update", shown) == "cancelled"
        assert editor.last_call(session)["status"] == "failed"
        found = re.search(shown, str(editor.desk.updates(session, "tool_call_update")))
        assert found is not None
        with pytest.raises(ProcessLookupError):
            os.kill(int(found[1]), 0)
        assert await editor.prompt(session, "hello") == "end_turn"


async def test_cancel_while_a_command_runs_in_the_editor_kills_and_frees_its_terminal(
    connect: Connect,
) -> None:
    async with connect(terminal=True) as editor:
        session = await editor.new()
        assert await _cancelled(editor, session, "sleep", "tool_call_update", "terminalId") == "cancelled"
        await editor.desk.until(lambda: bool(editor.desk.requests("terminal/release")))
        assert editor.desk.requests("terminal/kill")
        assert await editor.prompt(session, "hello") == "end_turn"


async def test_cancel_while_a_permission_is_open(connect: Connect) -> None:
    async with connect() as editor:
        editor.desk.choose = None
        session = await editor.new()
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(editor.prompt(session, "edit the notes"))
            await editor.desk.until(lambda: bool(editor.desk.requests("session/request_permission")))
            await editor.cancel(session)
        assert turn.result() == "cancelled"
        assert editor.last_call(session)["status"] == "failed"
        assert await asyncio.to_thread((Path(editor.cwd) / "notes.txt").read_text) == NOTES
        editor.desk.choose = "allow_once"
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert editor.last_call(session)["status"] == "completed"


async def test_the_mode_is_set_and_followed(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        for mode in MODES:
            await editor.call("session/set_mode", sessionId=session, modeId=mode)
        await editor.desk.until(
            lambda: len(editor.desk.updates(session, "current_mode_update")) == len(MODES)
        )
        shown = editor.desk.updates(session, "current_mode_update")
        assert [update["currentModeId"] for update in shown] == list(MODES)
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert editor.last_call(session)["status"] == "failed"
        await editor.call("session/set_mode", sessionId=session, modeId="accept_edits")
        assert await editor.prompt(session, "edit the notes") == "end_turn"
        assert editor.last_call(session)["status"] == "completed"
        assert editor.desk.requests("session/request_permission") == []
        with pytest.raises(CallError) as caught:
            await editor.call("session/set_mode", sessionId=session, modeId="reckless")
        assert caught.value.code == -32602


async def test_every_config_option_takes_every_value_it_lists(connect: Connect) -> None:
    async with connect() as editor:
        answer = await editor.call("session/new", cwd=editor.cwd, mcpServers=[])
        session = answer["sessionId"]
        assert [option.get("category") for option in answer["configOptions"][:3]] == [
            "mode",
            "model",
            "thought_level",
        ]
        for option in answer["configOptions"]:
            for value in (item["value"] for item in reversed(option["options"])):
                changed = await editor.call(
                    "session/set_config_option", sessionId=session, configId=option["id"], value=value
                )
                current = {item["id"]: item["currentValue"] for item in changed["configOptions"]}
                assert current[option["id"]] == value
                assert len(changed["configOptions"]) == len(answer["configOptions"])
        with pytest.raises(CallError) as caught:
            await editor.call(
                "session/set_config_option", sessionId=session, configId="effort", value="heroic"
            )
        assert caught.value.code == -32602


async def test_load_replays_everything_in_another_process(connect: Connect) -> None:
    async with connect() as first:
        session = await first.new()
        for text in ("hello", "edit the notes", "plan it"):
            assert await first.prompt(session, text) == "end_turn"
        assert await first.client.leave() == 0
        async with connect() as second:
            state = await second.call("session/load", sessionId=session, cwd=second.cwd, mcpServers=[])
            assert state["modes"]["currentModeId"] == "ask"
            assert second.text(session, "user_message_chunk") == "helloedit the notesplan it"
            assert second.text(session) == first.text(session)
            assert second.text(session, "agent_thought_chunk") == first.text(session, "agent_thought_chunk")
            assert second.desk.updates(session, "plan") == first.desk.updates(session, "plan")
            assert second.last_call(session)["content"] == first.last_call(session)["content"]
            second.check_calls(session)
            assert await second.prompt(session, "hello") == "end_turn"


async def test_resume_replays_nothing_and_goes_on(connect: Connect) -> None:
    async with connect() as first:
        session = await first.new()
        await first.prompt(session, "hello")
        await first.client.leave()
        async with connect() as second:
            await second.call("session/resume", sessionId=session, cwd=second.cwd)
            await second.desk.until(lambda: bool(second.desk.updates(session, "available_commands_update")))
            assert {update["sessionUpdate"] for update in second.desk.updates(session)} == {
                "available_commands_update"
            }
            assert await second.prompt(session, "hello") == "end_turn"
            assert second.text(session) == script.GREETING


async def test_sessions_are_listed_closed_and_deleted(connect: Connect) -> None:
    async with connect() as editor:
        one, two = await editor.new(), await editor.new()
        await editor.prompt(one, "hello")
        listed = await editor.call("session/list", cwd=editor.cwd)
        assert {item["sessionId"] for item in listed["sessions"]} == {one, two}
        assert next(item for item in listed["sessions"] if item["sessionId"] == one)["title"] == "hello"
        await editor.call("session/close", sessionId=one)
        with pytest.raises(CallError) as caught:
            await editor.prompt(one, "hello")
        assert caught.value.code == -32002
        await editor.call("session/load", sessionId=one, cwd=editor.cwd, mcpServers=[])
        editor.expect_replay(one)
        assert await editor.prompt(one, "hello") == "end_turn"
        await editor.call("session/delete", sessionId=one)
        listed = await editor.call("session/list", cwd=editor.cwd)
        assert [item["sessionId"] for item in listed["sessions"]] == [two]
        with pytest.raises(CallError) as caught:
            await editor.call("session/load", sessionId=one, cwd=editor.cwd, mcpServers=[])
        assert caught.value.code == -32002


async def test_two_sessions_run_side_by_side(connect: Connect) -> None:
    async with connect() as editor:
        one, two = await editor.new(), await editor.new()
        async with asyncio.TaskGroup() as group:
            long = group.create_task(editor.prompt(one, "stream"))
            await editor.desk.until(lambda: bool(editor.desk.updates(one, "agent_message_chunk")))
            assert await editor.prompt(two, "hello") == "end_turn"
            await editor.cancel(one)
        assert long.result() == "cancelled"
        assert editor.text(two) == script.GREETING
        assert set(editor.text(one).split()) == {"and", "on"}


async def test_a_message_joins_the_running_turn(connect: Connect) -> None:
    async with connect() as editor:
        editor.desk.choose = None
        session = await editor.new()
        steer = {"sessionId": session, "prompt": [{"type": "text", "text": "also say so"}]}
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(editor.prompt(session, "run it"))
            await editor.desk.until(lambda: bool(editor.desk.requests("session/request_permission")))
            assert await editor.call("_session/steering", **steer) == {"outcome": "injected"}
            editor.desk.answer_open("allow_once")
        assert turn.result() == "end_turn"
        assert editor.text(session) == "I heard you."


async def test_the_end_of_the_input_ends_the_agent_in_the_middle_of_a_turn(connect: Connect) -> None:
    async with connect() as editor:
        session = await editor.new()
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(_abandoned(editor, session))
            await editor.desk.until(lambda: bool(editor.desk.updates(session, "agent_message_chunk")))
            async with asyncio.timeout(15):
                assert await editor.client.leave() == 0
            turn.cancel()


async def test_an_unknown_session_and_a_relative_folder_are_named_as_errors(connect: Connect) -> None:
    async with connect() as editor:
        with pytest.raises(CallError) as caught:
            await editor.call("session/load", sessionId="nowhere", cwd=editor.cwd, mcpServers=[])
        assert caught.value.code == -32002
        with pytest.raises(CallError) as caught:
            await editor.call("session/new", cwd="project", mcpServers=[])
        assert caught.value.code == -32602


async def _cancelled(editor: Editor, session: str, text: str, kind: str, shown: str = "") -> str:
    """Start a turn, cancel it once an update of this kind shows this, and give its stop reason."""
    async with asyncio.TaskGroup() as group:
        turn = group.create_task(editor.prompt(session, text))
        updates = partial(editor.desk.updates, session, kind)
        await editor.desk.until(lambda: any(re.search(shown, str(item)) for item in updates()))
        await editor.cancel(session)
    return turn.result()


async def _abandoned(editor: Editor, session: str) -> None:
    blocks = [{"type": "text", "text": "stream"}]
    try:
        await editor.call("session/prompt", sessionId=session, prompt=blocks)
    except (CallError, ConnectionError):
        return
