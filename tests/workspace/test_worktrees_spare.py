"""The spare checkout: taken by the next worktree, and as good as one made from nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from hermes_acp.workspace.discarded import clean
from hermes_acp.workspace.worktrees.spare import SPARE_FILES, prepare
from hermes_acp.workspace.worktrees.worktrees import Worktree, WorktreeError, create, listed
from tests.workspace.repos import Repo, files_of, git, make

pytestmark = pytest.mark.slow


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {f"{number // 200}/{number}": f"{number}\n" for number in range(SPARE_FILES)})


def worktrees(repo: Repo) -> int:
    return repo.git("worktree", "list").count("\n")


async def test_a_worktree_from_the_spare_is_like_any_other(repo: Repo) -> None:
    before = repo.precious()
    assert await prepare(repo.place)
    assert not await prepare(repo.place)
    assert await listed(repo.place) == ()
    spare = (repo.place.worktrees / ".spare/5/1000").stat()
    assert repo.precious() == before
    repo.write("5/1001", "newer\n")
    repo.git("rm", "-q", "0/7")
    repo.write("more/deep", "new\n")
    head = repo.commit()
    worktree = (await create(repo.place, "Task", "session 7")).worktree
    path = Path(worktree.path)
    assert worktree == Worktree(str(repo.place.worktrees / "task"), head, head, "session 7")
    assert await listed(repo.place) == (worktree,)
    assert files_of(path) == files_of(repo.top)
    assert (path / "5/1000").stat().st_ino == spare.st_ino
    assert git(path, "status", "--porcelain", "--branch") == "## hermes/task"
    assert worktrees(repo) == 1
    assert await prepare(repo.place)
    assert (await create(repo.place, "Task", "test")).worktree.name == "task-2"
    repo.sound()


async def test_small_repositories_have_no_spare(tmp_path: Path) -> None:
    assert not await prepare(make(tmp_path, {"a": "a\n"}).place)


async def test_changes_of_the_user_are_carried_over_into_the_spare(repo: Repo) -> None:
    await prepare(repo.place)
    repo.write("0/1", "changed\n")
    repo.write("new", "new\n")
    created = await create(repo.place, "Task", "test", with_changes=True)
    assert files_of(Path(created.worktree.path)) == files_of(repo.top)


async def test_two_that_prepare_at_once_make_one_and_two_that_take_get_two_worktrees(repo: Repo) -> None:
    assert sorted(await asyncio.gather(prepare(repo.place), prepare(repo.place))) == [False, True]
    made = await asyncio.gather(create(repo.place, "Task", "test"), create(repo.place, "Task", "test"))
    assert sorted(each.worktree.name for each in made) == ["task", "task-2"]
    for each in made:
        assert files_of(Path(each.worktree.path)) == files_of(repo.top)


async def test_a_spare_that_somebody_deleted_is_made_again(repo: Repo) -> None:
    await prepare(repo.place)
    shutil.rmtree(repo.place.worktrees / ".spare")
    assert await prepare(repo.place)
    assert worktrees(repo) == 1


async def test_a_cancelled_preparation_leaves_nothing_behind(repo: Repo) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await prepare(repo.place)
    assert list(repo.place.worktrees.glob(".[!lp]*")) == []
    assert worktrees(repo) == 0


async def test_clean_drops_the_spare(repo: Repo) -> None:
    await prepare(repo.place)
    await clean(repo.place)
    assert worktrees(repo) == 0


async def test_without_a_commit_there_is_no_spare_and_the_reason_is_said(repo: Repo) -> None:
    repo.git("update-ref", "-d", "HEAD")
    with pytest.raises(WorktreeError, match="No spare checkout was made"):
        await prepare(repo.place)
    assert worktrees(repo) == 0
