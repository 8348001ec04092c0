"""What a turn does to files: attributed to it or not, and what happens when nothing can be recorded."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermes_acp.agent.checkpointing import MARGIN, Checkpointing, not_ours
from hermes_acp.agent.turn_files import ABANDONED, KEPT_CHARS, TOO_MUCH, Recording, TurnFiles
from hermes_acp.events import CheckpointMissed, CheckpointTaken, Event, Notice
from hermes_acp.policy.effects import Effect
from hermes_acp.workspace.checkpoints.records import Difference
from hermes_acp.workspace.documents import Document
from hermes_acp.workspace.places import Version
from tests.agent.server import environment
from tests.workspace.checkpoints.trees import git, new_repository

pytestmark = pytest.mark.programs

OLD, NEW = Version("100644", "a"), Version("100644", "b")
RUNS = ((100.0, 110.0), (200.0, 201.0))
WINDOW = (90.0, 300.0)
WRITE = Effect("write", "Change a", paths=("/a",))
RUN = Effect("execute", "make", command="make")


def changed(*paths: str) -> list[Difference]:
    return [Difference(path, OLD, NEW) for path in paths]


# --- whose change it was -------------------------------------------------------------------------


def test_what_changed_while_a_program_ran_is_the_turns() -> None:
    times = {"during": 105.0, "late": 201.0 + MARGIN, "early": 100.0 - MARGIN}
    assert not_ours(changed(*times), {}, times, RUNS, WINDOW) == {}


def test_what_changed_at_other_times_is_not_and_counts_as_it_was_before() -> None:
    times = {"mine": 150.0, "during": 105.0, "new": 250.0}
    differences = [*changed("mine", "during"), Difference("new", None, NEW)]
    assert not_ours(differences, {}, times, RUNS, WINDOW) == {"mine": OLD, "new": None}


def test_a_file_that_the_turn_wrote_and_the_user_changed_since_counts_as_the_turn_wrote_it() -> None:
    assert not_ours(changed("a"), {"a": b"wrote"}, {"a": 150.0}, RUNS, WINDOW) == {"a": b"wrote"}


def test_a_file_that_is_gone_counts_as_removed_by_the_turn() -> None:
    assert not_ours([Difference("a", OLD, None)], {}, {}, RUNS, WINDOW) == {}


@pytest.mark.parametrize("moment", [WINDOW[0] - 1, WINDOW[1] + 1])
def test_a_clock_that_makes_no_sense_is_not_trusted(moment: float) -> None:
    assert not_ours(changed("a", "b"), {}, {"a": moment, "b": 150.0}, RUNS, WINDOW) == {}


# --- the record ----------------------------------------------------------------------------------


class Turns:
    """Turns on a real repository, without a session."""

    def __init__(self, root: Path, tasks: asyncio.TaskGroup, patience: float) -> None:
        self.root = root
        self.projects = root.parent / "projects"
        self.events: list[Event] = []
        self.recording = Recording("s1", self._open, tasks.create_task, patience)

    async def _open(self) -> Checkpointing:
        return Checkpointing(self.projects, environment(self.root.parent), ())

    def begin(self) -> TurnFiles:
        return self.recording.begin(str(self.root), "a turn", self.events.append)

    async def end(self) -> None:
        self.recording.end()
        await self.recording.settled()

    def seen(self) -> list[str]:
        """What was said since the last look, in short."""
        said = [
            item.moment if isinstance(item, CheckpointTaken) else type(item).__name__ for item in self.events
        ]
        self.events.clear()
        return said


@asynccontextmanager
async def turns(tmp_path: Path, patience: float = 10.0) -> AsyncIterator[Turns]:
    root = new_repository(tmp_path / "repo")
    async with asyncio.TaskGroup() as tasks:
        made = Turns(root, tasks, patience)
        yield made
        await made.recording.stop()


async def test_a_turn_that_changes_nothing_records_nothing(tmp_path: Path) -> None:
    async with turns(tmp_path) as made:
        files = made.begin()
        files.expect()
        await made.end()
        assert (made.seen(), made.projects.exists()) == ([], False)
        assert b"hermes-editor" not in (made.root / ".git/config").read_bytes()
        made.begin()
        await made.end()
        assert made.seen() == []


async def test_a_program_waits_for_the_record_and_an_edit_does_not(tmp_path: Path) -> None:
    async with turns(tmp_path) as made:
        files = made.begin()
        await files.admit("c1", WRITE)
        assert made.seen() == []
        await files.admit("c2", RUN)
        assert made.seen() == ["before"]
        files.ended("c2")
        await made.end()
        assert made.seen() == ["after"]


async def test_a_write_that_was_quicker_than_the_record_is_not_in_it(tmp_path: Path) -> None:
    async with turns(tmp_path) as made:
        files = made.begin()
        path = str(made.root / "README")
        await files.admit("c1", WRITE)
        (made.root / "README").write_text("agent\n")
        files.wrote(Document(path, "words\n"), Document(path, "agent\n"), sure=True)
        await made.end()
        before, after = (item for item in made.events if isinstance(item, CheckpointTaken))
        (folder,) = made.projects.glob("*/checkpoints.git")
        texts = [git(folder, "show", f"{item.checkpoint_id}:README") for item in (before, after)]
        assert texts == [b"words\n", b"agent\n"]


async def test_nobody_waits_long_for_a_tree_that_is_held_and_the_next_turn_not_at_all(tmp_path: Path) -> None:
    async with turns(tmp_path, patience=0.05) as made:
        files = made.begin()
        await files.admit("c1", WRITE)
        await made.end()
        assert made.seen() == ["before", "after"]
        (lock,) = made.projects.glob("*/checkpoints.git/trees/*/lock")
        with lock.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            files = made.begin()
            await files.admit("c2", RUN)
            assert made.events[0] == CheckpointMissed("recording the files before it took longer than 0.05 s")
            assert made.seen() == ["CheckpointMissed", "Notice"]
            await made.end()
            files = made.begin()
            await files.admit("c3", RUN)
            await made.end()
            assert made.events == [CheckpointMissed(ABANDONED)]
            made.seen()
        assert made.recording.late is not None
        await asyncio.wait([made.recording.late])
        made.recording.patience = 10.0
        files = made.begin()
        await files.admit("c4", RUN)
        files.ended("c4")
        await made.end()
        assert made.seen() == ["before", "after"]


async def test_a_store_that_cannot_be_used_costs_the_undo_and_nothing_else(tmp_path: Path) -> None:
    async with turns(tmp_path) as made:
        made.projects.write_text("in the way")
        files = made.begin()
        await files.admit("c1", RUN)
        missed, notice = made.events
        assert isinstance(missed, CheckpointMissed)
        assert isinstance(notice, Notice)
        assert "projects" in missed.reason
        await made.end()
        assert len(made.events) == 2


async def test_a_turn_that_writes_too_much_is_not_kept_in_memory(tmp_path: Path) -> None:
    async with turns(tmp_path) as made:
        files = made.begin()
        await files.admit("c1", WRITE)
        files.wrote(Document("/a", "x" * KEPT_CHARS), Document("/a", "y"), sure=True)
        assert made.events[0] == CheckpointMissed(TOO_MUCH)
        assert files.written == {}
        await made.end()


def test_of_several_writes_the_first_and_the_last_text_count() -> None:
    files = TurnFiles(Recording("s1", _never, _nothing), "/", "a turn", lambda _: None)
    texts = [Document("/a", text) for text in ("0", "1", "2", "3", "4")]
    files.wrote(texts[0], texts[1], sure=True)
    files.wrote(texts[1], texts[2], sure=True)
    assert (files.written["/a"].before, files.written["/a"].after) == (texts[0], texts[2])
    # Somebody else wrote in between: what was before that is no more the turn's to take back.
    files.wrote(texts[3], texts[4], sure=True)
    assert (files.written["/a"].before, files.written["/a"].after) == (texts[3], texts[4])


async def _never() -> Checkpointing:
    raise AssertionError


def _nothing(_work: object) -> asyncio.Task[None]:
    raise AssertionError
