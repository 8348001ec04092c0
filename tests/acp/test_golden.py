"""Whole conversations as files: lines in, lines out. `HERMES_TEST_REFRESH_GOLDEN=1` writes them anew."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_acp import __version__, config
from tests.acp.harness import Agent, Pool, choosing, holding
from tests.acp.script import calls, parts, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

FOLDER = Path(__file__).parent / "golden"
REFRESH = "HERMES_TEST_REFRESH_GOLDEN"

SCRIPT = {
    "Say hello.": [parts({"thought": "A greeting."}, {"text": "Hello to you.", "chunks": 2})],
    "Fix it.": [
        parts({"text": "I look first."}, {"tool": "read_file", "arguments": {"path": "sum.py"}}),
        calls("edit_file", path="sum.py", edits=[{"old": "a - b", "new": "a + b"}])
        | {"when": {"result": "a - b"}},
        says("Fixed."),
    ],
    "Run it.": [calls("run_command", command="rm -rf build"), says("It ran.")],
    "Plan it.": [calls("plan", entries=[{"content": "Look", "status": "in_progress"}]), says("Planned.")],
}

NAMES = {
    r'(?<="sessionId": ")[^"]+': "SESSION",
    r'(?<="messageId": ")[^"]+': "MESSAGE",
    r'(?<="toolCallId": ")[^"]+': "CALL",
    r'(?<="client": ")[^"]+': "WINDOW",
    r"\d{4}-\d\d-\d\dT[0-9:.]+\+00:00": "TIME",
}


async def hello(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.update("available_commands_update")
    await session.prompt("Say hello.")


async def edit_allowed(agent: Agent, cwd: Path) -> None:
    (cwd / "sum.py").write_text("def total(a, b):\n    return a - b\n")
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    await session.update("available_commands_update")
    await session.prompt("Fix it.")


async def command_rejected(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_once")
    session = await agent.new(cwd)
    await session.update("available_commands_update")
    await session.prompt("Run it.")


async def cancelled_at_the_question(agent: Agent, cwd: Path) -> None:
    agent.handlers["session/request_permission"] = holding
    session = await agent.new(cwd)
    await session.update("available_commands_update")
    turn = session.begin("Run it.")
    asked = await agent.question()
    session.cancel()
    await agent.settled(turn)
    await agent.until(lambda: asked.withdrawn, "the end of the question")


async def loaded(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.update("available_commands_update")
    await session.prompt("Plan it.")
    await session.request("session/close")
    await session.request("session/load", cwd=str(cwd), mcpServers=[])
    await agent.until(lambda: len(session.of("available_commands_update")) == 2, "the commands")


SCENARIOS: dict[str, Callable[[Agent, Path], Awaitable[None]]] = {
    "hello": hello,
    "edit-allowed": edit_allowed,
    "command-rejected": command_rejected,
    "cancelled-at-the-question": cancelled_at_the_question,
    "loaded": loaded,
}


@pytest.mark.parametrize("name", SCENARIOS)
@requirement("transport.golden")
@requirement("messages.schema")
@requirement("messages.answered-once")
@requirement("tool-call.closed")
@requirement("updates.after-opening")
@requirement("updates.before-the-end")
async def test_a_conversation_is_line_by_line_what_it_was(
    agents: Pool, cwd: Path, tmp_path: Path, name: str
) -> None:
    agent = await agents.get()
    begins = len(agent.transcript)
    await SCENARIOS[name](agent, cwd)
    lines = neutral(
        agent.transcript[begins:], {str(cwd): "CWD", agents.model: "MODEL", __version__: "VERSION"}
    )
    file = FOLDER / f"{name}.jsonl"
    if config.environment().get(REFRESH):
        file.write_text(lines, "utf-8")
    assert lines == file.read_text("utf-8"), f"if this is meant, run the test with {REFRESH}=1"


def neutral(transcript: list[dict[str, Any]], fixed: dict[str, str]) -> str:
    """The transcript with every id, path and time replaced by a name in the order of appearance."""
    text = "".join(json.dumps(numbered(item), ensure_ascii=False) + "\n" for item in transcript)
    for found, name in fixed.items():
        text = text.replace(found, name)
    for pattern, name in NAMES.items():
        seen = list(dict.fromkeys(re.findall(pattern, text)))
        places = {found: name if name == "TIME" else f"{name}-{place}" for place, found in enumerate(seen, 1)}
        text = re.sub(pattern, lambda match, places=places: places[match[0]], text)
    return text


def numbered(item: dict[str, Any]) -> dict[str, Any]:
    """The item without the numbers of JSON-RPC, which depend on what ran before."""
    ((direction, message),) = item.items()
    kept = {key: value for key, value in message.items() if key != "jsonrpc"}
    if "id" in kept:
        kept["id"] = "ID"
    if "requestId" in (kept.get("params") or {}):
        kept["params"] = {"requestId": "ID"}
    return {direction: kept}
