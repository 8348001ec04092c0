"""What a restore has to do to each file, so that nothing is lost that was done to it since."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.records import Checkpoint, Difference, LeftOut, Span
from hermes_acp.workspace.checkpoints.scan import covers
from hermes_acp.workspace.checkpoints.store import Store
from hermes_acp.workspace.merging import Conflict, merge_texts
from hermes_acp.workspace.places import LINK, Version

MERGE_BYTES = 4 * 1024 * 1024
"""Larger files are not merged."""

_DELETED = "it was deleted since, and would come back: delete nothing, or leave this file out"
_CHANGED = "it was changed since, and would be deleted with that change"
_OCCUPIED = "it was deleted and would come back, but something else was put in its place since"
_RETYPED = "it was changed since, and one side is a link or a program: there are no lines to merge"
_LINES = "the same lines were changed since"
_BINARY = "it was changed since, and it is not text that could be merged"
_LARGE = "it was changed since, and it is too large to be merged"
_UNKNOWN = "it is not in the checkpoint of what is there now ({}), so what is in it could be lost"


@record
class Mix:
    """Three contents of which one is to be made."""

    base: str
    ours: str
    theirs: str
    mode: str


@record
class Step:
    """One file to be brought from `before`, which is on the disk, to `after`; never the same."""

    path: str
    before: Version | None
    after: Version | None
    merged: bool = False


@record
class Plan:
    """All that a restore would do. With conflicts it must not be done."""

    steps: tuple[Step, ...]
    conflicts: tuple[Conflict, ...]
    skipped: tuple[LeftOut, ...]


def combine(base: Version | None, ours: Version | None, theirs: Version | None) -> Version | Mix | str | None:
    """Lead `ours` where `base` was led to `theirs`; a reason when that would lose something. Pure."""
    if ours == base:
        return theirs
    if theirs in (base, ours):
        return ours
    if ours is None:
        return _DELETED
    if theirs is None:
        return _CHANGED
    if base is None:
        return _OCCUPIED
    if LINK in (base.mode, ours.mode, theirs.mode):
        return _RETYPED
    mode = ours.mode if theirs.mode == base.mode else theirs.mode
    if theirs.blob in (base.blob, ours.blob):
        return Version(mode, ours.blob)
    if ours.blob == base.blob:
        return Version(mode, theirs.blob)
    return Mix(base.blob, ours.blob, theirs.blob, mode)


class Planner:
    """Plans a restore from checkpoints alone; the disk is not looked at. Raises `GitError`, `OSError`."""

    def __init__(self, store: Store, variables: Mapping[str, str]) -> None:
        self._store = store
        self._variables = variables

    async def plan(self, spans: Sequence[Span], now: Checkpoint, keep: Collection[str]) -> Plan:
        """Take back the spans, in this order, from what `now` holds; paths in `keep` stay as they are."""
        before: dict[str, Version | None] = {}
        after: dict[str, Version | Conflict | None] = {}
        merged: set[str] = set()
        skipped: dict[str, LeftOut] = {}
        for span in spans:
            since = {each.path: each.new for each in await self._store.differences(span.end.id, now.id)}
            for change in await self._store.differences(span.end.id, span.start.id):
                path = change.path
                if path in keep:
                    continue
                if hole := _hole(span, change):
                    skipped[path] = hole
                    continue
                before.setdefault(path, since.get(path, change.old))
                ours = after.get(path, before[path])
                if not isinstance(ours, Conflict):
                    after[path], mixed = await self._lead(change, ours)
                    merged |= {path} if mixed else set()
        return self._result(before, after, merged, skipped, now)

    def _result(
        self,
        before: Mapping[str, Version | None],
        after: Mapping[str, Version | Conflict | None],
        merged: Collection[str],
        skipped: Mapping[str, LeftOut],
        now: Checkpoint,
    ) -> Plan:
        unknown = {each.path: each for each in now.left_out}
        steps: list[Step] = []
        conflicts: list[Conflict] = []
        for path, target in sorted(after.items()):
            if isinstance(target, Conflict):
                conflicts.append(target)
            elif path in unknown and target != before[path]:
                conflicts.append(Conflict(path, _UNKNOWN.format(str(unknown[path]).rpartition(": ")[2])))
            elif target != before[path]:
                steps.append(Step(path, before[path], target, path in merged))
        return Plan(tuple(steps), tuple(conflicts), tuple(skipped[path] for path in sorted(skipped)))

    async def _lead(self, change: Difference, ours: Version | None) -> tuple[Version | Conflict | None, bool]:
        """What becomes of one file, and whether it had to be merged."""
        result = combine(change.old, ours, change.new)
        if isinstance(result, Mix):
            result = await self._mix(result)
            return (Conflict(change.path, result) if isinstance(result, str) else result), True
        if isinstance(result, str):
            return Conflict(change.path, result), False
        return result, False

    async def _mix(self, mix: Mix) -> Version | str:
        """Merge three texts line by line; the reason when it cannot be done."""
        names = (mix.ours, mix.base, mix.theirs)
        sizes = await self._store.sizes(set(names), self._variables)
        if any(sizes.get(name, MERGE_BYTES + 1) > MERGE_BYTES for name in names):
            return _LARGE
        contents = await self._store.contents(sorted(set(names)), self._variables)
        ours, base, theirs = (contents[name] for name in names)
        merged = await merge_texts(self._store.ask, self._store.folder, ours, base, theirs)
        if isinstance(merged, bytes):
            return Version(mix.mode, await self._store.write(merged))
        return _BINARY if merged is None else _LINES


def empty_folders(spans: Sequence[Span], now: Checkpoint) -> tuple[str, ...]:
    """The empty folders that there shall be after a restore; pure."""
    empty = set(now.beside.folders)
    for span in spans:
        start, end = set(span.start.beside.folders), set(span.end.beside.folders)
        empty = (empty - (end - start)) | (start - end)
    return tuple(sorted(empty))


def _hole(span: Span, change: Difference) -> LeftOut | None:
    """What one end of the span left out, so that it does not know what the file was."""
    # `old` is the version at the end of the span, `new` the one at its start.
    for side, version in ((span.end, change.old), (span.start, change.new)):
        for each in side.left_out:
            if each.path == change.path or (version is None and covers(each.path, change.path)):
                return LeftOut(change.path, each.reason)
    return None
