"""The files of turns that are taken back or brought back: in all their trees, or in none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hermes_acp.agent.approvals import Approvals
from hermes_acp.agent.checkpointing import Checkpointing, label_of
from hermes_acp.agent.history import History, Past
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.agent.turn import Place
from hermes_acp.events import Event, Rewound
from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.checkpoints import Checkpoints
from hermes_acp.workspace.checkpoints.records import Checkpoint, CheckpointError, Restored, Span
from hermes_acp.workspace.documents import Document
from hermes_acp.workspace.locations import DocumentError, inside, printable

EDITOR_FILES = 200
"""Of more files the editor is not asked what it shows: it finds them changed on the disk."""

UNSAVED = "it has unsaved changes in the editor: save the file, or revert it"
EXPIRED = "its checkpoints are no longer kept"
NO_RECORD = "nothing was recorded before it"


@record
class Situation:
    """The session in which a command runs. `history` is without the command itself."""

    session_id: str
    turn_id: str
    history: History
    checkpointing: Checkpointing
    place: Place
    approvals: Approvals
    publish: Callable[[Event], None]
    flush: Callable[[], Awaitable[None]]
    lessons: Callable[[], Awaitable[str]]
    """Has what was learned go or come with its turns; gives what to say of that."""


@dataclass(slots=True)
class Plan:
    """What is to be restored in which tree, in order, and what cannot be."""

    rewound: Rewound
    turns: Sequence[Past]
    spans: dict[str, list[Span]] = field(default_factory=dict[str, list[Span]])
    notes: list[str] = field(default_factory=list[str])


def fill(plan: Plan, known: Mapping[str, Checkpoint]) -> None:
    """Decide about the files of each turn; looks at the disk."""
    for turn in plan.turns:
        if reason := _unable(turn, known):
            plan.notes.append(f"The files of {name_of(turn)} stay as they are: {reason}.")
        elif turn.before is not None and turn.after is not None:
            before, after = known[turn.before.checkpoint_id], known[turn.after.checkpoint_id]
            back = plan.rewound.direction == "undo"
            plan.spans.setdefault(turn.before.root, []).append(
                Span(before, after) if back else Span(after, before)
            )
            outside = (path for path in turn.wrote if not inside(os.path.realpath(path), (before.root,)))
            plan.notes += [
                f"{named(path)} is outside of {named(before.root)} and stays as it is."
                for path in dict.fromkeys(outside)
            ]


def _unable(turn: Past, known: Mapping[str, Checkpoint]) -> str:
    """Why the files of a turn cannot be restored; empty when they can, or when there are none."""
    if turn.missed:
        return turn.missed
    if turn.before is None or turn.after is None:
        return NO_RECORD if turn.wrote or turn.before is not None else ""
    if turn.before.checkpoint_id not in known or turn.after.checkpoint_id not in known:
        return EXPIRED
    if not Path(turn.before.root).is_dir():
        return f"the folder {printable(turn.before.root)} is gone"
    return ""


class Restoring:
    """The files of a plan on their way, in all its trees or in none."""

    def __init__(
        self, situation: Situation, checkpoints: Checkpoints, plan: Plan, keep: tuple[str, ...]
    ) -> None:
        self.restored: dict[str, Restored] = {}
        """What was done, by the roots of the trees."""
        self._situation = situation
        self._checkpoints = checkpoints
        self._plan = plan
        self._keep = keep
        self._shown: dict[str, Document] = {}

    async def run(self) -> list[str]:
        """Restore everything and say so to the session, or give the conflicts. Raises `CheckpointError`."""
        conflicts = await self._unsaved()
        if conflicts:
            return conflicts
        try:
            for root, spans in self._plan.spans.items():
                if conflicts := await self._restore(root, spans):
                    await self._take_back()
                    return conflicts
        except asyncio.CancelledError:
            with suppress(CheckpointError, NotRecorded):
                await self._cancelled()
            raise
        except CheckpointError:
            await self._take_back()
            raise
        await self._say()
        await self._follow()
        return []

    async def _cancelled(self) -> None:
        situation = self._situation
        place, session_id = situation.place, situation.session_id
        if await situation.checkpointing.rewound(place.cwd, session_id, situation.turn_id):
            # All was done before the cancel came.
            await self._say()
        else:
            await self._take_back()

    async def _restore(self, root: str, spans: Sequence[Span]) -> list[str]:
        situation, plan = self._situation, self._plan
        last = root == next(reversed(plan.spans))
        # The label of the last one says that all were done: a server that died before it could do so
        # looks for it.
        label = label_of(plan.rewound, situation.turn_id) if last else "part of the next"
        restored = await self._checkpoints.restore(root, spans, situation.session_id, label, self._keep)
        if restored.conflicts:
            return [f"{named(item.path)}: {item.reason}" for item in restored.conflicts]
        self.restored[root] = restored
        return []

    async def _take_back(self) -> None:
        for root, restored in reversed(self.restored.items()):
            if restored.files:
                span = Span(restored.before, restored.after)
                await self._checkpoints.restore(root, [span], self._situation.session_id, "taken back")
        self.restored.clear()

    async def _say(self) -> None:
        self._situation.publish(self._plan.rewound)
        await self._situation.flush()

    async def _unsaved(self) -> list[str]:
        """The files that an editor shows otherwise than they are on the disk."""
        documents = self._situation.place.documents
        conflicts: list[str] = []
        for path, name in (await self._paths()).items():
            shown = await documents.shown(path)
            if shown is not None:
                self._shown[path] = shown[0]
                if shown[0].text != shown[1].text:
                    conflicts.append(f"{named(name)}: {UNSAVED}")
        return conflicts

    async def _paths(self) -> dict[str, str]:
        """The files that the plan is about, with their names relative to the tree; none of too many."""
        paths: dict[str, str] = {}
        for root, spans in self._plan.spans.items():
            for span in spans:
                changed = await self._checkpoints.differences(root, span.start, span.end)
                names = (item.path for item in changed if item.path not in self._keep)
                paths |= {str(Path(root, name)): name for name in names}
        return paths if len(paths) <= EDITOR_FILES else {}

    async def _follow(self) -> None:
        """Show the editor what is on the disk now."""
        for root, restored in self.restored.items():
            if len(restored.files) > EDITOR_FILES:
                continue
            for item in restored.files:
                path = str(Path(root, item.path))
                # What the editor does not take it reads by itself.
                with suppress(DocumentError):
                    await self._situation.place.documents.follow(path, self._shown.get(path))


def named(path: str) -> str:
    """A path as Markdown code."""
    return f"`` {printable(path)} ``" if "`" in path else f"`{printable(path)}`"


def name_of(turn: Past) -> str:
    """A turn as its user knows it."""
    moment, now = datetime.fromtimestamp(turn.at).astimezone(), datetime.now().astimezone()
    today = moment.date() == now.date()
    return f"“{turn.title}” ({moment.strftime('%H:%M' if today else '%Y-%m-%d %H:%M')})"
