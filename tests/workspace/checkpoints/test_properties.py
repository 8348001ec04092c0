"""Any order of edits, undo, redo, rewind, crashes: no text of the user is lost, every checkpoint is whole."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hermes_acp.workspace.checkpoints.records import Checkpoint, Restored, Span
from tests.workspace.checkpoints.trees import Seen, Session, crashing, git, new_repository, seen

pytestmark = pytest.mark.slow

NAMES = ("README", "src/main.py", "a", "a/b", "new", "deep/er/file", os.fsdecode(b"odd\xff\nname"))
names = st.sampled_from(NAMES)


class Work(RuleBasedStateMachine):
    """A user and an agent in one tree. Each text of the user is a line that exists only once."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="checkpoints-"))
        self.turns: list[Span] = []
        self.undone: list[Restored] = []
        self.kept: dict[int, tuple[Checkpoint, Seen]] = {}
        self.mine: dict[str, set[bytes]] = {}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(with_git=st.booleans())
    def begin(self, with_git: bool) -> None:
        root = new_repository(self.folder / "repo")
        if not with_git:
            shutil.rmtree(root / ".git")
        self.session = Session(root, self.folder / "data")

    # --- what happens ----------------------------------------------------------------------------

    def unique(self, who: str) -> bytes:
        self.count += 1
        return f"{who} {self.count}".encode()

    def write(self, name: str, line: bytes, *, at_the_end: bool) -> bool:
        file = self.session.root / name
        if file.is_dir() or any(part.is_file() for part in file.parents):
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_bytes() if file.is_file() else b""
        ending = b"\r\n" if b"\r\n" in before else b"\n"
        if at_the_end and before and not before.endswith(b"\n"):
            before += ending
        file.write_bytes(before + line + ending if at_the_end else line + ending + before)
        return True

    @rule(name=names, at_the_end=st.booleans())
    def user_writes(self, name: str, at_the_end: bool) -> None:
        line = self.unique("user")
        if self.write(name, line, at_the_end=at_the_end):
            self.mine.setdefault(name, set()).add(line)

    @rule(name=names)
    def user_deletes(self, name: str) -> None:
        file = self.session.root / name
        if file.is_file():
            file.unlink()
            self.mine.pop(name, None)

    @rule(changes=st.lists(st.tuples(names, st.sampled_from(["start", "end", "delete", "mode"])), max_size=4))
    def agent_turn(self, changes: list[tuple[str, str]]) -> None:
        start = self.taken("before")
        for name, how in changes:
            file = self.session.root / name
            if how == "delete" and file.is_file() and not self.mine.get(name):
                file.unlink()
            elif how == "mode" and file.is_file():
                file.chmod(file.stat().st_mode ^ 0o111)
            elif how in ("start", "end"):
                self.write(name, self.unique("agent"), at_the_end=how == "end")
        self.turns.append(Span(start, self.taken("after")))
        self.undone.clear()

    @precondition(lambda self: self.turns)
    @rule()
    def undo(self) -> None:
        self.restored(self.turns[-1:])

    @precondition(lambda self: len(self.turns) > 1)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(self.turns) - 1))
        self.restored(self.turns[first:])

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        done = self.undone[-1]
        before = seen(self.session.root)
        result = asyncio.run(self.session.undo(done.before, done.after))
        if result.conflicts:
            assert seen(self.session.root) == before
        else:
            self.undone.pop()
            self.turns.append(Span(done.after, done.before))

    @precondition(lambda self: self.turns)
    @rule(steps=st.integers(0, 90))
    def crash(self, steps: int) -> None:
        root, data = self.session.root, self.folder / "data"
        before = seen(root)
        turn = self.turns[-1]
        crashed = crashing(lambda: Session(root, data).undo(turn.start, turn.end), steps)
        self.session = Session(root, data)
        assert asyncio.run(self.session.checkpoints.recover(str(root))) == ()
        if seen(root) != before or not crashed:
            self.turns.pop()
            self.undone.clear()

    @rule()
    def restart(self) -> None:
        self.session = Session(self.session.root, self.folder / "data")

    @rule()
    def tidy(self) -> None:
        asyncio.run(self.session.checkpoints.tidy(0.0))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def every_checkpoint_can_be_restored_byte_for_byte(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.kept)))
        checkpoint, held = self.kept[number]
        now = self.taken("now")
        before = seen(self.session.root)
        there = asyncio.run(self.session.undo(checkpoint, now))
        assert there.conflicts == ()
        assert seen(self.session.root) == held
        back = asyncio.run(self.session.undo(there.before, there.after))
        assert back.conflicts == ()
        assert seen(self.session.root) == before

    # --- what has to hold ------------------------------------------------------------------------

    def taken(self, label: str) -> Checkpoint:
        checkpoint = asyncio.run(self.session.take(label))
        self.kept.setdefault(checkpoint.number, (checkpoint, seen(self.session.root)))
        return checkpoint

    def restored(self, turns: list[Span]) -> None:
        before = seen(self.session.root)
        result = asyncio.run(self.session.restore(*reversed(turns)))
        if result.conflicts:
            assert seen(self.session.root) == before
            return
        del self.turns[-len(turns) :]
        self.undone.append(result)

    @invariant()
    def no_text_of_the_user_is_lost(self) -> None:
        for name, lines in self.mine.items():
            found = (self.session.root / name).read_bytes().splitlines()
            assert lines <= set(found), name

    @invariant()
    def nothing_is_left_lying_about(self) -> None:
        if hasattr(self, "session"):
            assert not list(self.session.root.glob(".hermes-*"))
            assert not (self.session.root / ".git" / "index.lock").exists()


COMMON = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class TestShort(Work.TestCase):
    settings = settings(COMMON, max_examples=6, stateful_step_count=15, derandomize=True)


class TestLong(Work.TestCase):
    settings = settings(COMMON, max_examples=30, stateful_step_count=30)


def test_git_finds_the_users_repository_sound_after_all_this(tmp_path: Path) -> None:
    session = Session(new_repository(tmp_path / "repo"), tmp_path / "data")
    start = asyncio.run(session.take())
    (session.root / "README").write_text("agent")
    asyncio.run(session.undo(start, asyncio.run(session.take())))
    git(session.root, "fsck", "--strict")
    assert git(session.root, "status", "--porcelain") == b""
