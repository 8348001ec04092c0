"""`hermes-editor project worktrees` beside sessions of a real server: listed, in use, cleaned, never lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hermes_acp.agent.isolation import holder
from tests.agent.server import Desk, Window, act, call, say, serving
from tests.cli.test_project import Captured, run
from tests.workspace.repos import Repo, files_of, make

pytestmark = pytest.mark.slow

SCRIPT = [act(call("write_file", path="a.txt", content="agent\n")), say("Done.")]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A project in the place where the server of the tests looks for it."""
    made = make(tmp_path / "made", {"a.txt": "one\n", "b.txt": "two\n"})
    return Repo(made.top.rename(tmp_path / "project"), made.place)


class Shell:
    """The command, run beside the server."""

    def __init__(self, folder: Path, capsys: Captured) -> None:
        self._folder = folder
        self._capsys = capsys

    async def __call__(self, *words: str, status: int = 0) -> str:
        """What it says."""
        place = ("--cwd", str(self._folder / "project"))
        code = await asyncio.to_thread(run, self._folder / "home", "worktrees", *words, *place)
        said = self._capsys.readouterr()
        assert code == status, said
        return said.err if status else said.out

    async def names(self) -> dict[str, str | None]:
        """The worktrees, and why they must be left alone."""
        listing = json.loads(await self("list", "--json"))
        return {each["name"]: each["locked"] for each in listing["worktrees"]}


@pytest.fixture
def shell(tmp_path: Path, capsys: Captured) -> Shell:
    return Shell(tmp_path, capsys)


async def isolated(desk: Desk, title: str, *, at_work: bool = False) -> Window:
    """A session in a worktree, with or without work in it."""
    window = await desk.new()
    await window.session.set_title(title)
    await window.session.set_option("isolation", "worktree")
    if at_work:
        await window.prompt("write")
    return window


async def close(desk: Desk, window: Window) -> None:
    """End a session as its editor does."""
    await desk.server.sessions.close(window.session.session_id)


async def test_what_is_in_use_is_neither_cleaned_nor_discarded(
    tmp_path: Path, repo: Repo, shell: Shell
) -> None:
    assert "There are no worktrees of sessions here" in await shell()
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        window = await isolated(desk, "Idle")
        reason = holder(window.session.session_id)
        assert await shell.names() == {"idle": reason}
        lines = (await shell()).splitlines()
        assert lines[0].split() == ["NAME", "FOLDER", "IN", "USE", "BY"]
        assert lines[1].split(maxsplit=2) == ["idle", window.session.row.worktree, reason]
        assert await shell("clean") == "Kept idle: it is in use.\n"
        assert f"idle is in use ({reason})" in await shell("discard", "idle", status=1)
        await close(desk, window)
        assert await shell.names() == {"idle": None}
        assert await shell("clean") == "Removed idle: it held nothing of its own.\n"
        assert await shell.names() == {}
    repo.sound()


async def test_work_that_is_not_merged_is_never_cleaned_away(
    tmp_path: Path, repo: Repo, shell: Shell
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        await close(desk, await isolated(desk, "Uncommitted", at_work=True))
        window = await isolated(desk, "Committed")
        place = Path(window.session.place.cwd)
        await close(desk, window)
    (place / "b.txt").write_text("agent\n")
    for words in (("add", "."), ("commit", "-qm", "Work")):
        repo.git("-C", str(place), *words)
    kept = "Kept committed: there is work in it.\nKept uncommitted: there is work in it.\n"
    assert await shell("clean") == kept
    assert "+agent" in await shell("diff", "uncommitted")
    assert "is now at" in await shell("merge", "committed", "-m", "Two")
    assert "`a.txt` modified" in await shell("apply", "uncommitted")
    assert files_of(repo.top) == {"a.txt": "agent\n", "b.txt": "agent\n"}
    removed = "Removed committed: it held nothing of its own.\nKept uncommitted: there is work in it.\n"
    assert await shell("clean") == removed
    repo.sound()


async def test_what_was_discarded_comes_back_and_can_be_discarded_again(
    tmp_path: Path, repo: Repo, shell: Shell
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        await close(desk, await isolated(desk, "Task", at_work=True))
    await shell("discard", "task")
    (discarded,) = json.loads(await shell("list", "--json"))["discarded"]
    assert discarded["branch"] == "hermes/task"
    assert f"project worktrees recover {discarded['name']}" in await shell()
    place = Path((await shell("recover", discarded["name"])).split("`")[1])
    assert files_of(place) == {"a.txt": "agent\n", "b.txt": "two\n"}
    assert await shell.names() == {"task": None}
    assert await shell("clean") == "Kept task: there is work in it.\n"
    await shell("discard", "task")
    assert await shell.names() == {}


async def test_the_lock_of_a_session_whose_server_died_holds_nobody_up(
    tmp_path: Path, repo: Repo, shell: Shell
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        window = await isolated(desk, "Task")
        place, reason = window.session.row.worktree, holder(window.session.session_id)
        await close(desk, window)
    repo.git("worktree", "lock", "--reason", reason, place)
    assert await shell.names() == {"task": None}
    assert await shell("clean") == "Removed task: it held nothing of its own.\n"


@pytest.mark.parametrize("reason", ["on a disk that is not always there", holder("../../odd"), ""])
async def test_a_lock_that_is_not_of_a_session_is_respected(
    tmp_path: Path, repo: Repo, shell: Shell, reason: str
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        window = await isolated(desk, "Task")
        place = window.session.row.worktree
        await close(desk, window)
    repo.git("worktree", "lock", "--reason", reason, place)
    assert await shell.names() == {"task": reason}
    assert await shell("clean") == "Kept task: it is in use.\n"
    assert "task is in use" in await shell("discard", "task", status=1)


async def test_a_worktree_whose_folder_was_deleted_leaves_its_commits(
    tmp_path: Path, repo: Repo, shell: Shell
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        window = await isolated(desk, "Task", at_work=True)
        place = Path(window.session.row.worktree)
        await window.prompt("/merge Work")
        repo.git("-C", str(place), "commit", "-q", "--allow-empty", "-m", "More")
        await close(desk, window)
    place.rename(tmp_path / "elsewhere")
    assert "missing" in await shell()
    said = await shell("clean")
    assert said.startswith("Discarded hermes/task, whose folder is gone: project worktrees recover ")
    back = Path((await shell("recover", said.split()[-1].rstrip("."))).split("`")[1])
    assert repo.git("-C", str(back), "log", "-1", "--format=%s") == "More"


async def test_a_name_is_needed_and_has_to_be_known(tmp_path: Path, repo: Repo, shell: Shell) -> None:
    for what in ("diff", "apply", "merge", "discard", "recover"):
        assert f"project worktrees {what} NAME" in await shell(what, status=1)
        assert "nothing" in (await shell(what, "nothing", status=1)).casefold()
