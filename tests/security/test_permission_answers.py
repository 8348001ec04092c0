"""What is shown is what runs; and only the person who was asked can say yes, in time, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, Asked, Pool, Session, choosing, holding
from tests.acp.script import calls, says

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ODD = "printf '%s' 'tab\there \x1b[31mred\x1b[0m \u202egnp \u200bzero\\\\ \"q\" `t` $x' > odd.txt # \u0435nd"
LINES = "cat > lines.txt << 'END'\nfirst\n\n  second\t\nEND\n"
TEXT = "a\tb\r\n\u200b\u202e`x`\n\n"

SCRIPT = {
    "hello": [says("Hello to you.")],
    "write": [calls("write_file", path="made.txt", content="made\n"), says("Oh.")],
    "odd": [calls("run_command", command=ODD), says("Ran.")],
    "lines": [calls("run_command", command=LINES), says("Ran.")],
    "text": [calls("write_file", path="text.txt", content=TEXT), says("Written.")],
}


def yes(asked: Asked) -> dict[str, Any]:
    option = next(item for item in asked.params["options"] if item["kind"] == "allow_once")
    return {"outcome": {"outcome": "selected", "optionId": option["optionId"]}}


# --- what is shown is what runs --------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "command"), [("odd", ODD), ("lines", LINES)])
async def test_a_command_is_shown_in_full_and_runs_byte_for_byte(
    agent: Agent, cwd: Path, prompt: str, command: str
) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    (asked,) = agent.asked
    raw = [item["rawInput"] for item in session.of("tool_call", "tool_call_update") if "rawInput" in item]
    assert raw == [{"command": command}]
    shown = json.dumps(asked.params["toolCall"]["content"], ensure_ascii=False)
    for hidden in ("\x1b", "\u202e", "\u200b", "\\u001b"):
        assert hidden not in shown, "what cannot be seen has to be spelled out"
    for line in ("tab", "gnp") if prompt == "odd" else ("first", "second", "END"):
        assert line in shown
    made = {"odd": ("odd.txt", 'tab\there \x1b[31mred\x1b[0m \u202egnp \u200bzero\\\\ "q" `t` $x')}
    name, text = made.get(prompt, ("lines.txt", "first\n\n  second\t\n"))
    assert (cwd / name).read_bytes().decode() == text


async def test_a_text_is_shown_as_it_will_be_stored(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt("text") == "end_turn"
    (diff,) = agent.asked[0].params["toolCall"]["content"]
    assert diff == {"type": "diff", "path": str(cwd / "text.txt"), "oldText": None, "newText": TEXT}
    assert (cwd / "text.txt").read_bytes().decode() == TEXT


# --- who may answer, and when ------------------------------------------------------------------------


async def test_a_late_answer_permits_nothing(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    late = await agent.question()
    session.cancel()
    assert (await agent.settled(turn))["stopReason"] == "cancelled"
    late.answer(yes(late))
    second = session.begin("write")
    asked = await agent.question(count=2)
    late.answer(yes(late))
    await agent.settle()
    assert not (cwd / "made.txt").exists()
    asked.choose("reject_once")
    assert (await agent.settled(second))["stopReason"] == "end_turn"
    assert not (cwd / "made.txt").exists()


async def test_a_second_answer_does_not_change_the_first(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    asked = await agent.question()
    asked.choose("reject_once")
    asked.answer(yes(asked))
    assert (await agent.settled(turn))["stopReason"] == "end_turn"
    await agent.settle()
    assert not (cwd / "made.txt").exists()


async def test_an_answer_to_another_request_permits_nothing(agents: Pool, cwd: Path, tmp_path: Path) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    turn = session.begin("write")
    asked = await agent.question()
    for foreign in (10_000, "x", str(asked.id), None, -1, [asked.id]):
        agent.send({"jsonrpc": "2.0", "id": foreign, "result": yes(asked)})
    agent.send(
        {"jsonrpc": "2.0", "id": asked.id, "method": "session/request_permission", "result": yes(asked)}
    )
    await agent.settle()
    assert not (cwd / "made.txt").exists()
    asked.choose("reject_once")
    assert (await agent.settled(turn))["stopReason"] == "end_turn"
    assert not (cwd / "made.txt").exists()
    await agent.end()


async def test_a_session_is_not_answered_for_by_the_question_of_another(agent: Agent, tmp_path: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = [await agent.new(folder) for folder in folders]
    turns = [one.begin("write"), two.begin("write")]
    await agent.question(count=2)
    first = next(item for item in agent.asked if item.params["sessionId"] == one.id)
    first.choose("allow_once")
    await agent.settled(turns[0])
    assert [(folder / "made.txt").exists() for folder in folders] == [True, False]
    second = next(item for item in agent.asked if item.params["sessionId"] == two.id)
    second.choose("reject_once")
    await agent.settled(turns[1])
    assert not (folders[1] / "made.txt").exists()


@pytest.mark.parametrize("how", ["end of input", "kill"])
async def test_a_client_that_leaves_at_the_question_has_not_said_yes(
    agents: Pool, cwd: Path, tmp_path: Path, how: str
) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    session.begin("write")
    await agent.question()
    agent.kill() if how == "kill" else agent.end_input()
    await agent.exited()
    again = await agents.start(tmp_path / "home", audit=False)
    await again.initialize()
    opening = await again.request(
        "session/load", {"sessionId": session.id, "cwd": str(cwd), "mcpServers": []}
    )
    await Session(again, session.id, cwd, opening).update("tool_call_update", status="failed")
    assert not (cwd / "made.txt").exists()
    await again.end()


async def test_an_error_in_place_of_an_answer_is_a_no(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = lambda asked: asked.fail(-32000, "allow_once")
    session = await agent.new(cwd)
    assert await session.prompt("write") == "end_turn"
    assert not (cwd / "made.txt").exists()
