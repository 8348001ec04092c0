"""A user, a session in their files and one in a worktree, whatever they do: no text of the user is lost."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.workspace.checkpoints.checkpoints import Checkpoints
from hermes_acp.workspace.checkpoints.records import Checkpoint, Span
from tests.agent.server import Desk, Window, act, call, serving
from tests.properties import FILES, MIDDLE, bounded
from tests.workspace.checkpoints.trees import crashing, die_after
from tests.workspace.repos import ENV, files_of, make

BRANCHES = ("main", "feature", "other")
RESTORED = 4
"""So many checkpoints of each tree are restored at the end."""

What = Literal[
    *("writes", "deletes", "switches"),
    *("works", "destroys", "undo", "redo", "rewind"),
    *("works apart", "undo apart", "apply", "discard"),
    *("reopens", "crashes"),
]  # fmt: skip
OFTEN: tuple[What, ...] = ("writes", "works", "works apart", "undo", "apply", "crashes")
ALL: tuple[What, ...] = (
    *("writes", "deletes", "switches", "works", "destroys", "undo", "redo", "rewind"),
    *("works apart", "undo apart", "apply", "discard", "reopens", "crashes"),
)
CRASHES = ("edit", "command", "make", "/undo", "/redo", "/apply", "/discard")
"""What a server was doing when it died."""
BEFORE: dict[str, What] = {
    "/undo": "works",
    "/redo": "undo",
    "/apply": "works apart",
    "/discard": "works apart",
}


@dataclass(frozen=True)
class Do:
    """One thing that happens; `file` and `number` matter to some, `steps` to a crash."""

    what: What
    file: str
    number: int
    steps: int


THINGS = st.lists(
    st.builds(
        Do,
        st.sampled_from([*ALL, *OFTEN]),
        st.sampled_from(FILES),
        st.integers(0, len(CRASHES) - 1),
        st.integers(0, 60),
    ),
    min_size=5,
    max_size=16,
)


def script() -> list[dict[str, object]]:
    """The agent adds a line at the end of a file, makes one, or leaves nothing of what was there."""
    answers: list[dict[str, object]] = []
    for file in FILES:
        calls = {
            "edit": call("edit_file", path=file, edits=[{"old": "line 7\n", "new": "line 7\nagent edit\n"}]),
            "command": call("run_command", command=f"echo 'agent command' >> {file}"),
            "make": call("write_file", path=f"{file}.made", content="agent\n"),
            "destroy": call("run_command", command=f"echo 'agent alone' > {file}"),
        }
        answers += [act(step, when={"user": f"^{name} {file}$"}) for name, step in calls.items()]
    return [*answers, act({"text": "ok"}, when={"result": ""}), act({"text": "hm"}, when={"user": "."})]


class World:
    """A repository with two sessions, and what its user wrote on each branch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = make(folder / "made", dict.fromkeys(FILES, MIDDLE))
        made.write("a.txt", "stashed\n")
        made.git("stash", "-q")
        made.top.rename(folder / "project")
        self.repo = type(made)(folder / "project", made.place)
        self.branch = "main"
        self.written = 0
        self.mine: dict[str, dict[str, str]] = {"main": {}}
        """The user's lines on each branch, and the file of each."""
        self.endangered: set[str] = set()
        """Lines in files that the agent emptied: an undo brings them back, if the user wants it."""
        asyncio.run(self._begin())

    async def _begin(self) -> None:
        async with serving(self.folder, script()) as desk:
            here, apart = await desk.new(), await desk.new()
            self.here, self.apart = here.session.session_id, apart.session.session_id
            await apart.session.set_option("isolation", "worktree")

    # --- what happens ----------------------------------------------------------------------------

    @asynccontextmanager
    async def at_work(self) -> Iterator[Desk]:
        """A server with both sessions open."""
        async with serving(self.folder, script()) as desk:
            for session_id in (self.here, self.apart):
                await desk.open(session_id)
            yield desk
            for window in desk.windows:
                await recorded(window)

    async def go_on(self, things: Sequence[Do]) -> None:
        """Let things happen one after the other."""
        async with self.at_work() as desk:
            here, apart = desk.windows
            for thing in things:
                if thing.what in ("writes", "deletes", "switches"):
                    await recorded(here)
                    self.user(thing)
                else:
                    before = self.repo.precious()
                    await self.agent(thing, here, apart)
                    assert self.repo.precious() == before
                self.check()

    def user(self, thing: Do) -> None:
        """The user edits, removes a file, or commits everything and goes to another branch."""
        path, mine = self.repo.top / thing.file, self.mine[self.branch]
        match thing.what:
            case "writes":
                self.written += 1
                line = f"user {self.written}"
                text = path.read_text() if path.exists() else ""
                self.repo.write(thing.file, f"{text}{line}\n" if thing.number % 2 else f"{line}\n{text}")
                mine[line] = thing.file
            case "deletes":
                path.unlink(missing_ok=True)
                self.mine[self.branch] = {line: file for line, file in mine.items() if file != thing.file}
            case _:
                self.repo.git("add", "--all")
                self.repo.git("commit", "-q", "--allow-empty", "-m", "Mine")
                self.branch = BRANCHES[thing.number % len(BRANCHES)]
                if self.branch not in self.mine:
                    self.repo.git("branch", self.branch)
                    self.mine[self.branch] = dict(mine)
                self.repo.git("checkout", "-q", self.branch)

    async def agent(self, thing: Do, here: Window, apart: Window) -> None:
        """A turn or a command in one of the sessions."""
        kind = CRASHES[thing.number % 3]
        match thing.what:
            case "works":
                await here.prompt(f"{kind} {thing.file}")
            case "destroys":
                self.endanger(thing.file)
                await here.prompt(f"destroy {thing.file}")
            case "undo" | "redo":
                await here.prompt(f"/{thing.what}")
            case "rewind":
                await here.prompt(f"/rewind {thing.number % 3 + 1}")
            case "works apart":
                if not Path(apart.session.place.cwd).is_dir():
                    await apart.session.set_option("isolation", "in_place")
                await apart.session.set_option("isolation", "worktree")
                await apart.prompt(f"{kind} {thing.file}")
            case "undo apart":
                await apart.prompt("/undo")
            case _:
                await apart.prompt(f"/{thing.what}")

    def endanger(self, file: str) -> None:
        """The agent will leave nothing of this file."""
        self.endangered |= {line for line, place in self.mine[self.branch].items() if place == file}

    def crash(self, thing: Do) -> None:
        """The server dies somewhere on its way through a turn or a command."""
        doing = CRASHES[thing.number]
        session_id = self.apart if doing in ("/apply", "/discard") else self.here
        text = doing if doing.startswith("/") else f"{doing} {thing.file}"
        # Something that the command can be about.
        asyncio.run(self.go_on([replace(thing, what=BEFORE[doing])] if doing in BEFORE else ()))

        async def work() -> None:
            async with serving(self.folder, script()) as desk:
                window = await desk.open(session_id)
                die_after(thing.steps)
                await window.prompt(text)

        before = self.repo.precious()
        crashing(work)
        asyncio.run(self.go_on(()))
        assert self.repo.precious() == before
        self.check()

    # --- what has to hold ------------------------------------------------------------------------

    def check(self) -> None:
        """The user's lines are in their files; those that the agent had to remove can be had again."""
        lines = [line for text in files_of(self.repo.top).values() for line in text.splitlines()]
        missing = {line for line in self.mine[self.branch] if lines.count(line) != 1}
        assert missing <= self.endangered
        if missing:
            kept = self.objects(self.repo.top / ".git") + self.objects(self.checkpoints.folder)
            assert all(f"{line}\n".encode() in kept for line in missing)
        assert not list(self.repo.top.glob(".hermes-*"))

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of the project."""
        (folder,) = (self.folder / "home/data/projects").glob("*/checkpoints.git")
        return Checkpoints(folder, ENV)

    def objects(self, repository: Path) -> bytes:
        """Everything that a repository holds."""
        command = ["git", "--git-dir", str(repository), "cat-file", "--batch-all-objects", "--batch"]
        return subprocess.run(command, check=True, capture_output=True, env=self.reading).stdout

    @property
    def reading(self) -> dict[str, str]:
        """The environment in which git reads the checkpoints, with what they borrow."""
        return ENV | {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.repo.top / ".git" / "objects")}

    async def restore_all(self) -> None:
        """Each checkpoint of the user's tree can be had again, byte for byte, and taken back again."""
        checkpoints, root = self.checkpoints, str(self.repo.top)
        found = [item for item in await checkpoints.list(self.here) if str(item.root) == root]
        for checkpoint in found[:: max(1, len(found) // RESTORED)]:
            before = files_of(self.repo.top)
            now = await checkpoints.take(root, "test", "now")
            there = await checkpoints.restore(root, [Span(checkpoint, now)], "test", "there")
            assert (there.conflicts, files_of(self.repo.top)) == ((), self.held(checkpoint))
            back = await checkpoints.restore(root, [Span(there.before, there.after)], "test", "back")
            assert (back.conflicts, files_of(self.repo.top)) == ((), before)

    def held(self, checkpoint: Checkpoint) -> dict[str, str]:
        """What git finds in a checkpoint."""
        git = ["git", "--git-dir", str(self.checkpoints.folder)]
        names = subprocess.run(
            [*git, "ls-tree", "-r", "-z", "--name-only", checkpoint.tree],
            check=True, capture_output=True, env=self.reading, text=True,
        ).stdout.split("\0")[:-1]  # fmt: skip
        return {
            name: subprocess.run(
                [*git, "cat-file", "blob", f"{checkpoint.tree}:{name}"],
                check=True, capture_output=True, env=self.reading, text=True,
            ).stdout
            for name in names
        }  # fmt: skip

    def end(self) -> None:
        """On every branch all is there, git finds nothing wrong, and the past can be had again."""
        for number, branch in enumerate(BRANCHES):
            if branch in self.mine:
                self.user(Do("switches", "", number, 0))
                self.check()
        self.repo.sound()
        if list((self.folder / "home/data/projects").glob("*/checkpoints.git")):
            asyncio.run(self.restore_all())
            fsck = ["git", "--git-dir", str(self.checkpoints.folder), "fsck", "--strict", "--no-dangling"]
            subprocess.run(fsck, check=True, capture_output=True, env=self.reading)


async def recorded(window: Window) -> None:
    """The user is not so quick that they could change a file before the turn's end was recorded."""
    # Nobody is told of a turn that changed nothing; there is no public way to see that.
    await window.session._parts.recording.settled()


def play(things: Sequence[Do]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder).resolve())
        for ends, group in groupby(things, lambda thing: thing.what in ("reopens", "crashes")):
            if ends:
                for thing in group:
                    if thing.what == "crashes":
                        world.crash(thing)
            else:
                asyncio.run(world.go_on(tuple(group)))
        world.end()


@pytest.mark.slow
@bounded(15)
@given(THINGS)
def test_no_text_of_the_user_is_ever_lost(things: list[Do]) -> None:
    play(things)
