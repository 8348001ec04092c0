"""Several windows on one session of the real shared server, each behind a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.acp.client import AgentError, Session
from tests.acp.harness import Agent, Pool, environment, holding, is_alive
from tests.acp.script import after, parts, says
from tests.acp.sdk import clients
from tests.acp.sdk.desk import Desk

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
requirement = pytest.mark.requirement

LONG = "One word after the other. "
SCRIPT = {
    "Write it.": [
        parts({"text": "I write."}, {"tool": "write_file", "arguments": {"path": "a.txt", "content": "x"}}),
        after("", says("Written.")),
    ],
    "Talk.": [says(LONG, repeat=150, delay=0.01)],
    "Talk on.": [says(LONG, repeat=100_000, delay=0.01)],
    "Write, then talk on.": [
        parts({"text": "I write."}, {"tool": "write_file", "arguments": {"path": "a.txt", "content": "x"}}),
        after("", says(LONG, repeat=100_000, delay=0.01)),
    ],
    "Hello.": [says("Hello to you.")],
}
KINDS = ("user_message_chunk", "agent_message_chunk", "tool_call", "tool_call_update", "session_info_update")
Official = type[clients.PythonClient] | type[clients.TypeScriptClient]
OFFICIAL: list[Official] = [clients.PythonClient, clients.TypeScriptClient]
GONE = 69
"""The exit code of a window whose server has gone."""


@pytest_asyncio.fixture(loop_scope="session")
async def home(agents: Pool, tmp_path: Path) -> AsyncIterator[Path]:
    """A home whose server is gone when the test is over."""
    folder = tmp_path / "home"
    yield folder
    await agents.close()
    for process in servers(folder):
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


def servers(home: Path) -> list[psutil.Process]:
    """The running server of this home."""
    found: list[psutil.Process] = []
    for lock in (home / "hermes" / "runtime").glob("server-*.lock"):
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            found.append(psutil.Process(int(lock.read_text())))
    return [process for process in found if is_alive(process)]


async def window(agents: Pool, home: Path, name: str) -> Agent:
    """One more window on the server of this home."""
    agent = await agents.start(home, None, "acp")
    agent.handlers["session/request_permission"] = holding
    await agent.initialize(clientInfo={"name": name, "version": "1"})
    return agent


async def join(agent: Agent, session: Session) -> Session:
    """Load the session of another window."""
    opening = await agent.request(
        "session/load", {"sessionId": session.id, "cwd": str(session.cwd), "mcpServers": []}
    )
    return Session(agent, session.id, session.cwd, opening)


async def two(agents: Pool, home: Path, cwd: Path) -> tuple[Session, Session]:
    """Two windows on one new session."""
    first, second = await window(agents, home, "first"), await window(agents, home, "second")
    session = await first.new(cwd)
    return session, await join(second, session)


def story(session: Session) -> list[Any]:
    """What a window was shown, without ids and times; the chunks of a message are one."""
    told: list[Any] = []
    for update in session.of(*KINDS):
        kind, meta = update["sessionUpdate"], update.get("_meta", {}).get("hermes", {})
        who = {
            name: value.rpartition("-")[0] if name in ("client", "resolvedBy", "cancelledBy") else value
            for name, value in meta.items()
        }
        text = update["content"]["text"] if "chunk" in kind else update.get("title") or update.get("status")
        if kind == "agent_message_chunk" and told and told[-1][0] == kind:
            text = told.pop()[1] + text
        told.append((kind, text, who))
    return told


async def ended(session: Session, number: int = 1) -> Any:
    """Wait for the end of a turn: how it was told."""

    def fits() -> Any:
        ends = [item for item in session.of("session_info_update") if "_meta" in item]
        return ends[number - 1]["_meta"]["hermes"] if len(ends) >= number else None

    return await session.agent.until(fits, f"the end of turn {number}")


@requirement("windows.together")
@requirement("windows.permission")
async def test_two_windows_see_the_same_prompts_text_permission_and_ends(
    agents: Pool, home: Path, cwd: Path
) -> None:
    first, second = await two(agents, home, cwd)
    turn = first.begin("Write it.")
    asked = [await session.agent.question() for session in (first, second)]
    asked[1].choose("allow_once")
    assert await first.agent.settled(turn) == {"stopReason": "end_turn"}
    await ended(second)
    assert (cwd / "a.txt").read_text() == "x"
    assert await second.prompt("Hello.") == "end_turn"
    await ended(first, 2)
    assert [asked[0].withdrawn, asked[1].withdrawn] == [True, False]
    title = ("session_info_update", "Write it.", {})
    end = ("session_info_update", None, {"stopReason": "end_turn"})
    call = [
        ("agent_message_chunk", "I write.", {}),
        ("tool_call", "write_file", {}),
        ("tool_call_update", "Write a.txt", {}),
    ]
    work = [
        ("tool_call_update", "in_progress", {}),
        ("tool_call_update", "completed", {}),
        ("agent_message_chunk", "Written.", {}),
        end,
    ]
    resolved = ("tool_call_update", None, {"resolvedBy": "second", "optionId": "allow_once"})
    hello = ("agent_message_chunk", "Hello to you.", {})
    assert story(first) == [
        title,
        *call,
        resolved,
        *work,
        ("user_message_chunk", "Hello.", {"client": "second"}),
        hello,
        end,
    ]
    assert story(second) == [
        ("user_message_chunk", "Write it.", {"client": "first"}),
        title,
        *call,
        *work,
        hello,
        end,
    ]


@requirement("windows.cancel")
@requirement("windows.options")
async def test_a_window_cancels_the_prompt_of_another_and_both_see_it(
    agents: Pool, home: Path, cwd: Path
) -> None:
    first, second = await two(agents, home, cwd)
    turn = first.begin("Talk on.")
    await second.update("agent_message_chunk")
    await second.request("session/set_mode", modeId="plan")
    await first.update("current_mode_update", currentModeId="plan")
    second.cancel()
    assert await first.agent.settled(turn) == {"stopReason": "cancelled"}
    assert await ended(second) == {"stopReason": "cancelled"}
    by = (await ended(first))["cancelledBy"]
    assert by.startswith("second-")
    assert first.text() == second.text()


@requirement("windows.killed")
async def test_killing_one_window_changes_nothing_for_the_other(agents: Pool, home: Path, cwd: Path) -> None:
    first, second = await two(agents, home, cwd)
    first.begin("Talk.")
    await second.update("agent_message_chunk")
    first.agent.kill()
    await first.agent.exited()
    assert await ended(second) == {"stopReason": "end_turn"}
    assert second.text() == LONG * 150
    assert await second.prompt("Hello.") == "end_turn"
    again = await join(await window(agents, home, "again"), second)
    assert again.text() == second.text()


@requirement("windows.server-killed")
async def test_after_a_kill_of_the_server_every_window_loads_what_was_acknowledged(
    agents: Pool, home: Path, cwd: Path
) -> None:
    first, second = await two(agents, home, cwd)
    assert await second.prompt("Hello.") == "end_turn"
    first.begin("Write, then talk on.")
    (await second.agent.question()).choose("allow_once")
    await first.update("tool_call_update", status="completed")
    shown = len("Hello to you.I write.") + len(LONG)
    for session in (first, second):
        await session.agent.until(lambda session=session: len(session.text()) > shown, "the answer")
    (server,) = servers(home)
    os.kill(server.pid, signal.SIGKILL)
    for session in (first, second):
        assert await session.agent.exited() == GONE
        assert "the hermes-editor server" in session.agent.stderr.lower()
    loaded = [await join(await window(agents, home, name), first) for name in ("third", "fourth")]
    for session in loaded:
        told = story(session)
        assert told[:5] == [
            ("user_message_chunk", "Hello.", {"client": "second"}),
            ("agent_message_chunk", "Hello to you.", {}),
            ("user_message_chunk", "Write, then talk on.", {"client": "first"}),
            ("agent_message_chunk", "I write.", {}),
            ("tool_call", "Write a.txt", {}),
        ]
        assert "interrupted" in told[-1][1]
        assert session.of("tool_call_update")[-1]["status"] == "completed"
    replayed = [
        [item for item in session.updates if item["sessionUpdate"] != "available_commands_update"]
        for session in loaded
    ]
    assert replayed[0] == replayed[1]
    assert await loaded[1].prompt("Hello.") == "end_turn"


@requirement("windows.close")
@requirement("windows.delete")
async def test_a_window_closes_for_itself_and_deletes_for_all(agents: Pool, home: Path, cwd: Path) -> None:
    first, second = await two(agents, home, cwd)
    turn = first.begin("Talk on.")
    await second.update("agent_message_chunk")
    waiting = second.begin("Hello.")
    await second.request("session/close")
    assert await second.agent.settled(waiting) == {"stopReason": "cancelled"}
    said = len(first.text())
    await first.agent.until(lambda: len(first.text()) > said, "more text")
    await second.request("session/delete")
    assert await first.agent.settled(turn) == {"stopReason": "cancelled"}
    for asked in (first.prompt("Hello."), join(first.agent, first)):
        with pytest.raises(AgentError) as error:
            await asked
        assert error.value.code == -32002


@requirement("windows.together")
@requirement("windows.permission")
@pytest.mark.parametrize("client", OFFICIAL, ids=["python", "typescript"])
async def test_an_official_client_holds_a_session_together_with_a_raw_one(
    agents: Pool, home: Path, cwd: Path, client: Official
) -> None:
    if client is clients.TypeScriptClient and (reason := clients.missing()):
        pytest.skip(reason)
    raw = await (await window(agents, home, "raw")).new(cwd)
    desk = Desk(home, choose=None)
    env = environment(home) | {"HERMES_EDITOR_MODEL": agents.model}
    async with client.connected(desk, env) as official:
        await official.call("initialize", {"protocolVersion": 1})
        target = {"sessionId": raw.id}
        await official.call("session/load", {**target, "cwd": str(cwd), "mcpServers": []})
        turn = raw.begin("Write it.")
        asked = await raw.agent.question()
        await desk.until(lambda: bool(desk.requests("session/request_permission")))
        asked.choose("allow_once")
        assert await raw.agent.settled(turn) == {"stopReason": "end_turn"}
        await desk.until(lambda: bool(_ends(desk, raw.id)))
        assert _ends(desk, raw.id) == ["end_turn"]
        # The Python client does not know how a question is withdrawn.
        assert desk.withdrawn == (client is clients.TypeScriptClient)
        chunks = desk.updates(raw.id, "agent_message_chunk")
        assert "".join(chunk["content"]["text"] for chunk in chunks) == raw.text()
        prompt = {**target, "prompt": [{"type": "text", "text": "Talk on."}]}
        answer = asyncio.gather(official.call("session/prompt", prompt))
        await raw.update("user_message_chunk")
        raw.cancel()
        assert (await answer)[0]["stopReason"] == "cancelled"


def _ends(desk: Desk, session_id: str) -> list[str]:
    updates = desk.updates(session_id, "session_info_update")
    metas = [(update.get("_meta") or {}).get("hermes", {}) for update in updates]
    return [meta["stopReason"] for meta in metas if "stopReason" in meta]
