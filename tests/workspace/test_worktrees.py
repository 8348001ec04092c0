"""Linked worktrees: made from anything a user may have, and nothing of theirs touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from hermes_acp.workspace.worktrees.worktrees import (
    Place,
    Worktree,
    WorktreeError,
    create,
    find,
    listed,
    lock,
    repair,
    slug,
    unlock,
)
from tests.workspace.repos import ENV, Repo, files_of, git, make


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a.txt": "a\n", "lib/b.txt": "b\n", ".gitignore": "*.log\n.env\nbuild/\n"})


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Fix the Login!", "fix-the-login"),
        ("Größe ändern", "grosse-andern"),
        ("日本語", "session"),
        ("--force ../.. @{u}.lock", "force-u-lock"),
        ("x" * 100, "x" * 40),
        ("", "session"),
    ],
)
def test_titles_become_names_of_branches(title: str, name: str) -> None:
    assert slug(title) == name


async def test_a_worktree_has_its_own_branch_at_the_users_commit_and_is_locked(repo: Repo) -> None:
    before = repo.precious()
    head = repo.git("rev-parse", "HEAD")
    created = await create(repo.place, "Fix the Login!", "session 7\nis here")
    path = repo.place.worktrees / "fix-the-login"
    assert created.notes == ()
    assert created.worktree == Worktree(str(path), head, head, "session 7 is here")
    assert created.worktree.branch == git(path, "symbolic-ref", "--short", "HEAD") == "hermes/fix-the-login"
    assert files_of(path) == files_of(repo.top)
    assert git(path, "status", "--porcelain") == ""
    assert await listed(repo.place) == (created.worktree,)
    assert await find(repo.place, "fix-the-login") == created.worktree
    assert repo.precious() == before
    repo.sound()


async def test_the_same_title_twice_gives_two_worktrees_even_at_once(repo: Repo) -> None:
    repo.git("branch", "hermes/task-2")
    made = await asyncio.gather(*(create(repo.place, "Task", "test") for _ in range(4)))
    assert {each.worktree.name for each in made} == {"task", "task-3", "task-4", "task-5"}
    assert len(await listed(repo.place)) == 4
    repo.sound()


async def test_without_changes_it_says_what_stays_behind(repo: Repo) -> None:
    repo.write("a.txt", "changed\n")
    repo.write("new.txt", "new\n")
    created = await create(repo.place, "Task", "test")
    assert created.notes == ("Uncommitted changes in 2 files were not taken along.",)
    assert (Path(created.worktree.path) / "a.txt").read_text() == "a\n"


async def test_with_changes_everything_but_the_ignored_comes_along(repo: Repo) -> None:
    repo.write("a.txt", "staged\n")
    repo.git("add", "a.txt")
    repo.write("a.txt", "staged and changed\n")
    repo.write("new.txt", "new\n")
    repo.write("x.log", "ignored\n")
    repo.git("rm", "-q", "lib/b.txt")
    (repo.top / "link").symlink_to("a.txt")
    before, head = repo.precious(), repo.git("rev-parse", "HEAD")
    created = await create(repo.place, "Task", "test", with_changes=True)
    path = Path(created.worktree.path)
    wanted = files_of(repo.top)
    del wanted["x.log"]
    assert files_of(path) == wanted
    assert git(path, "status", "--porcelain") == ""
    assert created.worktree.carried
    assert (created.worktree.began, git(path, "rev-parse", "HEAD~")) == (head, head)
    assert repo.precious() == before
    repo.sound()


async def test_with_changes_that_are_none_it_starts_from_the_commit(repo: Repo) -> None:
    assert not (await create(repo.place, "Task", "test", with_changes=True)).worktree.carried


async def test_carried_commits_survive_garbage_collection(repo: Repo) -> None:
    repo.write("a.txt", "changed\n")
    worktree = (await create(repo.place, "Task", "test", with_changes=True)).worktree
    git(Path(worktree.path), "reset", "-q", "--hard", "main")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    assert await listed(repo.place) == (worktree,)
    assert repo.git("show", f"{worktree.base}:a.txt") == "changed"


# --- ignored files that a build needs ------------------------------------------------------------


async def test_named_ignored_files_are_copied_and_no_others(repo: Repo) -> None:
    repo.write(".worktreeinclude", ".env\nbuild/cache/\nlib/\n*.txt\n")
    repo.write(".env", "KEY=1\n")
    repo.write("build/cache/one", "1")
    (repo.top / "build/cache/link").symlink_to("one")
    repo.write("build/other", "2")
    repo.write("untracked.txt", "not ignored")
    (repo.top / "build/cache/run").write_text("#!/bin/sh\n")
    (repo.top / "build/cache/run").chmod(0o750)
    created = await create(repo.place, "Task", "test")
    path = Path(created.worktree.path)
    copied = {".env": "KEY=1\n", "build/cache/one": "1", "build/cache/link": "-> one"}
    tracked = {".gitignore": "*.log\n.env\nbuild/\n", "a.txt": "a\n", "lib/b.txt": "b\n"}
    assert files_of(path) == tracked | copied | {"build/cache/run": "#!/bin/sh\n"}
    assert (path / "build/cache/run").stat().st_mode & 0o777 == 0o750
    assert "4 ignored files were copied (.worktreeinclude)." in created.notes
    (path / ".env").write_text("KEY=2\n")
    assert (repo.top / ".env").read_text() == "KEY=1\n"


async def test_included_files_do_not_leave_through_a_link_of_the_checkout(repo: Repo, tmp_path: Path) -> None:
    (repo.top / "build").symlink_to(tmp_path)
    repo.git("add", "-f", "build")
    repo.commit()
    (repo.top / "build").unlink()
    repo.write("build/escape", "out")
    repo.write(".worktreeinclude", "build/\n")
    await create(repo.place, "Task", "test")
    assert not (tmp_path / "escape").exists()


# --- what a user may have ------------------------------------------------------------------------


async def test_a_repository_without_commits_is_refused_in_words(tmp_path: Path) -> None:
    repo = make(tmp_path, {})
    with pytest.raises(WorktreeError, match=r"no commit yet.*git commit --allow-empty -m Start"):
        await create(repo.place, "Task", "test")
    assert repo.git("status", "--porcelain") == ""


async def test_a_folder_without_git_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(WorktreeError, match=r"is not in a git repository.*work in place"):
        await create(Place(str(tmp_path), str(tmp_path / "project"), ENV), "Task", "test")


async def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorktreeError, match="is gone"):
        await create(Place(str(tmp_path / "gone"), str(tmp_path / "project"), ENV), "Task", "test")


async def test_a_detached_head_is_as_good_as_a_branch(repo: Repo) -> None:
    repo.git("checkout", "-q", "--detach")
    before = repo.precious()
    assert (await create(repo.place, "Task", "test")).worktree.base == repo.git("rev-parse", "HEAD")
    assert repo.precious() == before


async def test_in_the_middle_of_a_merge_only_the_last_commit_counts(repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "other")
    repo.write("a.txt", "theirs\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("a.txt", "ours\n")
    repo.commit()
    repo.git("merge", "-q", "other", status=1)
    before = repo.precious()
    created = await create(repo.place, "Task", "test")
    assert (
        created.notes[0]
        == "A merge is in progress in your files; the worktree starts from HEAD as it is now."
    )
    with pytest.raises(WorktreeError, match="conflicts in the working tree"):
        await create(repo.place, "Other", "test", with_changes=True)
    assert repo.precious() == before


async def test_a_held_index_lock_is_no_obstacle(repo: Repo) -> None:
    (repo.top / ".git" / "index.lock").touch()
    repo.write("a.txt", "changed\n")
    created = await create(repo.place, "Task", "test", with_changes=True)
    assert (Path(created.worktree.path) / "a.txt").read_text() == "changed\n"
    assert (repo.top / ".git" / "index.lock").exists()


async def test_a_bare_repository_gives_worktrees_too(repo: Repo, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", "repo", "bare.git")
    place = Place(str(tmp_path / "bare.git"), str(tmp_path / "other"), ENV)
    created = await create(place, "Task", "test")
    assert files_of(Path(created.worktree.path)) == files_of(repo.top)
    with pytest.raises(WorktreeError, match="is a bare repository"):
        await create(place, "Task", "test", with_changes=True)
    assert await listed(place) == (created.worktree,)


async def test_a_repository_with_sha256_names_works(tmp_path: Path) -> None:
    repo = make(tmp_path, {"a": "a\n"}, "--object-format=sha256")
    repo.write("a", "b\n")
    worktree = (await create(repo.place, "Task", "test", with_changes=True)).worktree
    assert len(worktree.base) == 64
    assert await listed(repo.place) == (worktree,)
    repo.sound()


async def test_from_a_linked_worktree_of_the_user_it_starts_there(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "../mine")
    mine = tmp_path / "mine"
    (mine / "a.txt").write_text("mine\n")
    git(mine, "commit", "-qam", "Mine")
    place = Place(str(mine / "lib"), repo.place.folder, ENV)
    created = await create(place, "Task", "test")
    assert (Path(created.worktree.path) / "a.txt").read_text() == "mine\n"
    assert await listed(place) == await listed(repo.place) == (created.worktree,)


async def test_filters_and_submodules_are_not_run_and_said_so(repo: Repo, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    repo.git("config", "filter.lfs.smudge", f"touch {canary}; cat")
    repo.git("config", "filter.lfs.clean", "cat")
    repo.git("config", "filter.lfs.required", "true")
    hook = repo.top / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
    hook.chmod(0o755)
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs -text\n")
    repo.write(".gitmodules", "")
    repo.write("big.bin", "version 1\n")
    repo.commit()
    canary.unlink(missing_ok=True)
    created = await create(repo.place, "Task", "test")
    assert not canary.exists()
    assert created.notes == (
        "Filters did not run (lfs): their files are here as git stores them.",
        "Submodules are not checked out: run git submodule update --init there if you need them.",
    )


async def test_names_that_differ_only_in_form_all_arrive(tmp_path: Path) -> None:
    names = ["caf\u00e9", "cafe\u0301", "README", "readme", "a\nb", "-rf", 'quo"te', "tab\t"]
    repo = make(tmp_path, dict.fromkeys(names, "x"))
    broken = os.fsdecode(b"\xff\xfe")
    (repo.top / broken).write_text("bytes")
    created = await create(repo.place, "Task", "test", with_changes=True)
    assert set(files_of(Path(created.worktree.path))) == {*names, broken}


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a repository away")
async def test_a_repository_of_somebody_else_is_refused_in_words(repo: Repo) -> None:
    os.chown(repo.top, 12345, 12345)
    os.chown(repo.top / ".git", 12345, 12345)
    with pytest.raises(WorktreeError, match=r"another user.*safe\.directory"):
        await create(repo.place, "Task", "test")


async def test_a_branch_named_hermes_stands_in_the_way_and_nothing_is_left(repo: Repo) -> None:
    repo.git("branch", "hermes")
    before = repo.precious()
    with pytest.raises(WorktreeError, match="refs/heads/hermes"):
        await create(repo.place, "Task", "test")
    assert list(repo.place.worktrees.glob("[!.]*")) == []
    assert repo.git("worktree", "list").count("\n") == 0
    assert repo.precious() == before


def _wait_for_a_file(worktrees: Path) -> None:
    while not any(worktrees.glob("task/*")):
        time.sleep(0.001)


@pytest.mark.slow
async def test_a_cancelled_creation_leaves_nothing_behind(tmp_path: Path) -> None:
    repo = make(tmp_path, {f"{number // 100}/{number}": "text\n" for number in range(2_000)})
    before = repo.precious()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(create(repo.place, "Task", "test"))
        await asyncio.to_thread(_wait_for_a_file, repo.place.worktrees)
        task.cancel()
    assert task.cancelled()
    assert list(repo.place.worktrees.glob("[!.]*")) == []
    assert repo.git("worktree", "list").count("\n") == 0
    assert repo.git("branch", "--list", "hermes/*") == ""
    assert repo.precious() == before
    repo.sound()


# --- later ---------------------------------------------------------------------------------------


async def test_a_lock_is_given_and_taken_back(repo: Repo) -> None:
    worktree = (await create(repo.place, "Task", "test")).worktree
    await unlock(repo.place, worktree)
    await unlock(repo.place, worktree)
    assert (await find(repo.place, "task")).locked is None
    await lock(repo.place, worktree, "one")
    await lock(repo.place, worktree, "two")
    assert (await find(repo.place, "task")).locked == "two"


async def test_a_deleted_folder_is_listed_as_missing(repo: Repo) -> None:
    worktree = (await create(repo.place, "Task", "test")).worktree
    shutil.rmtree(worktree.path)
    assert [each.missing for each in await listed(repo.place)] == [True]


async def test_a_moved_repository_and_moved_worktrees_are_joined_again(repo: Repo, tmp_path: Path) -> None:
    await create(repo.place, "Task", "test")
    (tmp_path / "repo").rename(tmp_path / "moved")
    (tmp_path / "project").rename(tmp_path / "elsewhere")
    place = Place(str(tmp_path / "moved"), str(tmp_path / "elsewhere"), ENV)
    await repair(place)
    (worktree,) = await listed(place)
    assert (worktree.path, worktree.missing) == (str(tmp_path / "elsewhere" / "worktrees" / "task"), False)
    assert git(Path(worktree.path), "status", "--porcelain") == ""


async def test_an_unknown_name_is_refused_in_words(repo: Repo) -> None:
    with pytest.raises(WorktreeError, match="There is no worktree nothing"):
        await find(repo.place, "nothing")
