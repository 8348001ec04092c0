"""The agent recalls what was said in other sessions of its project: a real server, scripted models."""

from __future__ import annotations

from pathlib import Path

from hermes_acp.events import TurnEnded
from tests.agent.server import Desk, act, call, say, serving

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
