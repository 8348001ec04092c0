"""Sessions in worktrees of their own: real git, scripted models."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hermes_acp.agent.options import BadOption
from hermes_acp.events import TurnEnded
from tests.agent.server import Desk, act, call, say, serving

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
