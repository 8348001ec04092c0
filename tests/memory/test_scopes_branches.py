"""Facts follow the branches of a real repository, whatever people do with these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_acp.memory import scopes
from hermes_acp.memory.scopes import Place
from hermes_acp.workspace import branch_state
from hermes_acp.workspace.branch_state import BranchState
from tests.memory.memories import Memory, fact
from tests.workspace.repos import ENV, Repo, git, make

pytestmark = pytest.mark.slow


@dataclass
class Work:
    """A repository in which people work, and what is remembered of it."""

    repo: Repo
    memory: Memory

    async def look(self, session: str = "s1", top: Path | None = None) -> BranchState:
        """What the server does at the begin of a session and behind each turn."""
        asked = await self.memory.facts.asked("p", "here")
        state = await branch_state.look(
            str(top or self.repo.top), ENV, asked.before, asked.wanted, asked.commits
        )
        await self.memory.facts.reconcile("p", "here", state, session)
        return state

    async def place(self, session: str = "s1", top: Path | None = None) -> Place:
        state = await self.look(session, top)
        return Place("p", scopes.scope_at(state.branch, state.default, session))

    async def learn(self, text: str, session: str = "s1") -> None:
        await self.memory.learn(await self.place(session), fact(text))

    async def seen(self, session: str = "s1", top: Path | None = None) -> list[str]:
        return await self.memory.texts(await self.place(session, top))

    def commit(self, path: str, text: str = "text\n") -> None:
        self.repo.write(path, text)
        self.repo.commit(f"Write {path}")

    def git(self, *arguments: str) -> str:
        return self.repo.git(*arguments)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Work]:
    memory = await Memory.open(tmp_path / "data")
    repo = make(tmp_path / "code", {"a.txt": "one\n"})
    work = Work(repo, memory)
    await work.look()
    yield work
    await memory.close()


async def started(work: Work) -> None:
    """Something is learned and written on a branch."""
    work.git("switch", "-q", "-c", "feature/x")
    await work.learn("from the branch")
    work.commit("b.txt")
    work.commit("c.txt")
    assert await work.seen() == ["from the branch"]
    work.git("switch", "-q", "main")
    assert await work.seen() == []


@pytest.mark.parametrize("how", ["--no-ff", "--ff-only"])
async def test_a_merge_promotes(work: Work, how: str) -> None:
    await started(work)
    work.git("merge", "-q", how, "feature/x")
    assert await work.seen() == ["from the branch"]
    work.git("branch", "-d", "feature/x")
    assert await work.seen() == ["from the branch"]


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_squash_promotes(work: Work, deleted: bool) -> None:
    await started(work)
    work.commit("d.txt")
    work.git("merge", "-q", "--squash", "feature/x")
    work.git("commit", "-q", "-m", "All of it at once")
    work.commit("e.txt")
    if deleted:
        work.git("branch", "-D", "feature/x")
    assert await work.seen() == ["from the branch"]


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_rebase_onto_the_default_branch_promotes(work: Work, deleted: bool) -> None:
    await started(work)
    work.commit("d.txt")
    work.git("cherry-pick", "main..feature/x")
    work.commit("e.txt")
    if deleted:
        work.git("branch", "-D", "feature/x")
    assert await work.seen() == ["from the branch"]


async def test_a_merge_at_the_remote_promotes_once_it_was_fetched(work: Work, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "-q", "--bare", str(work.repo.top), str(remote))
    work.git("remote", "add", "origin", str(remote))
    await started(work)
    work.git("push", "-q", "origin", "feature/x:main")
    assert await work.seen() == ["from the branch"]


async def test_a_part_of_a_branch_is_not_the_branch(work: Work) -> None:
    await started(work)
    work.git("cherry-pick", "feature/x~1")
    assert await work.seen() == []


async def test_a_fresh_branch_is_not_merged(work: Work) -> None:
    work.git("switch", "-q", "-c", "fresh")
    await work.learn("only here")
    work.git("switch", "-q", "main")
    work.commit("d.txt")
    assert await work.seen() == []
    work.git("switch", "-q", "fresh")
    work.git("merge", "-q", "--ff-only", "main")
    assert await work.seen() == ["only here"]
    work.git("switch", "-q", "main")
    assert await work.seen() == []


@pytest.mark.parametrize("deleted", [False, True])
async def test_work_and_merge_between_two_looks_are_noticed(work: Work, deleted: bool) -> None:
    work.git("switch", "-q", "-c", "quick")
    await work.learn("only here")
    work.commit("d.txt")
    work.git("switch", "-q", "main")
    work.git("merge", "-q", "quick")
    if deleted:
        work.git("branch", "-d", "quick")
    assert await work.seen() == ["only here"]


async def test_work_that_goes_on_after_a_merge_starts_anew(work: Work) -> None:
    await started(work)
    work.git("merge", "-q", "feature/x")
    assert await work.seen() == ["from the branch"]
    work.git("switch", "-q", "feature/x")
    await work.learn("second thought")
    work.git("switch", "-q", "main")
    assert await work.seen() == ["from the branch"]
    work.git("switch", "-q", "feature/x")
    work.commit("e.txt")
    work.git("switch", "-q", "main")
    work.git("merge", "-q", "feature/x")
    assert await work.seen() == ["from the branch", "second thought"]


async def test_a_deleted_branch_is_archived(work: Work) -> None:
    await started(work)
    work.git("branch", "-D", "feature/x")
    assert await work.seen() == []
    assert await work.memory.states() == {"from the branch": ("active", "archive/feature/x")}
    work.git("switch", "-q", "-c", "feature/x")
    assert await work.seen() == []
    await work.memory.facts.recover("p", "feature/x")
    assert await work.seen() == ["from the branch"]


@pytest.mark.parametrize("how", ["rename", "copy and delete", "rename and commit"])
async def test_facts_follow_a_renamed_branch(work: Work, how: str) -> None:
    await started(work)
    if how == "copy and delete":
        work.git("branch", "other", "feature/x")
        work.git("branch", "-D", "feature/x")
    else:
        work.git("branch", "-m", "feature/x", "other")
    work.git("switch", "-q", "other")
    if how == "rename and commit":
        work.commit("e.txt")
    assert await work.seen() == ["from the branch"]
    work.git("switch", "-q", "main")
    assert await work.seen() == []


async def test_a_detached_head_keeps_to_its_session_until_it_gets_a_branch(work: Work) -> None:
    work.git("switch", "-q", "--detach")
    await work.learn("while detached", "s7")
    work.commit("d.txt")
    assert await work.seen("s7") == ["while detached"]
    assert await work.seen("s8") == []
    work.git("switch", "-q", "main")
    assert await work.seen() == []
    work.git("branch", "rescue", "HEAD@{1}")
    work.git("switch", "-q", "rescue")
    assert await work.seen() == ["while detached"]
    work.git("switch", "-q", "main")
    work.git("merge", "-q", "rescue")
    assert await work.seen() == ["while detached"]


async def test_a_removed_worktree_takes_nothing_along(work: Work, tmp_path: Path) -> None:
    other = tmp_path / "other"
    work.git("worktree", "add", "-q", "-b", "side", str(other))
    place = await work.place("s1", other)
    await work.memory.learn(place, fact("in the other tree"))
    git(other, "commit", "-q", "--allow-empty", "-m", "Work")
    assert await work.seen("s1", other) == ["in the other tree"]
    work.git("worktree", "remove", "--force", str(other))
    assert await work.seen() == []
    work.git("switch", "-q", "side")
    assert await work.seen() == ["in the other tree"]


async def test_without_git_and_without_commits_there_is_one_scope(work: Work, tmp_path: Path) -> None:
    plain, empty = tmp_path / "plain", tmp_path / "empty"
    for folder in (plain, empty):
        folder.mkdir()
    git(empty, "init", "-q", "-b", "trunk")
    assert (
        await branch_state.look(str(plain), {**ENV, "GIT_CEILING_DIRECTORIES": str(tmp_path)})
        == BranchState()
    )
    found = await branch_state.look(str(empty), ENV)
    assert scopes.scope_at(found.branch, found.default, "s") == "project"


async def test_the_default_branch_is_the_one_that_the_remote_says(work: Work, tmp_path: Path) -> None:
    work.git("branch", "stable")
    work.git("update-ref", "refs/remotes/origin/stable", "HEAD")
    work.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/stable")
    assert (await branch_state.look(str(work.repo.top), ENV)).default == "stable"
    work.git("symbolic-ref", "--delete", "refs/remotes/origin/HEAD")
    assert (await branch_state.look(str(work.repo.top), ENV)).default == "main"
    work.git("branch", "-m", "main", "odd")
    work.git("branch", "-D", "stable")
    assert (await branch_state.look(str(work.repo.top), ENV)).default == "odd"


async def test_names_of_branches_may_be_odd(work: Work) -> None:
    for name in ("a%2Fb", "a/b", "émoji-🚀", "x" * 220, "-".join(["long"] * 40) + "/end"):
        work.git("switch", "-q", "-c", name, "main")
        await work.learn(f"on {name}")
        work.git("commit", "-q", "--allow-empty", "-m", "Work")
        assert await work.seen() == [f"on {name}"]
    await work.memory.whole(("p",))
