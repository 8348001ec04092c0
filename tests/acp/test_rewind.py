"""Undo, redo and rewind through the real command: in editors with buffers and without, and after a crash."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.acp.harness import Agent, AgentError, Asked, Pool, Session, choosing
from tests.acp.script import after, calls, parts, says
from tests.workspace.checkpoints.trees import git, new_repository

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ORIGINAL = "one\ntwo\nthree\nfour\nfive\n"
EDIT = calls("edit_file", path="src/main.py", edits=[{"old": "two\n", "new": "TWO\n"}])
SCRIPT = {
    "edit": [EDIT, after("main.py", calls("run_command", command="echo made > made.txt")), says("Done.")],
    "hang": [calls("run_command", command="echo broken > README; echo ready; sleep 600"), says("Done.")],
    "hello": [says("Hello.")],
    "slow": [parts({"text": "tick ", "repeat": 2000, "delay": 0.01})],
}
MARK = "was taken back: the model does not know of it"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "project")


def main(repo: Path) -> str:
    return (repo / "src/main.py").read_text()


def saving(repo: Path, agent: Agent) -> list[str]:
    """Let the client serve the files of the project from its disk; the paths that it wrote."""
    written: list[str] = []

    def read(asked: Asked) -> None:
        file = Path(asked.params["path"])
        if file.exists():
            asked.answer({"content": file.read_text()})
        else:
            asked.fail(-32002, "there is no such file")

    def write(asked: Asked) -> None:
        written.append(asked.params["path"])
        Path(asked.params["path"]).write_text(asked.params["content"])
        asked.answer({})

    agent.handlers["fs/read_text_file"] = read
    agent.handlers["fs/write_text_file"] = write
    return written


@pytest.mark.parametrize(
    "capabilities", [{}, {"fs": {"readTextFile": True, "writeTextFile": True}}], ids=["plain", "buffers"]
)
async def test_the_same_task_is_undone_in_both_kinds_of_editors(
    agents: Pool, repo: Path, capabilities: dict[str, object]
) -> None:
    agent = await agents.get(capabilities)
    agent.handlers["session/request_permission"] = choosing("allow_once")
    written = saving(repo, agent) if capabilities else []
    session = await agent.new(repo)
    assert await session.prompt("edit") == "end_turn"
    assert (main(repo), (repo / "made.txt").exists()) == (ORIGINAL.replace("two", "TWO"), True)
    assert await session.prompt("/undo") == "end_turn"
    assert (main(repo), (repo / "made.txt").exists()) == (ORIGINAL, False)
    assert "- `src/main.py` is as it was before" in session.text()
    rewound = [
        item["_meta"]["hermes"].get("rewound")
        for item in session.of("session_info_update")
        if "_meta" in item
    ]
    assert [item for item in rewound if item] == [{"direction": "undo", "turns": 1}]
    assert await session.prompt("/redo") == "end_turn"
    assert (main(repo), (repo / "made.txt").exists()) == (ORIGINAL.replace("two", "TWO"), True)
    assert git(repo, "status", "--porcelain").split() == [b"M", b"src/main.py", b"??", b"made.txt"]
    assert written == ([str(repo / "src/main.py")] if capabilities else [])


async def test_a_reload_shows_what_was_taken_back_as_such(agent: Agent, repo: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(repo)
    for words in ("hello", "edit", "/undo"):
        await session.prompt(words)
    seen = len(session.updates)
    await agent.request("session/load", {"sessionId": session.id, "cwd": str(repo), "mcpServers": []})
    replayed = session.updates[seen:]
    asked = [
        (item["content"]["text"], item.get("_meta", {}).get("hermes", {}).get("takenBack", False))
        for item in replayed
        if item["sessionUpdate"] == "user_message_chunk"
    ]
    assert asked == [("hello", False), ("edit", True), ("/undo", False)]
    texts = [item["content"]["text"] for item in replayed if item["sessionUpdate"] == "agent_message_chunk"]
    assert [MARK in text for text in texts] == [False, False, True, False]


async def test_taking_back_is_refused_at_once_while_a_turn_runs(agent: Agent, repo: Path) -> None:
    session = await agent.new(repo)
    slow = session.begin("slow")
    await session.update("agent_message_chunk")
    for command in ("/undo", "/redo", "/rewind"):
        with pytest.raises(AgentError, match="A turn is running"):
            await session.prompt(command)
    session.cancel()
    assert await agent.settled(slow) == {"stopReason": "cancelled"}


async def test_a_client_with_choices_is_asked_for_the_turn(agent: Agent, repo: Path) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(repo)
    for words in ("edit", "hello"):
        await session.prompt(words)
    agent.handlers["session/request_permission"] = lambda asked: asked.answer(
        {"outcome": {"outcome": "selected", "optionId": "1"}}
    )
    agent.asked.clear()
    await session.prompt("/rewind")
    (asked,) = agent.asked
    assert [item["name"] for item in asked.params["options"]] == ["1: hello", "2: edit", "Do not answer"]
    assert main(repo) == ORIGINAL


async def test_a_turn_that_killed_its_server_is_taken_back(agents: Pool, repo: Path, tmp_path: Path) -> None:
    first = await agents.start(tmp_path / "home", audit=False)
    await first.initialize()
    first.handlers["session/request_permission"] = choosing("allow_once")
    session = await first.new(repo)
    await session.prompt("edit")
    session.begin("hang")
    await first.until(lambda: "broken" in (repo / "README").read_text(), "the command")
    os.kill(first.server, signal.SIGKILL)
    await first.exited()
    second = await agents.start(tmp_path / "home")
    await second.initialize()
    again = Session(second, session.id, repo, {})
    await second.request("session/load", {"sessionId": session.id, "cwd": str(repo), "mcpServers": []})
    assert await again.prompt("/undo") == "end_turn"
    assert ((repo / "README").read_text(), main(repo)) == ("words\n", ORIGINAL.replace("two", "TWO"))
    assert await again.prompt("/rewind 1") == "end_turn"
    assert (main(repo), (repo / "made.txt").exists()) == (ORIGINAL, False)
    await asyncio.to_thread(git, repo, "fsck", "--strict")
