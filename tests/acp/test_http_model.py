"""A real model server behind the whole agent: what an editor sees of it, on both ways to a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acp.harness import Agent, AgentError, Pool, choosing
from tests.model_server import USAGE, ModelServer, answer, refused, streamed, text, thought, tool

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT: dict[str, list[dict[str, object]]] = {}
BOTH_WAYS = pytest.mark.parametrize(
    "model", ["openai/m", pytest.param("litellm/openai/m", marks=pytest.mark.slow)]
)


async def started(pool: Pool, home: Path, model: str, server: ModelServer) -> Agent:
    env = {
        "HERMES_EDITOR_MODEL": model,
        "HERMES_EDITOR_MODEL_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "sk-secret",
    }
    if model.startswith("litellm/"):
        # It blocks an event loop of its own, in a thread of its own, which the guard cannot tell apart.
        env["PYTHONPATH"] = ""
    agent = await pool.start(home, env)
    await agent.initialize({"session": {"notices": {}}})
    return agent


@BOTH_WAYS
async def test_text_thoughts_parallel_calls_and_usage_reach_the_editor(
    agents: Pool, tmp_path: Path, cwd: Path, model: str
) -> None:
    (cwd / "a.txt").write_text("alpha\n")
    (cwd / "b.txt").write_text("beta\n")
    paths = [json.dumps({"path": name}) for name in ("a.txt", "b.txt")]
    reads = [tool(n, path, call_id=f"id{n}", name="read_file") for n, path in enumerate(paths)]
    behaviours = [
        streamed(thought("hm"), text("Reading "), text("both."), *reads, finish="tool_calls", usage=USAGE),
        streamed(text("Done."), usage=USAGE),
    ]
    async with ModelServer(behaviours) as server:
        agent = await started(agents, tmp_path / "home", model, server)
        session = await agent.new(cwd)
        assert await session.prompt("read both") == "end_turn"
        assert session.text("agent_thought_chunk") == "hm"
        assert session.text() == "Reading both.Done."
        finished = [item for item in session.of("tool_call_update") if item.get("status") == "completed"]
        assert len(finished) == 2
        assert session.of("usage_update")[-1]["used"] == USAGE["total_tokens"]
        results = [item["content"] for item in server.requests[1].body["messages"] if item["role"] == "tool"]
        assert ["alpha" in results[0], "beta" in results[1]] == [True, True]
        await agent.end()


@BOTH_WAYS
async def test_a_refused_key_asks_to_authenticate_and_never_shows_the_key(
    agents: Pool, tmp_path: Path, cwd: Path, model: str
) -> None:
    async with ModelServer([refused(401, "Incorrect API key provided: sk-secret")] * 5) as server:
        agent = await started(agents, tmp_path / "home", model, server)
        session = await agent.new(cwd)
        with pytest.raises(AgentError) as caught:
            await session.prompt("hi")
        assert caught.value.code == -32000
        assert "OPENAI_API_KEY" in caught.value.message
        assert "sk-secret" not in json.dumps(agent.lines)
        await agent.end()


@BOTH_WAYS
@pytest.mark.parametrize(
    "trouble",
    [
        refused(429, "slow down", Retry_After="0"),
        refused(500, "oops"),
        {"steps": [text("Half of "), {"cut": True}]},
    ],
    ids=["429", "500", "cut"],
)
async def test_passing_trouble_is_a_notice_and_the_turn_goes_on(
    agents: Pool, tmp_path: Path, cwd: Path, model: str, trouble: dict[str, object]
) -> None:
    async with ModelServer([trouble, answer("All of it.")]) as server:
        agent = await started(agents, tmp_path / "home", model, server)
        session = await agent.new(cwd)
        assert await session.prompt("hi") == "end_turn"
        assert session.text().endswith("All of it.")
        assert [item["severity"] for item in session.of("notice")] == ["warning"]
        before = len(session.updates)
        await session.request("session/close")
        await session.request("session/load", cwd=str(cwd), mcpServers=[])
        again = [item for item in session.updates[before:] if item["sessionUpdate"] == "agent_message_chunk"]
        assert [item["content"]["text"] for item in again] == ["All of it."]
        await agent.end()


@BOTH_WAYS
async def test_malformed_arguments_go_back_to_the_model(
    agents: Pool, tmp_path: Path, cwd: Path, model: str
) -> None:
    behaviours = [
        streamed(tool(0, '{"path": "a.t', call_id="x", name="read_file"), finish="tool_calls"),
        answer("Sorry."),
    ]
    async with ModelServer(behaviours) as server:
        agent = await started(agents, tmp_path / "home", model, server)
        session = await agent.new(cwd)
        assert await session.prompt("read") == "end_turn"
        result = next(item for item in server.requests[1].body["messages"] if item["role"] == "tool")
        assert "not complete JSON" in result["content"]
        assert [item["status"] for item in session.of("tool_call_update")][-1] == "failed"
        await agent.end()


@BOTH_WAYS
async def test_a_cancel_closes_the_connection_to_the_model(
    agents: Pool, tmp_path: Path, cwd: Path, model: str
) -> None:
    behaviours = [{"steps": [text("One "), {"stall": True}]}, answer("Next.")]
    async with ModelServer(behaviours) as server:
        agent = await started(agents, tmp_path / "home", model, server)
        agent.handlers["session/request_permission"] = choosing("allow_once")
        session = await agent.new(cwd)
        turn = session.begin("hi")
        await session.update("agent_message_chunk")
        session.cancel()
        assert (await agent.settled(turn))["stopReason"] == "cancelled"
        await (await server.request(0)).left.wait()
        assert await session.prompt("again") == "end_turn"
        assert session.text().endswith("Next.")
        await agent.end()
