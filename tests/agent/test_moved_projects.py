"""A project that moves takes sessions and rules along; a linked worktree shares them, and a copy does not."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from hermes_acp.agent.opening import BadPlace
from hermes_acp.events import TurnEnded
from tests.agent.server import Desk, act, call, choosing, say, serving
from tests.cli.sessions_home import Home
from tests.workspace.repos import Repo, git, make

pytestmark = pytest.mark.slow

DONE = TurnEnded("end_turn")
SCRIPT = [
    act(call("run_command", command="touch made.txt"), when={"user": "^touch"}),
    act(call("write_file", path="a.txt", content="agent\n"), when={"user": "^write"}),
    say("Done.") | {"when": {"result": ""}},
    say("Hello.") | {"when": {"user": "."}},
]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = make(tmp_path / "made", {"a.txt": "one\n", "sub/b.txt": "two\n"})
    return Repo(made.top.rename(tmp_path / "project"), made.place)


async def listed(desk: Desk, folder: Path) -> list[tuple[str, str]]:
    """The sessions that an editor is shown for a folder."""
    page = await desk.server.sessions.page(str(folder), None)
    return sorted((row.session_id, row.cwd) for row in page.rows)


async def test_sessions_and_rules_move_with_the_repository(tmp_path: Path, repo: Repo) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(choosing("allow_always"))
        assert await window.prompt("touch") == DONE
        below = await desk.server.sessions.create(desk.opening(repo.top / "sub"))
        apart = await desk.new()
        await apart.session.set_option("isolation", "worktree")
        ids = [each.session_id for each in (window.session, below, apart.session)]
    moved = repo.top.rename(tmp_path / "moved")
    (moved / "made.txt").unlink()
    async with serving(tmp_path, SCRIPT) as desk:
        first, second, third = ids
        assert await listed(desk, moved) == sorted([(first, str(moved)), (third, str(moved))])
        assert await listed(desk, moved / "sub") == [(second, str(moved / "sub"))]
        await desk.server.sessions.open(second, desk.opening(moved / "sub"))
        # Nobody is there to be asked.
        again = desk.watch(await desk.server.sessions.open(first, desk.opening(moved)), None)
        assert await again.prompt("touch") == DONE
        assert (moved / "made.txt").exists()
        apart = desk.watch(await desk.server.sessions.open(third, desk.opening(moved)))
        assert await apart.prompt("write") == DONE
        assert await apart.prompt("/apply") == DONE
        assert (moved / "a.txt").read_text() == "agent\n"
        with pytest.raises(BadPlace):
            await desk.server.sessions.open(first, desk.opening(tmp_path / "project"))
    git(moved, "fsck", "--strict", "--no-dangling")


async def test_a_linked_worktree_shares_the_rules_and_the_list_of_the_command(
    tmp_path: Path, repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    side = tmp_path / "side"
    repo.git("worktree", "add", "-q", "-b", "side", str(side))
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(choosing("allow_always"))
        assert await window.prompt("touch") == DONE
        beside = desk.watch(await desk.server.sessions.create(desk.opening(side)), None)
        assert await beside.prompt("touch") == DONE
        assert (side / "made.txt").exists()
        ids = {window.session.session_id, beside.session.session_id}
    await asyncio.to_thread(Home(tmp_path / "home").run, "list", "--cwd", str(side), "--json")
    assert {row["session_id"] for row in json.loads(capsys.readouterr().out)} == ids


async def test_a_copy_has_neither_sessions_nor_rules_and_the_original_keeps_them(
    tmp_path: Path, repo: Repo
) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(choosing("allow_always"))
        assert await window.prompt("touch") == DONE
        session_id = window.session.session_id
        copy = shutil.copytree(repo.top, tmp_path / "copy", symlinks=True)
        (copy / "made.txt").unlink()
        assert await listed(desk, copy) == []
        other = desk.watch(await desk.server.sessions.create(desk.opening(copy)), None)
        await other.prompt("touch")
        assert not (copy / "made.txt").exists()
        assert await listed(desk, repo.top) == [(session_id, str(repo.top))]
