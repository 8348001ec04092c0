"""The repository of facts by itself: streams, branches, locks and what somebody else does in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hermes_acp.storage import locks
from hermes_acp.storage.fact_commits import FactCommit, FactVersion, RepositoryError
from hermes_acp.workspace.child import child
from hermes_acp.workspace.memory_repository.repository import MemoryRepository
from hermes_acp.workspace.memory_repository.stream import Stream, branch_of, without
from tests.workspace.repos import ENV, git

pytestmark = pytest.mark.slow


def commit(name: str, **scopes: dict[str, str | None]) -> FactCommit:
    files = {scope.replace("__", "/"): paths for scope, paths in scopes.items()}
    return FactCommit(name, f"Change\n\nHermes-Change: {name}\n", 1_700_000_000.0, files)


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[MemoryRepository]:
    repository = MemoryRepository(tmp_path, ENV)
    yield repository
    repository.close()


def test_scopes_have_branches_that_git_takes_and_that_are_no_folders_of_each_other() -> None:
    assert branch_of("project") == "project"
    assert branch_of("overlay/feature") == "overlay/feature"
    assert branch_of("overlay/feature/x") == "overlay/feature%2Fx"
    assert branch_of("overlay/feature%2Fx") == "overlay/feature%252Fx"
    assert branch_of("session/a b~c") == "session/a%20b%7Ec"
    long = branch_of("overlay/" + "x" * 400)
    assert len(long) < 210
    assert long != branch_of("overlay/" + "x" * 401)


def test_a_stream_begins_where_the_branch_ends_and_only_there() -> None:
    stream = Stream({"project": "1234"}, {}, {("project", "a")})
    for name in ("a", "b", "c"):
        stream.add(commit(name, project={f"facts/{name}.md": name}, user={"facts/u.md": name}))
    text = stream.finished().decode()
    assert text.count("from 1234\n") == 1
    assert text.count("commit refs/heads/project") == 2
    assert text.count("commit refs/heads/user") == 3
    assert text.endswith("done\n")


async def test_what_is_there_already_is_not_written_again(repository: MemoryRepository) -> None:
    first = commit("a", project={"facts/a.md": "one"}, overlay__x={"facts/x.md": "two"})
    second = commit("b", project={"facts/b.md": "three"})
    async with repository.locked() as crashed:
        assert crashed
        await repository.commit([first], doubtful=False)
    async with repository.locked() as crashed:
        assert not crashed
        await repository.commit([first, second], doubtful=True)
        await repository.commit([first, second], doubtful=True)
        assert await repository.files() == {
            "project": {"facts/a.md": "one", "facts/b.md": "three"},
            "overlay/x": {"facts/x.md": "two"},
        }
        assert [entry.change_id for entry in await repository.log(10)] == ["b", "a"]
        assert [len(entry.commits) for entry in await repository.log(10)] == [1, 2]
        assert [entry.change_id for entry in await repository.log(10, "facts/x.md")] == ["a"]
        assert await repository.versions("b") == [FactVersion("facts/b.md", None, "three")]
        assert await repository.versions("c") == []
        assert await repository.problems() == []


async def test_after_an_error_the_next_one_is_told(repository: MemoryRepository) -> None:
    async with repository.locked():
        pass
    with pytest.raises(RepositoryError, match="cannot be used"):
        async with repository.locked():
            await repository.commit([commit("a", project={"\n": "x"})], doubtful=False)
    async with repository.locked() as crashed:
        assert crashed
        await repository.commit([commit("b", project={"facts/b.md": "b"})], doubtful=True)


async def test_what_a_dead_git_left_is_cleared_away(repository: MemoryRepository) -> None:
    async with repository.locked():
        await repository.commit([commit("a", project={"facts/a.md": "a"})], doubtful=False)
    bare = repository.bare
    left = [
        bare / "refs/heads/project.lock",
        bare / "worktrees/project/index.lock",
        bare / "packed-refs.lock",
    ]
    left += [bare / "objects/pack/tmp_pack_x", bare / "fast_import_crash_1"]
    for path in left:
        path.touch()
    (repository.folder / "memory.lock").write_text("busy")
    async with repository.locked():
        await repository.commit([commit("b", project={"facts/a.md": "b"})], doubtful=True)
    assert not any(path.exists() for path in left)
    assert (repository.folder / "memory/project/facts/a.md").read_text() == "b"


async def test_changes_are_imported_again_that_a_dead_git_was_about_to_pack(
    repository: MemoryRepository,
) -> None:
    packs = repository.bare / "objects/pack"
    async with repository.locked():
        await repository.commit([commit("a", project={"facts/a.md": "a"})], doubtful=False)
    tip, before = git(repository.bare, "rev-parse", "project"), set(packs.iterdir())
    async with repository.locked():
        await repository.commit([commit("b", project={"facts/a.md": "b"})], doubtful=False)
    git(repository.bare, "update-ref", "refs/heads/project", tip)
    for path in set(packs.iterdir()) - before:
        path.rename(path.with_suffix(".keep"))
    (repository.folder / "memory.lock").write_text("busy")
    async with repository.locked():
        await repository.commit([commit("b", project={"facts/a.md": "b"})], doubtful=True)
        assert await repository.files() == {"project": {"facts/a.md": "b"}}


async def test_whoever_holds_the_lock_may_be_a_program_that_a_dead_server_has_started(tmp_path: Path) -> None:
    path = tmp_path / "memory.lock"
    ours, theirs = locks.open_lock(path), locks.open_lock(path)
    assert locks.lock(ours, path)
    async with child(("cat",), stdin=asyncio.subprocess.PIPE, inherited=(ours,)):
        os.close(ours)
        assert not locks.lock(theirs, path)
    assert locks.lock(theirs, path)
    os.close(theirs)


async def test_commits_that_nobody_locks_for_are_built_upon(repository: MemoryRepository) -> None:
    async with repository.locked():
        await repository.commit([commit("a", project={"facts/a.md": "a"})], doubtful=False)
        tree = repository.folder / "memory/project"
        (tree / "README").write_text("mine")
        git(tree, "add", ".")
        git(tree, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "By hand")
        await repository.commit([commit("b", project={"facts/a.md": None})], doubtful=False)
        assert git(tree, "ls-files") == "README"
        assert await repository.files() == {"project": {}}
        assert sorted(entry.change_id for entry in await repository.log(9)) == ["", "a", "b"]


async def test_hooks_and_filters_of_the_repository_are_not_run(repository: MemoryRepository) -> None:
    async with repository.locked():
        await repository.commit([commit("a", project={"facts/a.md": "a"})], doubtful=False)
        (repository.bare / "hooks").mkdir()
        hook = repository.bare / "hooks" / "reference-transaction"
        hook.write_text(f"#!/bin/sh\ntouch {repository.folder}/ran\n")
        hook.chmod(0o755)
        await repository.commit([commit("b", project={"facts/b.md": "b"})], doubtful=False)
    assert not (repository.folder / "ran").exists()


def test_a_history_loses_files_and_nothing_else() -> None:
    stream = (
        b"feature done\n"
        b"blob\nmark :1\ndata 6\nsecret\n"
        b"blob\nmark :2\ndata 9\nM 1 :1 x\n\n"
        b"reset refs/heads/project\n"
        b"commit refs/heads/project\nmark :3\ndata 13\nD facts/a.md\n\n"
        b"M 100644 :1 facts/a.md\nM 100644 :2 facts/b.md\n\n"
        b"commit refs/heads/project\nmark :4\ndata 2\nx\nfrom :3\nD facts/a.md\n\n"
        b"done\n"
    )
    assert without(stream, ["facts/a.md"]) == (
        b"feature done\n"
        b"blob\nmark :2\ndata 9\nM 1 :1 x\n\n"
        b"reset refs/heads/project\n"
        b"commit refs/heads/project\nmark :3\ndata 13\nD facts/a.md\n\n"
        b"M 100644 :2 facts/b.md\n\n"
        b"commit refs/heads/project\nmark :4\ndata 2\nx\nfrom :3\n\n"
        b"done\n"
    )
    assert without(stream, ["facts/c.md"]) == stream
