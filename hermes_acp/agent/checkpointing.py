"""The checkpoints of a session's turns: taken, amended by what is known of them, compared, restored.

Loaded when the first turn is about to change something: git's side of it takes a while to import.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from hermes_acp.agent.recorded import NotRecorded, Written
from hermes_acp.events import CheckpointTaken, Rewound
from hermes_acp.records import record
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.workspace import disk, identity, project
from hermes_acp.workspace.checkpoints.amend import Content
from hermes_acp.workspace.checkpoints.checkpoints import Checkpoints
from hermes_acp.workspace.checkpoints.records import REPOSITORY, Checkpoint, CheckpointError, Difference
from hermes_acp.workspace.documents import TEXT_BYTES
from hermes_acp.workspace.git import GitError
from hermes_acp.workspace.locations import DocumentError, inside, printable
from hermes_acp.workspace.registry import Registry

MARGIN = 0.25
"""Seconds by which the clock of a file system may differ from ours; so close to a program's run, a change
counts as its own."""
LEFT_OUT_SHOWN = 20
"""So many things that a checkpoint does not hold are named."""
TIDY_SECONDS = 24 * 3600.0
"""How often old checkpoints of a project are removed."""
TIDIED = "tidied"
"""The file in the repository whose time says when that was."""
TREES = 32
"""Folders of which is remembered where their checkpoints are."""


@record
class Kept:
    """The tree at `root`, and where its checkpoints are."""

    checkpoints: Checkpoints
    root: str


@record
class Start:
    """A tree as it was at one moment of a turn; the tree was looked at from `at` on."""

    kept: Kept
    checkpoint: Checkpoint
    at: float

    def told(self, moment: Literal["before", "after"]) -> CheckpointTaken:
        """The event that says so."""
        left_out = tuple(map(str, self.checkpoint.left_out[:LEFT_OUT_SHOWN]))
        return CheckpointTaken(self.checkpoint.id, self.kept.root, moment, left_out)


class Checkpointing:
    """The checkpoints of sessions with one environment; `private` folders are never recorded.

    Raises `NotRecorded` where nothing else is said.
    """

    def __init__(self, projects: Path, env: Mapping[str, str], private: Sequence[str]) -> None:
        self._registry = Registry(projects)
        self._env = env
        self._private = tuple(map(Path, private))
        self._kept: dict[str, Kept] = {}

    async def knows(self, cwd: str) -> bool:
        """Whether nothing has to be written to know the project of a folder."""
        if cwd in self._kept:
            return True
        place = await project.find_project(cwd)
        with _explained():
            record = await asyncio.to_thread(identity.recognised, place, self._registry)
        return record is not None and record.id == place.id and place.key in record.keys

    async def kept(self, cwd: str) -> Kept:
        """The tree that a folder belongs to; its project is made when there is none."""
        if cwd not in self._kept:
            if not await asyncio.to_thread(Path(cwd).is_dir):
                raise NotRecorded(f"the folder {printable(cwd)} is gone")
            with _explained():
                place = await project.find_project(cwd)
                known = await identity.identify(place, self._registry, self._env)
            folder = self._registry.folder_of(known.record.id) / REPOSITORY
            if len(self._kept) >= TREES:
                self._kept.clear()
            checkpoints = Checkpoints(folder, self._env, private=self._private)
            self._kept[cwd] = Kept(checkpoints, place.root)
        return self._kept[cwd]

    async def start(self, cwd: str, session_id: str, title: str) -> Start:
        """Record the tree before a turn."""
        kept = await self.kept(cwd)
        at = time.time()
        with _explained():
            taken = await kept.checkpoints.take(kept.root, session_id, f"before: {title}")
        return Start(kept, taken, at)

    async def amended(self, start: Start, written: Mapping[str, Written]) -> Start:
        """The same tree with what the turn's own writes say that there was before them.

        They may have been quicker than the look at the tree, and an editor may have shown more than
        was on the disk.
        """
        label = start.checkpoint.label
        with _explained():
            contents = await asyncio.to_thread(_before, start.kept.root, written)
            if not contents:
                return start
            amended = await start.kept.checkpoints.amend(start.checkpoint, start.kept.root, contents, label)
        return replace(start, checkpoint=amended)

    async def end(
        self,
        start: Start,
        written: Mapping[str, Written],
        runs: Sequence[tuple[float, float]],
        title: str,
    ) -> Start:
        """The tree as the turn left it, without what others did to it meanwhile.

        Without programs that is what it wrote itself. Else the tree is looked at, and only what was
        changed while a program ran counts.
        """
        kept, label = start.kept, f"after: {title}"
        with _explained():
            contents = await asyncio.to_thread(_after, kept.root, written)
            if not runs:
                made = await kept.checkpoints.amend(start.checkpoint, kept.root, contents, label)
                return replace(start, checkpoint=made)
            seen = await kept.checkpoints.take(kept.root, start.checkpoint.session, label)
            changed = await kept.checkpoints.differences(kept.root, start.checkpoint, seen)
            window = (start.at, time.time())
            times = await asyncio.to_thread(_change_times, kept.root, changed)
            others = not_ours(changed, contents, times, runs, window)
            made = await kept.checkpoints.amend(seen, kept.root, others, label)
        return replace(start, checkpoint=made)

    async def end_of_interrupted(
        self, cwd: str, session_id: str, before: CheckpointTaken, calls: Sequence[tuple[float, float]]
    ) -> Start:
        """The tree as a turn left it whose server died: what was changed during its calls counts."""
        kept = await self.kept(cwd)
        if kept.root != before.root:
            raise NotRecorded(f"the session no longer works in {before.root}")
        with _explained():
            found = await kept.checkpoints.list(session_id)
        checkpoint = next((item for item in found if item.id == before.checkpoint_id), None)
        if checkpoint is None:
            raise NotRecorded("the checkpoint before it is no longer kept")
        return await self.end(Start(kept, checkpoint, float(checkpoint.at)), {}, calls, "an interrupted turn")

    async def tidy(self, cwd: str) -> None:
        """Remove the checkpoints of a project that are beyond the limits, at most once a day."""
        checkpoints = (await self.kept(cwd)).checkpoints
        with _explained():
            if await asyncio.to_thread(_due, checkpoints.folder / TIDIED):
                await checkpoints.tidy(time.time())

    async def recover(self, cwd: str) -> None:
        """Take back what a command left half done whose server died."""
        kept = await self.kept(cwd)
        with _explained():
            await kept.checkpoints.recover(kept.root)

    async def rewound(self, cwd: str, session_id: str, turn_id: str) -> Rewound | None:
        """What the command of this turn did to the files; None when it did not get so far."""
        kept = await self.kept(cwd)
        with _explained():
            labels = [item.label for item in await kept.checkpoints.list(session_id)]
        direction, _, rest = next((item for item in labels if item.endswith(f" {turn_id}")), "").partition(
            " "
        )
        count = rest.partition(" ")[0]
        if direction not in ("undo", "redo") or not count.isdecimal():
            return None
        return Rewound(int(count), direction)


async def of_session(projects: Path, env: Mapping[str, str], row: SessionRow) -> Checkpoints | None:
    """The checkpoints of a session whose folder may be gone; None when nothing is kept of its project.

    Raises `NotRecorded`.
    """
    registry = Registry(projects)
    place = await project.find_project(row.real_cwd)
    with _explained():
        record = await asyncio.to_thread(identity.recognised, place, registry)
        known = [record] if record is not None else await asyncio.to_thread(registry.all)
    own = (item for item in known if item is record or row.project in (*item.keys, *item.former))
    found = next(own, None)
    return None if found is None else Checkpoints(registry.folder_of(found.id) / REPOSITORY, env)


async def forget(projects: Path, env: Mapping[str, str], row: SessionRow) -> None:
    """Remove the checkpoints of a session that is deleted. Raises `NotRecorded`."""
    checkpoints = await of_session(projects, env, row)
    if checkpoints is not None:
        with _explained():
            await checkpoints.forget(row.session_id)


def label_of(rewound: Rewound, turn_id: str) -> str:
    """What the checkpoint is called that shows that the files were rewound by the command of a turn."""
    return f"{rewound.direction} {rewound.count} {turn_id}"


def not_ours(
    changed: Sequence[Difference],
    written: Mapping[str, Content],
    times: Mapping[str, float],
    runs: Sequence[tuple[float, float]],
    window: tuple[float, float],
) -> dict[str, Content]:
    """What those files held for the turn that were changed last when no program of it ran; pure.

    `times` says when each file that is there was changed last. When one of them is outside of
    `window`, in which all of it must have happened, the clocks differ, and everything counts as
    the turn's.
    """
    first, last = window[0] - MARGIN, window[1] + MARGIN
    if any(not first <= moment <= last for moment in times.values()):
        return {}
    others: dict[str, Content] = {}
    for change in changed:
        moment = times.get(change.path)
        if moment is None or any(start - MARGIN <= moment <= end + MARGIN for start, end in runs):
            continue
        others[change.path] = written.get(change.path, change.old)
    return others


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except (CheckpointError, StorageError, GitError, DocumentError, OSError) as error:
        raise NotRecorded(_clause(str(error))) from error


def _clause(sentence: str) -> str:
    return sentence.rstrip(".") or "for an unknown reason"


# --- below: in a thread --------------------------------------------------------------------------


def _before(root: str, written: Mapping[str, Written]) -> dict[str, Content]:
    """What the files of the tree held before the turn, by paths relative to its root."""
    return {
        os.path.relpath(path, root): item.before.data()
        for path, item in written.items()
        if inside(path, (root,))
    }


def _after(root: str, written: Mapping[str, Written]) -> dict[str, Content]:
    """What the turn's last writes put into them."""
    contents: dict[str, Content] = {}
    for path, item in written.items():
        if inside(path, (root,)):
            after, before = item.after.data(), item.before.data()
            done = item.sure or _now(path) == after
            contents[os.path.relpath(path, root)] = after if done else before
    return contents


def _now(path: str) -> bytes | None:
    try:
        found = disk.read(path, TEXT_BYTES)
    except DocumentError:
        return None
    return None if found is None else found.data


def _due(stamp: Path) -> bool:
    """Whether it is time again; then the stamp says now."""
    try:
        age = time.time() - stamp.stat().st_mtime
    except FileNotFoundError:
        age = TIDY_SECONDS
    if 0 <= age < TIDY_SECONDS:
        return False
    stamp.touch()
    return True


def _change_times(root: str, changed: Sequence[Difference]) -> dict[str, float]:
    """When those that are there were changed last: contents, name or rights."""
    times: dict[str, float] = {}
    for change in changed:
        try:
            times[change.path] = os.lstat(Path(root, change.path)).st_ctime
        except OSError:
            continue
    return times
