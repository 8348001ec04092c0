"""Cancelling, in every state a turn can be in, and going on afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.acp.harness import Agent, AgentError, Pool, Session, choosing, holding, is_alive
from tests.acp.script import calls, parts, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SLEEPER = "sleep 61 & sleep 62 & echo ready; wait"
SHOWS = {"elicitation": {"form": {}}, "session": {"compaction": {}}}
QUESTION = {"question": "Which?", "choices": ["red", "green"]}

SCRIPT = {
    "hello": [says("Hello to you.")],
    "slow": [says("tick ", repeat=2000, delay=0.01)],
    "big": [parts({"text": "x" * 1000, "repeat": 6000}, {"usage": {"input": 1}})],
    "silent": [parts({"wait": 60.0}, {"text": "At last."})],
    "run": [calls("run_command", command=SLEEPER), says("Ran.")],
    "write": [calls("write_file", path="made.txt", content="x"), says("Written.")],
    "two": [
        parts(
            {"tool": "run_command", "arguments": {"command": SLEEPER}},
            {"tool": "write_file", "arguments": {"path": "never.txt", "content": "x"}},
        ),
        says("Both."),
    ],
    "ask": [calls("ask_user", **QUESTION), says("Asked.")],
    "half a call": [
        parts({"tool": "write_file", "arguments": {"path": "x" * 500}, "chunks": 500, "delay": 0.02})
    ],
    "Summarise the conversation above.": [parts({"wait": 60.0}, {"text": "A summary."})],
}

LIMIT = 20.0
"""Seconds, far less than what is cancelled would wait; how soon it really is, a benchmark measures."""


async def stop(session: Session, turn: object) -> None:
    """Cancel, and see that the answer comes soon and that the next prompt works."""
    begun = time.monotonic()
    session.cancel()
    assert await session.agent.settled(turn) == {"stopReason": "cancelled"}
    assert time.monotonic() - begun < LIMIT
    assert await session.prompt("hello") == "end_turn"


def commands_of(agent: Agent) -> list[psutil.Process]:
    """The shells and sleepers below the agent (its watchdog, which is a plain `sh`, outlives them)."""
    children = psutil.Process(agent.server).children(recursive=True)
    return [child for child in children if child.name() != "sh"]


def is_ready(session: Session) -> bool:
    """Whether the command has started both of its children."""
    return any("ready" in str(item.get("content")) for item in session.of("tool_call_update"))


@requirement("cancel.streaming")
@requirement("stop.cancelled")
@pytest.mark.parametrize("prompt", ["slow", "silent", "half a call"])
async def test_cancel_while_the_model_streams(agent: Agent, cwd: Path, prompt: str) -> None:
    session = await agent.new(cwd)
    turn = session.begin(prompt)
    await session.update("session_info_update")
    if prompt == "slow":
        await session.update("agent_message_chunk")
    if prompt == "half a call":
        await session.update("tool_call")
    await stop(session, turn)


@requirement("cancel.tool")
@pytest.mark.parametrize("prompt", ["run", "two"])
async def test_cancel_while_a_command_runs_ends_all_its_processes(
    agent: Agent, cwd: Path, prompt: str
) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    turn = session.begin(prompt)
    await agent.until(lambda: is_ready(session), "the output of the command")
    running = commands_of(agent)
    assert len(running) >= 3
    await stop(session, turn)
    assert [process for process in running if is_alive(process)] == []
    assert not (cwd / "never.txt").exists()


@requirement("cancel.permission")
@requirement("cancel.withdraws")
async def test_cancel_while_a_permission_is_open_withdraws_the_question(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    asked = await agent.question()
    await stop(session, turn)
    assert asked.withdrawn
    assert not (cwd / "made.txt").exists()
    asked.answer({"outcome": {"outcome": "cancelled"}})


@requirement("cancel.permission")
async def test_a_late_permission_does_nothing(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    asked = await agent.question()
    await stop(session, turn)
    asked.choose("allow_once")
    await agent.settle()
    assert not (cwd / "made.txt").exists()


@requirement("cancel.question")
@pytest.mark.parametrize("capabilities", [SHOWS, {}])
async def test_cancel_while_a_question_is_open(
    agents: Pool, cwd: Path, capabilities: dict[str, object]
) -> None:
    agent = await agents.get(capabilities)
    method = "elicitation/create" if capabilities else "session/request_permission"
    agent.handlers[method] = holding
    session = await agent.new(cwd)
    turn = session.begin("ask")
    asked = await agent.question(method)
    await stop(session, turn)
    assert asked.withdrawn


@requirement("cancel.compaction")
async def test_cancel_while_the_context_is_compacted(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(SHOWS)
    session = await agent.new(cwd)
    await session.prompt("hello")
    turn = session.begin("/compact")
    await session.update("compaction_update", status="in_progress")
    await stop(session, turn)
    await session.update("compaction_update", status="cancelled")


@requirement("cancel.queued")
async def test_cancel_ends_the_prompts_that_wait_as_well(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turns = [session.begin("slow"), session.begin("hello"), session.begin("hello")]
    await session.update("agent_message_chunk")
    session.cancel()
    results = [await agent.settled(turn) for turn in turns]
    assert results == [{"stopReason": "cancelled"}] * 3
    assert await session.prompt("hello") == "end_turn"
    assert session.text().endswith("Hello to you.")
    assert session.text().count("Hello to you.") == 1


@requirement("cancel.idle")
async def test_cancel_where_nothing_runs_changes_nothing(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    session.cancel()
    agent.notify("session/cancel", {"sessionId": "nobody"})
    agent.notify("session/cancel", {"sessionId": 3})
    agent.notify("session/cancel", None)
    assert await session.prompt("hello") == "end_turn"
    session.cancel()
    session.cancel()
    assert await session.prompt("hello") == "end_turn"


@requirement("cancel.idle")
async def test_cancel_right_behind_the_prompt_and_twice_is_one_cancel(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    session.cancel()
    session.cancel()
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert await session.prompt("hello") == "end_turn"


@requirement("cancel.other-sessions")
async def test_cancel_stops_only_the_session_it_names(agent: Agent, cwd: Path) -> None:
    one, two = await agent.new(cwd), await agent.new(cwd)
    turn = one.begin("slow")
    await one.update("agent_message_chunk")
    two.cancel()
    await agent.settle()
    seen = len(one.updates)
    await agent.until(lambda: len(one.updates) > seen, "more of the answer")
    await stop(one, turn)


@requirement("cancel-request.prompt")
async def test_a_prompt_can_be_cancelled_by_its_request_id(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    request_id = agent.last_id
    await session.update("agent_message_chunk")
    agent.notify("$/cancel_request", {"requestId": request_id})
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert await session.prompt("hello") == "end_turn"


@requirement("cancel-request.prompt")
async def test_a_waiting_prompt_can_be_cancelled_alone(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    first = session.begin("slow")
    second = session.begin("hello")
    waiting = agent.last_id
    await session.update("agent_message_chunk")
    agent.notify("$/cancel_request", {"requestId": waiting})
    assert await agent.settled(second) == {"stopReason": "cancelled"}
    assert not first.done()
    await stop(session, first)


@requirement("cancel-request.unknown")
@pytest.mark.parametrize(
    "params", [{"requestId": 987654}, {"requestId": "x"}, {"requestId": None}, {}, None, []]
)
async def test_cancelling_an_unknown_request_is_silent(agent: Agent, cwd: Path, params: object) -> None:
    before = len(agent.lines)
    agent.notify("$/cancel_request", params)
    await agent.settle()
    assert len(agent.lines) == before + 1


@requirement("cancel-request.other-methods")
async def test_a_call_that_waits_in_line_can_be_cancelled(agent: Agent, cwd: Path) -> None:
    opening = agent.begin("session/new", {"cwd": str(cwd), "mcpServers": []})
    listing = agent.begin("session/list", {})
    agent.notify("$/cancel_request", {"requestId": agent.last_id})
    await agent.settled(opening)
    with pytest.raises(AgentError) as caught:
        await agent.settled(listing)
    assert caught.value.code == -32800


@requirement("cancel-request.other-methods")
async def test_a_load_that_is_cancelled_halfway_opened_nothing(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("big")
    await session.request("session/close")
    params = {"sessionId": session.id, "cwd": str(cwd), "mcpServers": []}
    agent.stop_reading()
    loading = agent.begin("session/load", params)
    agent.notify("$/cancel_request", {"requestId": agent.last_id})
    agent.go_on_reading()
    with pytest.raises(AgentError) as caught:
        await agent.settled(loading)
    assert caught.value.code == -32800
    with pytest.raises(AgentError) as caught:
        await session.prompt("hello")
    assert caught.value.code == -32002
    await agent.request("session/load", params)
    assert await session.prompt("hello") == "end_turn"
