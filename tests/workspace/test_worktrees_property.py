"""Whatever users, sessions and crashes do in whatever order: no line that a user wrote is ever lost."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_acp.workspace.apply import apply, recover
from hermes_acp.workspace.discarded import discard
from hermes_acp.workspace.discarded import recover as take_up
from hermes_acp.workspace.landing import merge
from hermes_acp.workspace.worktrees.worktrees import Worktree, create
from tests.workspace.repos import files_of, git, killed, make

NAMES = ["a.txt", "b.txt", "dir/c.txt", "new.txt", "dir"]


class World:
    """A user's repository, one session in a worktree, and all lines that either ever wrote."""

    def __init__(self, folder: Path) -> None:
        self.repo = make(folder, {name: "".join(f"{n}\n" for n in range(9)) for name in NAMES[:3]})
        self.worktree = self._started()
        self.lines = 0
        self.branch = "main"
        self.mine: dict[str, set[str]] = {"main": set()}
        self.agents: set[str] = set()

    def _started(self) -> Worktree:
        return asyncio.run(create(self.repo.place, "Task", "test")).worktree

    def _write(self, top: Path, name: str, where: int, who: str) -> str | None:
        """Add a line of its own to a file that may be new; None when something is in the way."""
        file = top / name
        if file.is_dir() or (file.parent != top and file.parent.is_file()):
            return None
        self.lines += 1
        line = f"{who}{self.lines}"
        old = file.read_text().splitlines(keepends=True) if file.exists() else []
        at = min(where * 4, len(old))
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join([*old[:at], line + "\n", *old[at:]]))
        return line

    def user_edits(self, name: str, where: int) -> None:
        if line := self._write(self.repo.top, name, where, "user"):
            self.mine[self.branch].add(line)

    def agent_edits(self, name: str, where: int) -> None:
        if line := self._write(Path(self.worktree.path), name, where, "agent"):
            self.agents.add(line)

    def user_stages(self, name: str, where: int) -> None:
        self.repo.git("add", "--all")

    def agent_commits(self, name: str, where: int) -> None:
        git(Path(self.worktree.path), "add", "--all")
        git(Path(self.worktree.path), "commit", "-q", "--allow-empty", "-m", "Agent")

    def user_switches(self, name: str, where: int) -> None:
        self.repo.git("add", "--all")
        self.repo.git("commit", "-q", "--allow-empty", "-m", "Mine")
        branch = ["main", "feature", "other"][where]
        if branch not in self.mine:
            self.repo.git("branch", branch)
            self.mine[branch] = set(self.mine[self.branch])
        self.repo.git("checkout", "-q", branch)
        self.branch = branch

    def applies(self, name: str, where: int) -> None:
        self._all_or_nothing(
            lambda: asyncio.run(apply(self.repo.place, self.worktree, str(self.repo.top))).conflicts
        )

    def merges(self, name: str, where: int) -> None:
        self._all_or_nothing(
            lambda: asyncio.run(merge(self.repo.place, self.worktree, str(self.repo.top), "T")).conflicts
        )

    def _all_or_nothing(self, act) -> None:
        before, index = files_of(self.repo.top), self.repo.precious()
        if act():
            assert (files_of(self.repo.top), self.repo.precious()) == (before, index)

    def crashes(self, name: str, where: int) -> None:
        """The apply is killed somewhere on its way: it did all, or it is as if it had done nothing."""
        before, index = files_of(self.repo.top), self.repo.precious()
        status = killed(self.repo, self.worktree, NAMES.index(name) * 4 + where)
        asyncio.run(recover(self.repo.place))
        if status and files_of(self.repo.top) != before:
            assert any(line in text for line in self.agents for text in files_of(self.repo.top).values())
        assert self.repo.precious() == index

    def gives_up_and_takes_up(self, name: str, where: int) -> None:
        files = files_of(Path(self.worktree.path))
        gone = asyncio.run(discard(self.repo.place, self.worktree))
        self.worktree = asyncio.run(take_up(self.repo.place, gone.name, "test")).worktree
        assert files_of(Path(self.worktree.path)) == files

    def check(self) -> None:
        """All lines of the user are in the user's files, all of the session in its worktree, each once."""
        written = [line for text in files_of(self.repo.top).values() for line in text.splitlines()]
        worked = [line for text in files_of(Path(self.worktree.path)).values() for line in text.splitlines()]
        for line in self.mine[self.branch]:
            assert written.count(line) == 1, line
        for line in self.agents:
            assert worked.count(line) == 1, line
            assert written.count(line) <= 1, line
        assert not any("<<<<<<<" in line for line in written)


ACTIONS = [
    *(World.user_edits, World.agent_edits, World.user_stages, World.agent_commits, World.user_switches),
    *(World.applies, World.merges, World.crashes, World.gives_up_and_takes_up),
]
OFTEN = [World.user_edits, World.agent_edits, World.applies, World.agent_edits]


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from([*OFTEN, *ACTIONS]), st.sampled_from(NAMES), st.integers(0, 2)),
        min_size=3,
        max_size=14,
    )
)
def test_no_line_is_ever_lost(actions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder).resolve())
        for action, name, where in actions:
            action(world, name, where)
            world.check()
        for branch in world.mine:
            world.user_switches("", ["main", "feature", "other"].index(branch))
            world.check()
        world.repo.sound()


@pytest.mark.slow
def test_an_apply_that_is_killed_anywhere_did_all_or_nothing(tmp_path: Path) -> None:
    old, new = {"a.txt": "a\n", "b.txt": "b\n"}, {"a.txt": "agent\n", "new/c.txt": "c\n"}
    outcomes: list[dict[str, str]] = []
    status = -1
    while status:
        count = len(outcomes)
        repo = make(tmp_path / str(count), old)
        worktree = asyncio.run(create(repo.place, "Task", "test")).worktree
        path = Path(worktree.path)
        (path / "b.txt").unlink()
        (path / "new").mkdir()
        for name, text in new.items():
            (path / name).write_text(text)
        before = repo.precious()
        status = killed(repo, worktree, count)
        assert asyncio.run(recover(repo.place)) == ()
        outcomes.append(files_of(repo.top))
        assert repo.precious() == before
    last = outcomes.index(new)
    assert outcomes == [old] * last + [new] * (len(outcomes) - last)
    assert last >= 10
