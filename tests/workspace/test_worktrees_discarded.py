"""Giving worktrees up: everything in them can be recovered for thirty days."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hermes_acp.workspace.discarded import Cleaned, clean, discard, discarded, expire, recover
from hermes_acp.workspace.worktrees.worktrees import Worktree, WorktreeError, create, listed, unlock
from tests.workspace.repos import Repo, files_of, git, make

DAY = 86_400
NOW = 1_800_000_000.0


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a.txt": "a\n", "b.txt": "b\n", ".gitignore": "*.log\n"})


async def start(repo: Repo, **options: bool) -> tuple[Worktree, Path]:
    worktree = (await create(repo.place, "Task", "test", **options)).worktree
    return worktree, Path(worktree.path)


async def busy(repo: Repo) -> tuple[Worktree, Path]:
    """A worktree with every kind of work in it."""
    repo.write("b.txt", "carried\n")
    worktree, path = await start(repo, with_changes=True)
    (path / "a.txt").write_text("committed\n")
    git(path, "commit", "-qam", "By the agent")
    (path / "a.txt").write_text("staged\n")
    git(path, "add", "a.txt")
    (path / "a.txt").write_text("uncommitted\n")
    (path / "b.txt").unlink()
    (path / "new.txt").write_text("untracked\n")
    (path / "link").symlink_to("new.txt")
    (path / os.fsdecode(b"\xff")).write_text("odd\n")
    return worktree, path


async def test_what_was_discarded_comes_back_as_it_was(repo: Repo) -> None:
    worktree, path = await busy(repo)
    files, log = files_of(path), git(path, "log", "--format=%H %s")
    before = repo.precious()
    gone = await discard(repo.place, worktree, NOW)
    assert gone.name == "2027-01-15-task"
    assert await discarded(repo.place) == (gone,)
    assert await listed(repo.place) == ()
    assert (path.exists(), repo.git("branch", "--list", "hermes/*")) == (False, "")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    assert repo.precious() == before
    back = (await recover(repo.place, gone.name, "again")).worktree
    assert back == Worktree(worktree.path, worktree.base, worktree.began, "again")
    assert (files_of(path), git(path, "log", "--format=%H %s")) == (files, log)
    status = git(path, "status", "--porcelain", "-z").rstrip("\0").split("\0")
    assert sorted(status) == sorted(
        [" M a.txt", " D b.txt", "?? link", "?? new.txt", f"?? {os.fsdecode(bytes([255]))}"]
    )
    assert await discarded(repo.place) == ()
    assert repo.precious() == before
    repo.sound()


async def test_two_of_the_same_name_and_day_are_both_kept(repo: Repo) -> None:
    for _ in range(2):
        await discard(repo.place, (await start(repo))[0], NOW)
    assert [each.name for each in await discarded(repo.place)] == ["2027-01-15-task", "2027-01-15-task-2"]
    await start(repo)
    assert (await recover(repo.place, "2027-01-15-task", "again")).worktree.name == "task-2"


async def test_after_thirty_days_it_is_forgotten_and_not_before(repo: Repo) -> None:
    gone = await discard(repo.place, (await start(repo))[0], NOW)
    assert await expire(repo.place, NOW + 30 * DAY) == ()
    assert await expire(repo.place, NOW + 30 * DAY + 1) == (gone,)
    assert await discarded(repo.place) == ()
    with pytest.raises(WorktreeError, match="Nothing of this name was discarded in the last 30 days"):
        await recover(repo.place, gone.name, "again")


async def test_commits_of_a_folder_that_is_gone_are_kept(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("committed\n")
    git(path, "commit", "-qam", "By the agent")
    shutil.rmtree(path)
    gone = await discard(repo.place, worktree, NOW)
    assert repo.git("show", f"{gone.commit}:a.txt") == "committed"
    assert repo.git("worktree", "list").count("\n") == 0


async def test_work_on_another_branch_and_detached_work_is_kept_too(repo: Repo) -> None:
    worktree, path = await start(repo)
    git(path, "checkout", "-q", "--detach")
    (path / "a.txt").write_text("detached\n")
    git(path, "commit", "-qam", "Detached")
    commit = git(path, "rev-parse", "HEAD")
    gone = await discard(repo.place, worktree, NOW)
    repo.git("merge-base", "--is-ancestor", commit, gone.commit)


async def test_a_repository_within_is_not_thrown_away(repo: Repo) -> None:
    worktree, path = await start(repo)
    git(path, "init", "-q", "inner")
    with pytest.raises(
        WorktreeError, match=r"repositories of their own in it \(inner/\): move them away first"
    ):
        await discard(repo.place, worktree)
    assert await listed(repo.place) == (worktree,)


async def test_a_branch_that_the_user_has_checked_out_stays(repo: Repo) -> None:
    worktree, _ = await start(repo)
    repo.git("checkout", "-q", "--ignore-other-worktrees", "hermes/task")
    await discard(repo.place, worktree)
    assert repo.git("branch", "--show-current") == "hermes/task"
    assert repo.git("status", "--porcelain") == ""


async def test_clean_removes_what_is_empty_and_free_and_nothing_else(repo: Repo) -> None:
    names = ["locked", "empty", "dirty", "ahead", "merged", "missing", "aside"]
    paths = {name: Path((await create(repo.place, name, "test")).worktree.path) for name in names}
    for worktree in await listed(repo.place):
        if worktree.name != "locked":
            await unlock(repo.place, worktree)
    (paths["dirty"] / "new.txt").write_text("new\n")
    for name in ("ahead", "merged", "missing", "aside"):
        (paths[name] / "a.txt").write_text(f"{name}\n")
        git(paths[name], "commit", "-qam", name)
    repo.git("merge", "-q", "hermes/merged")
    shutil.rmtree(paths["missing"])
    git(paths["aside"], "checkout", "-q", "--detach")
    (repo.place.worktrees / ".trash-1").mkdir()
    old = await discard(repo.place, (await create(repo.place, "old", "test")).worktree, NOW - 31 * DAY)
    cleaned = await clean(repo.place, NOW)
    (saved,) = cleaned.saved
    assert saved.branch == "hermes/missing"
    assert cleaned == Cleaned(("empty", "merged"), (saved,), (old,), ("ahead", "aside", "dirty", "locked"))
    assert sorted(each.name for each in repo.place.worktrees.glob("[!.]*")) == [
        "ahead",
        "aside",
        "dirty",
        "locked",
    ]
    assert await clean(repo.place, NOW) == Cleaned(kept=("ahead", "aside", "dirty", "locked"))
    repo.sound()
