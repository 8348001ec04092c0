"""Sessions in worktrees of their own: real git, scripted models."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_acp.agent.options import BadOption
from hermes_acp.events import TurnEnded
from tests.agent.server import Desk, Window, act, call, say, serving
from tests.workspace.checkpoints.trees import CRASHED, crashing
from tests.workspace.repos import files_of

pytestmark = pytest.mark.slow

DONE = TurnEnded("end_turn")
NAME = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *NAME, *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def repository(folder: Path) -> None:
    """A project with one commit and a user who is known to git."""
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "price.py").write_text("def price():\n    return 1\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "Ann")
    git(folder, "config", "user.email", "ann@example.org")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Start")


EDIT = act(call("write_file", path="src/price.py", content="def price():\n    return 2\n"))


def text_of(desk: Desk) -> str:
    return desk.windows[-1].texts[-1]


async def test_the_agent_works_apart_until_its_work_is_applied(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [EDIT, say("Done."), say("Again.")], mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        place = Path(window.session.place.cwd)
        assert place != desk.folder
        assert await window.prompt("double it") == DONE
        assert "return 2" in (place / "src" / "price.py").read_text()
        assert "return 1" in (desk.folder / "src" / "price.py").read_text()
        assert await window.prompt("/diff") == DONE
        assert "+    return 2" in text_of(desk)
        assert await window.prompt("/apply") == DONE
        assert "return 2" in (desk.folder / "src" / "price.py").read_text()
        assert git(desk.folder, "log", "--oneline").count("\n") == 1
        assert git(desk.folder, "status", "--porcelain") == " M src/price.py\n"


async def test_a_conflict_changes_nothing_and_says_where(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [EDIT, say("Done.")], mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        assert await window.prompt("double it") == DONE
        (desk.folder / "src" / "price.py").write_text("def price():\n    return 3\n")
        assert await window.prompt("/apply") == DONE
        assert "Nothing was applied" in text_of(desk)
        assert "src/price.py" in text_of(desk)
        assert "return 3" in (desk.folder / "src" / "price.py").read_text()


async def test_a_merge_moves_the_branch_and_a_discard_ends_the_worktree(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [EDIT, say("Done.")], mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        place = Path(window.session.place.cwd)
        assert await window.prompt("double it") == DONE
        assert await window.prompt("/merge Double the price") == DONE
        assert git(desk.folder, "log", "-1", "--format=%s %an") == "Double the price Ann\n"
        assert "return 2" in (desk.folder / "src" / "price.py").read_text()
        assert await window.prompt("/discard") == DONE
        assert not place.exists()
        assert window.session.place.cwd == str(desk.folder)
        assert window.session.choices.isolation == "in_place"


async def test_a_session_comes_back_to_its_worktree(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [say("Hello.")]) as desk:
        window = await desk.new()
        session_id = window.session.session_id
        await window.session.set_option("isolation", "worktree")
        place = window.session.place.cwd
        await window.session.set_option("isolation", "in_place")
        assert window.session.place.cwd == str(desk.folder)
        await window.session.set_option("isolation", "worktree")
        assert window.session.place.cwd == place
    async with serving(tmp_path, [say("Hello.")]) as desk:
        window = await desk.open(session_id)
        assert window.session.place.cwd == place
        assert await window.prompt("hello") == DONE
        shutil.rmtree(place)
        assert "is gone" in str(await window.prompt("hello"))


async def test_without_git_there_is_no_worktree(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Hello.")]) as desk:
        window = await desk.new()
        with pytest.raises(BadOption, match="Isolation cannot be"):
            await window.session.set_option("isolation", "worktree")
        assert await window.prompt("/diff") == DONE
        assert "your own files" in text_of(desk)


def locks(folder: Path) -> list[str]:
    """Why the worktrees of a repository are locked."""
    listing = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("locked ") for line in listing if line.startswith("locked")]


async def prepared(window: Window) -> None:
    """Wait until a session is ready for a prompt."""
    assert await window.prompt("/tools") == DONE


async def test_a_worktree_is_locked_as_long_as_its_session_is_open_and_works_there(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [say("Hello.")]) as desk:
        window = await desk.new()
        session_id = window.session.session_id
        lock = f"hermes-editor session {session_id}"
        await window.session.set_option("isolation", "worktree")
        assert locks(desk.folder) == [lock]
        await window.session.set_option("isolation", "in_place")
        assert locks(desk.folder) == []
        await window.session.set_option("isolation", "worktree")
        await prepared(window)
        assert locks(desk.folder) == [lock]
        await desk.server.sessions.close(session_id)
        assert locks(desk.folder) == []
        await prepared(await desk.open(session_id))
        assert locks(desk.folder) == [lock]
    assert locks(tmp_path / "project") == []


async def test_a_session_whose_worktree_was_cleaned_away_gets_another(tmp_path: Path) -> None:
    repository(tmp_path / "project")
    async with serving(tmp_path, [EDIT, say("Done.")], mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        await window.session.set_option("isolation", "in_place")
        git(desk.folder, "worktree", "remove", window.session.row.worktree)
        await window.session.set_option("isolation", "worktree")
        assert await window.prompt("double it") == DONE
        assert "return 2" in (Path(window.session.place.cwd) / "src" / "price.py").read_text()


def dying(root: Path, changes: int) -> None:
    """End this process before it has made so many changes, and one more, below a folder."""
    left = changes

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"):
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
            # Paths below an open folder of the tree are relative.
            if not path.startswith("/") or path.startswith(f"{root}/"):
                left -= 1
                if left < 0:
                    os._exit(CRASHED)

    sys.addaudithook(count)


def test_an_apply_whose_server_was_killed_is_taken_back_when_the_session_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "project"
    repository(root)
    both = act(
        call("write_file", path="src/price.py", content="new\n"),
        call("write_file", path="new.py", content="x"),
    )

    async def begin() -> str:
        async with serving(tmp_path, [both, say("Done.")], mode="accept_edits") as desk:
            window = await desk.new()
            await window.session.set_option("isolation", "worktree")
            assert await window.prompt("double it") == DONE
            return window.session.session_id

    session_id = asyncio.run(begin())

    async def apply(changes: int) -> None:
        async with serving(tmp_path, [say("Hello.")]) as desk:
            window = await desk.open(session_id)
            await prepared(window)
            dying(root, changes)
            await window.prompt("/apply")

    async def look() -> None:
        async with serving(tmp_path, [say("Hello.")]) as desk:
            await desk.open(session_id)

    before, halfway = files_of(root), 0
    for changes in range(0, 20, 2):
        killed = crashing(lambda changes=changes: apply(changes))
        halfway += files_of(root) != before
        asyncio.run(look())
        if not killed:
            break
        assert files_of(root) in (before, {"src/price.py": "new\n", "new.py": "x"})
        if files_of(root) != before:
            break
    assert files_of(root) == {"src/price.py": "new\n", "new.py": "x"}
    assert halfway > 2
