"""The MCP servers that a client hands over with a session."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, AgentError, Pool, choosing
from tests.acp.script import calls, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SERVER = Path(__file__).parents[1] / "tools" / "mcp_servers" / "plain.py"

SCRIPT = {
    "hello": [says("Hello to you.")],
    "echo": [calls("plain__echo", text="from the model"), says("Echoed.")],
}


def stdio(*args: str) -> dict[str, Any]:
    return {"name": "plain", "command": sys.executable, "args": [str(SERVER), *args], "env": []}


@requirement("mcp.stdio")
async def test_the_tools_of_a_server_are_called_with_permission(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd, mcpServers=[stdio()])
    assert await session.prompt("echo") == "end_turn"
    last = session.of("tool_call_update")[-1]
    assert (last["status"], "from the model" in str(last["content"])) == ("completed", True)
    assert len(agent.asked) == 1


@requirement("mcp.stdio")
async def test_a_server_belongs_to_one_session(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    await agent.new(cwd, mcpServers=[stdio()])
    other = await agent.new(cwd)
    assert await other.prompt("echo") == "end_turn"
    assert other.of("tool_call_update")[-1]["status"] == "failed"


@requirement("mcp.failures")
async def test_a_server_that_does_not_start_is_a_notice_and_the_session_works(
    agents: Pool, cwd: Path
) -> None:
    agent = await agents.get({"session": {"notices": {}}})
    session = await agent.new(cwd, mcpServers=[stdio("--exit")])
    assert await session.prompt("hello") == "end_turn"
    assert "plain" in str(await session.update("notice"))


@requirement("mcp.remote")
@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_remote_servers_are_taken_and_an_unreachable_one_stops_nothing(
    agents: Pool, cwd: Path, kind: str
) -> None:
    agent = await agents.get({"session": {"notices": {}}})
    server = {"type": kind, "name": "far", "url": "http://127.0.0.1:9/", "headers": []}
    session = await agent.new(cwd, mcpServers=[server])
    assert await session.prompt("hello") == "end_turn"
    assert "far" in str(await session.update("notice"))


@requirement("mcp.refused")
@pytest.mark.parametrize(
    "server",
    [
        None,
        "plain",
        {},
        {"name": "x"},
        {"name": "x", "command": 3, "args": [], "env": []},
        {"type": "http", "name": "x", "url": "http://x"},
        {"type": "pigeon", "name": "x", "url": "http://x", "headers": []},
    ],
)
async def test_a_server_that_is_described_wrongly_is_refused(agent: Agent, cwd: Path, server: object) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.new(cwd, mcpServers=[server])
    assert (caught.value.code, "mcpServers" in caught.value.message) == (-32602, True)
