"""The agent recalls what was said in other sessions of its project: a real server, scripted models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hermes_acp.events import TurnEnded, TurnStarted
from tests.agent.server import Desk, act, call, say, serving
from tests.workspace.repos import make

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
QUESTION = act(call("recall", query="Where do we keep the lock files?"))


async def recalled(desk: Desk, folder: Path | None = None) -> str:
    """What a new session in a folder recalls of lock files."""
    session = await desk.server.sessions.create(desk.opening(folder))
    await session.set_model(desk.write_script(QUESTION, say("I see.")))
    window = desk.watch(session)
    assert await window.prompt("Where do we keep the lock files? Look it up.") == DONE
    [(outcome, text)] = window.results
    assert outcome == "completed"
    return text


async def test_a_session_recalls_what_another_one_was_told_a_moment_ago(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Noted.")]) as desk:
        first = await desk.new()
        assert await first.prompt("Remember that lock files are kept in the runtime folder") == DONE
        text = await recalled(desk)
    assert f"[{first.session.row.session_id}:2]" in text
    assert "lock files are kept in the runtime folder" in text
    assert "Look it up" not in text


async def test_another_project_knows_nothing_of_it(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Noted.")]) as desk:
        first = await desk.new()
        assert await first.prompt("Remember that lock files are kept in the runtime folder") == DONE
        (tmp_path / "other").mkdir()
        assert (await recalled(desk, tmp_path / "other")).startswith("Nothing was said about that")


async def test_what_was_said_is_recalled_by_the_next_server(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Noted.")]) as desk:
        first = await desk.new()
        assert await first.prompt("Remember that lock files are kept in the runtime folder") == DONE
    async with serving(tmp_path, [say("Noted.")]) as desk:
        assert "lock files are kept in the runtime folder" in await recalled(desk)


async def test_a_turn_notes_its_branch_and_is_recalled_by_it(tmp_path: Path) -> None:
    repo = make(tmp_path, {"a": "1\n"})
    asked = act(call("recall", query="lock files", branch="feature/x"))
    async with serving(tmp_path, [say("Noted.")]) as desk:
        session = await desk.server.sessions.create(desk.opening(repo.top))
        window = desk.watch(session)
        assert await window.prompt("Remember that lock files are kept in /run") == DONE
        repo.git("switch", "-q", "-c", "feature/x")
        assert await window.prompt("Remember that lock files are kept in /tmp here") == DONE
        begun = [(event.branch, event.worktree) for event in window.of(TurnStarted)]
        assert begun == [("main", str(repo.top)), ("feature/x", str(repo.top))]
        session = await desk.server.sessions.create(desk.opening(repo.top))
        await session.set_model(desk.write_script(asked, say("I see.")))
        window = desk.watch(session)
        assert await window.prompt("Where are they? Look it up.") == DONE
        [(_, text)] = window.results
    assert "/tmp here" in text and "/run" not in text and " on feature/x user:" in text


async def test_a_cheap_model_that_is_set_says_what_long_messages_tell(tmp_path: Path) -> None:
    answers = tmp_path / "cheap.jsonl"
    async with serving(tmp_path, [say("Noted.")], memory_model=f"scripted/{answers}") as desk:
        first = await desk.new()
        assert await first.prompt("The lock files are in the runtime folder. " + "Filler. " * 100) == DONE
        item = {"id": f"{first.session.session_id}:2", "summary": "In the runtime folder."}
        answers.write_text(json.dumps(say(json.dumps([item]))) + "\n")
        text = await recalled(desk)
    assert "(summary) In the runtime folder." in text and "Filler" not in text
