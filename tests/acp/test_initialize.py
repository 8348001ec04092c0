"""The handshake, what the agent says it can do, and logging in and out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acp.harness import Agent, AgentError, Pool
from tests.acp.script import says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SCRIPT = {"hello": [says("Hello.")]}

NO_MODEL = {"HERMES_EDITOR_MODEL": "", "HERMES_EDITOR_MODEL_BASE_URL": "http://127.0.0.1:9/"}
"""No key, and a local endpoint where nobody listens."""


@requirement("initialize.version")
@pytest.mark.parametrize("asked", [1, 0, 2, 65535])
async def test_the_answer_names_version_1_whatever_was_asked(agents: Pool, asked: int) -> None:
    agent = await agents.get()
    answer = await agent.request("initialize", {"protocolVersion": asked})
    assert answer["protocolVersion"] == 1


@requirement("initialize.version")
@pytest.mark.parametrize("asked", [None, "1", -1, 1.5, 65536, True, [1]])
async def test_a_version_that_is_no_version_is_refused(agent: Agent, asked: object) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request("initialize", {"protocolVersion": asked})
    assert caught.value.code == -32602


@requirement("initialize.capabilities")
async def test_capabilities_are_objects_and_complete(agent: Agent) -> None:
    assert agent.initialized["agentCapabilities"] == {
        "loadSession": True,
        "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
        "mcpCapabilities": {"http": True, "sse": True},
        "sessionCapabilities": {
            "list": {},
            "resume": {},
            "close": {},
            "delete": {},
            "additionalDirectories": {},
        },
        "auth": {"logout": {}},
    }


@requirement("initialize.agent-info")
async def test_the_agent_says_who_it_is(agent: Agent) -> None:
    info = agent.initialized["agentInfo"]
    assert info.keys() == {"name", "title", "version"}
    assert info["name"] == "hermes-editor"


@requirement("initialize.without-a-key")
@requirement("auth.required")
async def test_without_a_model_initialize_answers_and_a_session_asks_for_a_login(
    agents: Pool, cwd: Path
) -> None:
    agent = await agents.get(**NO_MODEL)
    assert agent.initialized["protocolVersion"] == 1
    with pytest.raises(AgentError) as caught:
        await agent.new(cwd)
    assert caught.value.code == -32000
    assert "HERMES_EDITOR_MODEL" in caught.value.message


@requirement("initialize.first")
async def test_nothing_is_served_before_initialize(tmp_path: Path, agents: Pool) -> None:
    agent = await agents.start(tmp_path / "home")
    with pytest.raises(AgentError) as caught:
        await agent.new(tmp_path)
    assert caught.value.code == -32600
    await agent.initialize()
    assert await (await agent.new(tmp_path)).prompt("hello") == "end_turn"
    agent.end_input()
    await agent.exited()


@requirement("initialize.lenient")
@pytest.mark.parametrize(
    "capabilities",
    [
        None,
        {},
        [],
        "all",
        {"fs": None, "terminal": "yes", "session": 3, "auth": [], "elicitation": False},
        {"fs": {"readTextFile": 1}, "somethingNew": {"x": 1}, "_meta": {"anything": True}},
    ],
)
async def test_capabilities_of_any_shape_do_not_stop_the_handshake(
    agent: Agent, capabilities: object
) -> None:
    answer = await agent.request(
        "initialize",
        {"protocolVersion": 1, "clientCapabilities": capabilities, "clientInfo": None, "unknown": [1]},
    )
    assert answer["protocolVersion"] == 1
    await agent.initialize()


@requirement("auth.methods")
async def test_the_agent_method_is_always_offered_and_the_terminal_one_where_it_can_be_used(
    agents: Pool,
) -> None:
    plain = await agents.get()
    terminal = await agents.get({"auth": {"terminal": True}})
    assert [item.get("type", "agent") for item in plain.initialized["authMethods"]] == ["agent"]
    assert [item.get("type", "agent") for item in terminal.initialized["authMethods"]] == [
        "agent",
        "terminal",
    ]
    assert terminal.initialized["authMethods"][1]["args"] == ["--setup"]


@requirement("auth.authenticate")
async def test_authenticate_succeeds_where_there_is_a_model_and_fails_where_there_is_none(
    agents: Pool,
) -> None:
    agent = await agents.get()
    method = agent.initialized["authMethods"][0]["id"]
    assert await agent.request("authenticate", {"methodId": method}) == {}
    with pytest.raises(AgentError) as caught:
        await (await agents.get(**NO_MODEL)).request("authenticate", {"methodId": method})
    assert caught.value.code == -32000


@requirement("auth.authenticate")
async def test_an_unknown_method_of_authentication_is_refused(agent: Agent) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request("authenticate", {"methodId": "magic"})
    assert caught.value.code == -32602


@requirement("auth.logout")
async def test_after_a_logout_sessions_and_prompts_need_a_login_again(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(HERMES_EDITOR_LOG_LEVEL="error")
    session = await agent.new(cwd)
    assert await agent.request("logout", {}) == {}
    for refused in (session.begin("hello"), agent.begin("session/new", {"cwd": str(cwd), "mcpServers": []})):
        with pytest.raises(AgentError) as caught:
            await agent.settled(refused)
        assert caught.value.code == -32000
    await agent.request("authenticate", {"methodId": agent.initialized["authMethods"][0]["id"]})
    assert await session.prompt("hello") == "end_turn"


@requirement("extensions.steering")
async def test_steering_is_advertised_where_other_agents_advertise_it(agent: Agent) -> None:
    assert agent.initialized["_meta"] == {"steering": {"supported": True}}


@requirement("errors.unstable")
@pytest.mark.parametrize(
    "method",
    [
        "session/fork",
        "session/archive",
        "session/set_title",
        "session/status",
        "providers/list",
        "auth/status",
    ],
)
async def test_unstable_methods_are_not_served(agent: Agent, method: str) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request(method, {"sessionId": "s"})
    assert caught.value.code == -32601
