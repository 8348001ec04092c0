"""Modes and configuration options, always in step with each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acp.harness import Agent, AgentError, Pool, choosing
from tests.acp.script import calls, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SCRIPT = {
    "hello": [says("Hello to you.")],
    "write": [calls("write_file", path="made.txt", content="x"), says("Written.")],
    "touch": [calls("run_command", command="touch touched.txt"), says("Touched.")],
}


@requirement("modes.advertised")
async def test_a_session_says_which_modes_there_are(agent: Agent, cwd: Path) -> None:
    modes = (await agent.new(cwd)).opening["modes"]
    assert modes["currentModeId"] == "ask"
    assert [item["id"] for item in modes["availableModes"]] == ["ask", "accept_edits", "auto", "full", "plan"]


@requirement("config.advertised")
async def test_a_session_says_its_options_with_their_categories(agent: Agent, cwd: Path) -> None:
    options = (await agent.new(cwd)).opening["configOptions"]
    assert [(item["id"], item.get("category"), item["type"]) for item in options] == [
        ("mode", "mode", "select"),
        ("model", "model", "select"),
        ("effort", "thought_level", "select"),
        ("isolation", None, "select"),
    ]
    for option in options:
        assert option["currentValue"] in [item["value"] for item in option["options"]]


@requirement("modes.set")
@requirement("update.current-mode")
@requirement("modes.in-step")
async def test_setting_the_mode_changes_the_option_too(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.request("session/set_mode", modeId="plan") == {}
    await session.update("current_mode_update", currentModeId="plan")
    changed = await session.update("config_option_update")
    assert changed["configOptions"][0]["currentValue"] == "plan"


@requirement("config.set")
@requirement("update.config-option")
@requirement("modes.in-step")
async def test_setting_an_option_answers_with_all_of_them(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    answer = await session.request("session/set_config_option", configId="mode", value="accept_edits")
    assert [item["currentValue"] for item in answer["configOptions"]][0::2] == ["accept_edits", "default"]
    changed = await session.update("config_option_update")
    assert changed["configOptions"] == answer["configOptions"]
    await session.update("current_mode_update", currentModeId="accept_edits")


@requirement("config.set")
async def test_every_value_of_every_option_can_be_set(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    for option in session.opening["configOptions"]:
        for value in option["options"]:
            answer = await session.request(
                "session/set_config_option", configId=option["id"], value=value["value"]
            )
            current = {item["id"]: item["currentValue"] for item in answer["configOptions"]}
            assert current[option["id"]] == value["value"]


@requirement("config.refused")
@pytest.mark.parametrize(
    ("config_id", "value"),
    [("mode", "yolo"), ("colour", "red"), ("mode", True), ("mode", None), (3, "ask"), ("mode", ["ask"])],
)
async def test_an_option_or_value_that_does_not_exist_is_refused(
    agent: Agent, cwd: Path, config_id: object, value: object
) -> None:
    session = await agent.new(cwd)
    with pytest.raises(AgentError) as caught:
        await session.request("session/set_config_option", configId=config_id, value=value)
    assert caught.value.code == -32602


@requirement("modes.refused")
@pytest.mark.parametrize("mode", ["", "ASK", "yolo", None, 1])
async def test_a_mode_that_does_not_exist_is_refused(agent: Agent, cwd: Path, mode: object) -> None:
    session = await agent.new(cwd)
    with pytest.raises(AgentError) as caught:
        await session.request("session/set_mode", modeId=mode)
    assert caught.value.code == -32602


@requirement("config.refused")
@requirement("modes.refused")
@pytest.mark.parametrize("method", ["session/set_mode", "session/set_config_option", "session/close"])
async def test_a_session_that_is_not_open_has_no_options(agent: Agent, method: str) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request(
            method, {"sessionId": "nobody", "modeId": "ask", "configId": "mode", "value": "ask"}
        )
    assert caught.value.code == -32002


@requirement("modes.effect")
async def test_plan_mode_refuses_effects_without_asking(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.request("session/set_mode", modeId="plan")
    assert await session.prompt("write") == "end_turn"
    assert await session.prompt("touch") == "end_turn"
    assert (agent.asked, list(cwd.iterdir())) == ([], [])


@requirement("modes.effect")
async def test_accepting_edits_asks_for_commands_only(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_once")
    session = await agent.new(cwd)
    await session.request("session/set_mode", modeId="accept_edits")
    await session.prompt("write")
    await session.prompt("touch")
    assert [path.name for path in cwd.iterdir() if path.name != ".hermes"] == ["made.txt"]
    assert len(agent.asked) == 1


@requirement("modes.effect")
async def test_the_mode_can_change_while_a_turn_runs(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turn = session.begin("write")
    await session.request("session/set_mode", modeId="accept_edits")
    await agent.settled(turn)
    agent.asked.clear()
    assert await session.prompt("write") == "end_turn"
    assert agent.asked == []


@requirement("config.kept")
async def test_options_are_kept_with_the_session(agents: Pool, agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.request("session/set_config_option", configId="mode", value="plan")
    await session.request("session/set_config_option", configId="effort", value="high")
    await session.request("session/close")
    opening = await session.request("session/load", cwd=str(cwd), mcpServers=[])
    assert opening["modes"]["currentModeId"] == "plan"
    assert [item["currentValue"] for item in opening["configOptions"]][0::2] == ["plan", "high"]


@requirement("config.set")
async def test_the_model_can_be_switched_between_turns(agents: Pool, cwd: Path) -> None:
    other = agents.home / "other.jsonl"
    other.write_text('{"parts": [{"text": "unused"}]}\n{"parts": [{"text": "The other model."}]}\n')
    agent = await agents.get(HERMES_EDITOR_MODELS=f"scripted/{other}")
    session = await agent.new(cwd)
    await session.prompt("hello")
    await session.request("session/set_config_option", configId="model", value=f"scripted/{other}")
    await session.prompt("hello")
    assert session.text() == "Hello to you.The other model."
