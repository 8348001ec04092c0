"""What the client does for the agent: files, terminals and questions, only where it offers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acp.harness import Agent, Asked, Pool, Session, choosing, holding, replying
from tests.acp.script import calls, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

EVERYTHING = {
    "fs": {"readTextFile": True, "writeTextFile": True},
    "terminal": True,
    "elicitation": {"form": {}},
}

SCRIPT = {
    "hello": [says("Hello to you.")],
    "read": [calls("read_file", path="made.txt"), says("Read.")],
    "write": [calls("write_file", path="made.txt", content="agent\n"), says("Written.")],
    "edit": [
        calls("edit_file", path="made.txt", edits=[{"old": "buffer", "new": "edited"}]),
        says("Edited."),
    ],
    "run": [calls("run_command", command="make it"), says("Ran.")],
    "choose": [calls("ask_user", question="Which?", choices=["red", "green"]), says("Thanks.")],
    "choose many": [
        calls("ask_user", question="Which ones?", choices=["red", "green"], many=True),
        says("Thanks."),
    ],
    "tell": [calls("ask_user", question="What name?"), says("Thanks.")],
}


def last_text(session: Session) -> str:
    """What the last tool call shows in the end."""
    return session.of("tool_call_update")[-1]["content"][0]["content"]["text"]


# --- files ---------------------------------------------------------------------------------------


@requirement("fs.read")
async def test_the_text_in_the_editor_is_what_is_read(agents: Pool, cwd: Path) -> None:
    (cwd / "made.txt").write_text("disk\n")
    agent = await agents.get(EVERYTHING)
    agent.handlers["fs/read_text_file"] = replying({"content": "unsaved\n"})
    session = await agent.new(cwd)
    await session.prompt("read")
    assert "unsaved" in last_text(session)
    assert agent.asked[0].params == {"sessionId": session.id, "path": str(cwd / "made.txt")}


@requirement("fs.write")
async def test_edits_go_through_the_editor(agents: Pool, cwd: Path) -> None:
    (cwd / "made.txt").write_text("buffer\n")
    agent = await agents.get(EVERYTHING)
    agent.handlers["fs/read_text_file"] = replying({"content": "the buffer\n"})
    agent.handlers["fs/write_text_file"] = replying(None)
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt("edit") == "end_turn"
    written = [asked.params for asked in agent.asked if asked.method == "fs/write_text_file"]
    assert written == [{"sessionId": session.id, "path": str(cwd / "made.txt"), "content": "the edited\n"}]
    assert (cwd / "made.txt").read_text() == "buffer\n"


@requirement("fs.only-advertised")
@pytest.mark.parametrize(
    "capabilities", [{}, {"fs": {"readTextFile": True}}, {"fs": {"writeTextFile": True}}]
)
async def test_methods_that_were_not_offered_are_not_called(
    agents: Pool, cwd: Path, capabilities: dict[str, dict[str, bool]]
) -> None:
    (cwd / "made.txt").write_text("disk\n")
    agent = await agents.get(capabilities)
    offered = capabilities.get("fs", {})
    if "readTextFile" in offered:
        agent.handlers["fs/read_text_file"] = replying({"content": "disk\n"})
    if "writeTextFile" in offered:
        agent.handlers["fs/write_text_file"] = replying({})
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt("read") == "end_turn"
    assert await session.prompt("write") == "end_turn"
    methods = {asked.method for asked in agent.asked if asked.method.startswith("fs/")}
    assert methods <= {"fs/read_text_file" if "readTextFile" in offered else "fs/write_text_file"}
    assert (cwd / "made.txt").read_text() == ("disk\n" if "writeTextFile" in offered else "agent\n")


@requirement("fs.errors")
@pytest.mark.parametrize("answer", ["error", {"content": 3}, None, []])
async def test_a_failing_editor_never_breaks_the_turn(agents: Pool, cwd: Path, answer: object) -> None:
    (cwd / "made.txt").write_text("disk\n")
    agent = await agents.get(EVERYTHING)
    agent.handlers["fs/read_text_file"] = (
        (lambda asked: asked.fail(-32603, "no such buffer")) if answer == "error" else replying(answer)
    )
    session = await agent.new(cwd)
    assert await session.prompt("read") == "end_turn"
    assert session.of("tool_call_update")[-1]["status"] in ("completed", "failed")


@requirement("fs.errors")
async def test_cancel_while_the_editor_reads(agents: Pool, cwd: Path) -> None:
    (cwd / "made.txt").write_text("disk\n")
    agent = await agents.get(EVERYTHING)
    agent.handlers["fs/read_text_file"] = holding
    session = await agent.new(cwd)
    turn = session.begin("read")
    asked = await agent.question("fs/read_text_file")
    session.cancel()
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert asked.withdrawn
    assert await session.prompt("hello") == "end_turn"


# --- terminals -----------------------------------------------------------------------------------


def terminal(agent: Agent, *, exit_code: int | None = 0, output: str = "made\n") -> None:
    """A client that runs one command and keeps its output; `exit_code` None: it does not end."""
    status = {"exitCode": exit_code, "signal": None}
    agent.handlers |= {
        "session/request_permission": choosing("allow_once"),
        "terminal/create": replying({"terminalId": "term-1"}),
        "terminal/output": replying({"output": output, "truncated": False}),
        "terminal/wait_for_exit": holding if exit_code is None else replying(status),
        "terminal/release": replying({}),
        "terminal/kill": kill,
    }


def kill(asked: Asked) -> None:
    """End the command: everybody who waits for it is told."""
    asked.answer({})
    for waiting in asked.agent.asked:
        if waiting.method == "terminal/wait_for_exit" and not waiting.answered:
            waiting.answer({"exitCode": None, "signal": "SIGTERM"})


@requirement("terminal.run")
async def test_a_command_runs_in_the_clients_terminal_and_is_shown_there(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(EVERYTHING)
    terminal(agent)
    session = await agent.new(cwd)
    assert await session.prompt("run") == "end_turn"
    created = next(asked.params for asked in agent.asked if asked.method == "terminal/create")
    assert (created["cwd"], created["args"][-1]) == (str(cwd), "make it")
    shown = [item["content"] for item in session.of("tool_call_update") if "content" in item]
    assert [{"type": "terminal", "terminalId": "term-1"}] in shown
    assert session.of("tool_call_update")[-1]["status"] == "completed"


@requirement("terminal.release")
async def test_every_terminal_is_released_once(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(EVERYTHING)
    terminal(agent, exit_code=2)
    session = await agent.new(cwd)
    assert await session.prompt("run") == "end_turn"
    await agent.question("terminal/release")
    await agent.settle()
    methods = [asked.method for asked in agent.asked]
    assert (methods.count("terminal/create"), methods.count("terminal/release")) == (1, 1)
    assert session.of("tool_call_update")[-1]["status"] == "failed"


@requirement("terminal.kill")
async def test_cancel_kills_and_releases_the_terminal(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(EVERYTHING)
    terminal(agent, exit_code=None)
    session = await agent.new(cwd)
    turn = session.begin("run")
    await agent.question("terminal/wait_for_exit")
    session.cancel()
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    await agent.question("terminal/kill")
    await agent.question("terminal/release")
    assert await session.prompt("hello") == "end_turn"


@requirement("terminal.errors")
@pytest.mark.parametrize("method", ["terminal/create", "terminal/output", "terminal/wait_for_exit"])
async def test_a_failing_terminal_is_a_failed_call_and_not_more(agents: Pool, cwd: Path, method: str) -> None:
    agent = await agents.get(EVERYTHING)
    terminal(agent)
    agent.handlers[method] = lambda asked: asked.fail(-32603, "no terminal today")
    session = await agent.new(cwd)
    assert await session.prompt("run") == "end_turn"
    assert session.of("tool_call_update")[-1]["status"] in ("completed", "failed")


@requirement("terminal.only-advertised")
async def test_without_terminals_commands_run_here(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt("run") == "end_turn"
    assert {asked.method for asked in agent.asked} == {"session/request_permission"}


# --- questions -----------------------------------------------------------------------------------


@requirement("elicitation.form")
async def test_a_question_is_a_form_where_the_client_shows_forms(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(EVERYTHING)
    agent.handlers["elicitation/create"] = lambda asked: asked.answer(
        {"action": "accept", "content": {next(iter(asked.params["requestedSchema"]["properties"])): "green"}}
    )
    session = await agent.new(cwd)
    assert await session.prompt("choose") == "end_turn"
    params = agent.asked[0].params
    assert (params["mode"], params["sessionId"], params["message"]) == ("form", session.id, "Which?")
    assert params["toolCallId"] == session.of("tool_call")[0]["toolCallId"]
    assert "green" in last_text(session)


@requirement("elicitation.form")
@pytest.mark.parametrize("prompt", ["tell", "choose many"])
async def test_free_text_and_several_choices_are_forms_too(agents: Pool, cwd: Path, prompt: str) -> None:
    agent = await agents.get(EVERYTHING)
    value: object = "Ada" if prompt == "tell" else ["red", "green"]
    agent.handlers["elicitation/create"] = lambda asked: asked.answer(
        {"action": "accept", "content": {next(iter(asked.params["requestedSchema"]["properties"])): value}}
    )
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    assert ("Ada" if prompt == "tell" else "red") in last_text(session)


@requirement("elicitation.no-answer")
@pytest.mark.parametrize(
    "answer",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept"},
        {"action": "accept", "content": {"made": "up"}},
        {"action": "accept", "content": 3},
        {"action": "dance"},
        {},
        None,
    ],
)
async def test_a_question_without_an_answer_does_not_stop_the_turn(
    agents: Pool, cwd: Path, answer: object
) -> None:
    agent = await agents.get(EVERYTHING)
    agent.handlers["elicitation/create"] = replying(answer)
    session = await agent.new(cwd)
    assert await session.prompt("choose") == "end_turn"
    assert session.text() == "Thanks."


@requirement("elicitation.only-advertised")
async def test_a_choice_is_a_permission_request_where_there_are_no_forms(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = lambda asked: asked.answer(
        {"outcome": {"outcome": "selected", "optionId": asked.params["options"][1]["optionId"]}}
    )
    session = await agent.new(cwd)
    assert await session.prompt("choose") == "end_turn"
    assert [item["name"] for item in agent.asked[0].params["options"]][:2] == ["red", "green"]
    assert "green" in last_text(session)


@requirement("elicitation.only-advertised")
@pytest.mark.parametrize("prompt", ["tell", "choose many"])
async def test_a_question_that_cannot_be_asked_goes_unanswered(agent: Agent, cwd: Path, prompt: str) -> None:
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    assert (agent.asked, session.text()) == ([], "Thanks.")
