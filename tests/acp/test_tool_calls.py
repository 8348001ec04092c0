"""Tool calls as the editor sees them, and the permissions they ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, Asked, Pool, Session, choosing, holding, replying
from tests.acp.script import calls, parts, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

STEPS = [
    {"content": "Look", "status": "completed", "priority": "high"},
    {"content": "Act", "status": "in_progress", "priority": "low"},
    {"content": "Tell"},
]

SCRIPT = {
    "hello": [says("Hello to you.")],
    "think": [parts({"thought": "Let me ", "chunks": 2}, {"thought": "see."}, {"text": "Seen."})],
    "read": [calls("read_file", path="made.txt"), says("Read.")],
    "write": [calls("write_file", path="made.txt", content="two\n"), says("Written.")],
    "edit": [calls("edit_file", path="made.txt", edits=[{"old": "two", "new": "2"}]), says("Edited.")],
    "run": [calls("run_command", command="echo out; echo err >&2; exit 3"), says("Ran.")],
    "stream": [calls("run_command", command="echo first; read -t 5 _ < go; echo last"), says("Ran.")],
    "touch": [calls("run_command", command="touch made.txt"), says("Touched.")],
    "plan": [calls("plan", entries=STEPS), says("Planned.")],
    "unknown": [calls("fly_away", to="Paris"), says("Oh.")],
    "malformed": [parts({"tool": "read_file", "raw": '{"path": "made'}), says("Oh.")],
    "wrong": [calls("read_file", file="made.txt"), says("Oh.")],
    "several": [
        parts(
            {"text": "Doing it."},
            {"tool": "read_file", "arguments": {"path": "made.txt"}, "id": "same"},
            {"tool": "list_dir", "arguments": {}, "id": "same"},
            {"tool": "write_file", "arguments": {"path": "a.txt", "content": "a"}, "id": "same"},
        ),
        says("Done."),
    ],
    "usage": [parts({"text": "Costly."}, {"usage": {"input": 90, "output": 10, "cost": 0.5}})],
    "outside": [calls("write_file", path="../outside.txt", content="x"), says("Oh.")],
}


def of_call(session: Session) -> list[dict[str, Any]]:
    """All that was said of the only tool call."""
    updates = session.of("tool_call", "tool_call_update")
    assert len({item["toolCallId"] for item in updates}) == 1
    return updates


def merged(session: Session) -> dict[str, Any]:
    """The only tool call as an editor shows it in the end."""
    whole: dict[str, Any] = {}
    for update in of_call(session):
        whole |= update
    return {key: whole[key] for key in whole.keys() - {"sessionUpdate", "toolCallId"}}


@requirement("update.agent-message")
async def test_text_comes_in_chunks_of_one_message(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("think")
    chunks = session.of("agent_message_chunk")
    assert session.text() == "Seen."
    assert len({item["messageId"] for item in chunks}) == 1


@requirement("update.agent-thought")
async def test_thoughts_come_apart_from_the_answer(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("think")
    assert session.text("agent_thought_chunk") == "Let me see."


@requirement("update.usage")
async def test_usage_tells_the_context_and_the_cost(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("usage")
    await session.prompt("usage")
    assert session.of("usage_update") == [
        {
            "sessionUpdate": "usage_update",
            "used": 100,
            "size": 128_000,
            "cost": {"amount": amount, "currency": "USD"},
        }
        for amount in (0.5, 1.0)
    ]


@requirement("update.plan")
async def test_a_plan_is_shown_whole(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("plan")
    entries = [*STEPS[:2], {"content": "Tell", "status": "pending", "priority": "medium"}]
    assert session.of("plan") == [{"sessionUpdate": "plan", "entries": entries}]


@requirement("tool-call.life")
@requirement("update.tool-call")
@requirement("update.tool-call-update")
async def test_a_reading_call_goes_from_pending_to_completed(agent: Agent, cwd: Path) -> None:
    (cwd / "made.txt").write_text("one\n")
    session = await agent.new(cwd)
    await session.prompt("read")
    statuses = [item.get("status") for item in of_call(session)]
    assert statuses == ["pending", "in_progress", "completed"]
    call = merged(session)
    assert (call["kind"], call["name"], call["rawInput"]) == ("read", "read_file", {"path": "made.txt"})
    assert call["locations"] == [{"path": str(cwd / "made.txt"), "line": 1}]
    assert agent.asked == []


@requirement("tool-call.failure")
@pytest.mark.parametrize("prompt", ["unknown", "malformed", "wrong", "read"])
async def test_a_call_that_cannot_work_fails_and_the_turn_goes_on(
    agent: Agent, cwd: Path, prompt: str
) -> None:
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    call = merged(session)
    assert call["status"] == "failed"
    assert call["content"][0]["content"]["text"]
    assert session.text() in ("Oh.", "Read.")


@requirement("tool-call.ids")
async def test_calls_get_ids_of_their_own_even_when_the_model_repeats_one(agent: Agent, cwd: Path) -> None:
    (cwd / "made.txt").write_text("one\n")
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.prompt("several")
    assert len({item["toolCallId"] for item in session.of("tool_call")}) == 3
    ended = [item for item in session.of("tool_call_update") if item.get("status") == "completed"]
    assert len(ended) == 3


@requirement("tool-call.diff")
async def test_a_new_file_is_a_diff_without_old_text(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.prompt("write")
    diff = {"type": "diff", "path": str(cwd / "made.txt"), "oldText": None, "newText": "two\n"}
    assert agent.asked[0].params["toolCall"]["content"] == [diff]
    assert merged(session)["content"] == [diff]
    assert (cwd / "made.txt").read_text() == "two\n"


@requirement("tool-call.diff")
async def test_an_edit_is_a_diff_with_the_old_text(agent: Agent, cwd: Path) -> None:
    (cwd / "made.txt").write_text("one\ntwo\n")
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.prompt("edit")
    diff = {"type": "diff", "path": str(cwd / "made.txt"), "oldText": "one\ntwo\n", "newText": "one\n2\n"}
    assert merged(session)["content"] == [diff]
    assert merged(session)["kind"] == "edit"


@requirement("tool-call.output")
async def test_output_streams_as_content_while_the_command_runs(agent: Agent, cwd: Path) -> None:
    await stream(agent, cwd, lambda item: str(item.get("content", "")))


@requirement("tool-call.output")
async def test_output_streams_as_terminal_data_where_the_client_shows_it(agents: Pool, cwd: Path) -> None:
    agent = await agents.get({"_meta": {"terminal_output": True}})
    session = await stream(agent, cwd, lambda item: str(item.get("_meta", "")))
    metas = [item["_meta"] for item in session.of("tool_call_update") if "_meta" in item]
    call_id = of_call(session)[0]["toolCallId"]
    assert "".join(meta["terminal_output"]["data"] for meta in metas[:-1]) == "first\nlast\n"
    assert metas[-1] == {"terminal_exit": {"terminal_id": call_id, "exit_code": 0, "signal": None}}


async def stream(agent: Agent, cwd: Path, news: Callable[[Any], str]) -> Session:
    """Run a command that waits in the middle, and see its first line before it goes on."""
    os.mkfifo(cwd / "go")
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    turn = session.begin("stream")
    await agent.until(
        lambda: any("first" in news(item) for item in session.of("tool_call_update")), "the first line"
    )
    assert not turn.done()
    (cwd / "go").write_text("go\n")
    assert (await agent.settled(turn))["stopReason"] == "end_turn"
    assert any("last" in news(item) for item in session.of("tool_call_update"))
    return session


@requirement("tool-call.exit")
async def test_a_command_that_fails_shows_its_output_and_its_code(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.prompt("run")
    call = merged(session)
    text = call["content"][0]["content"]["text"]
    assert (call["kind"], call["status"], call["rawOutput"]["exitCode"]) == ("execute", "failed", 3)
    assert "out\nerr" in text


@requirement("permission.request")
async def test_a_request_names_its_call_and_offers_every_kind_of_answer(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.prompt("touch")
    params = agent.asked[0].params
    kinds = [item["kind"] for item in params["options"]]
    assert params["toolCall"]["toolCallId"] == session.of("tool_call")[0]["toolCallId"]
    assert set(kinds) == {"allow_once", "allow_always", "reject_once", "reject_always"}
    assert len({item["optionId"] for item in params["options"]}) == len(kinds)


@requirement("permission.reject")
async def test_a_rejected_call_fails_does_nothing_and_the_turn_goes_on(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_once")
    session = await agent.new(cwd)
    assert await session.prompt("write") == "end_turn"
    assert (merged(session)["status"], session.text()) == ("failed", "Written.")
    assert not (cwd / "made.txt").exists()


@requirement("permission.pending")
async def test_a_call_waits_for_its_permission_as_pending(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    asked = await agent.question()
    assert {item["status"] for item in of_call(session)} == {"pending"}
    asked.choose("allow_once")
    assert (await agent.settled(turn))["stopReason"] == "end_turn"
    statuses = [item.get("status") for item in of_call(session)]
    assert statuses == ["pending", "pending", "in_progress", "completed"]


@requirement("permission.always")
async def test_what_is_always_allowed_is_not_asked_again_in_the_project(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_always")
    for session in (await agent.new(cwd), await agent.new(cwd)):
        assert await session.prompt("touch") == "end_turn"
    assert len(agent.asked) <= 2
    (cwd / "made.txt").unlink()
    assert await (await agent.new(cwd)).prompt("touch") == "end_turn"
    assert (cwd / "made.txt").exists()


@requirement("permission.always")
async def test_what_is_always_rejected_is_refused_without_asking(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_always")
    session = await agent.new(cwd)
    await session.prompt("touch")
    await session.prompt("touch")
    assert len(agent.asked) == 1
    assert not (cwd / "made.txt").exists()


@requirement("permission.unanswered")
@pytest.mark.parametrize(
    "result",
    [
        {"outcome": {"outcome": "cancelled"}},
        {"outcome": {"outcome": "selected", "optionId": "made-up"}},
        {"outcome": {"outcome": "selected"}},
        {"outcome": "allow"},
        {},
        None,
        [],
        "yes",
    ],
)
async def test_an_answer_that_chooses_nothing_is_a_no(agent: Agent, cwd: Path, result: object) -> None:
    agent.handlers["session/request_permission"] = replying(result)
    session = await agent.new(cwd)
    assert await session.prompt("write") == "end_turn"
    assert merged(session)["status"] == "failed"
    assert not (cwd / "made.txt").exists()


@requirement("permission.unanswered")
async def test_a_client_that_cannot_ask_is_a_no_and_not_the_users(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.prompt("write") == "end_turn"
    text = merged(session)["content"][0]["content"]["text"]
    assert "did not refuse" in text


@requirement("permission.request")
async def test_a_write_that_leaves_the_workspace_by_dots_is_never_done_unasked(
    agent: Agent, cwd: Path, tmp_path: Path
) -> None:
    seen: list[Asked] = []
    agent.handlers["session/request_permission"] = lambda asked: (
        seen.append(asked),
        asked.choose("reject_once"),
    )
    session = await agent.new(cwd)
    await session.request("session/set_mode", modeId="accept_edits")
    assert await session.prompt("outside") == "end_turn"
    assert not (tmp_path / "outside.txt").exists()
    assert all(str(tmp_path / "outside.txt") in str(asked.params) for asked in seen)
