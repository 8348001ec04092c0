"""What changed between two checkpoints, file by file, for a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hermes_acp.workspace.checkpoints.records import ChangeKind, Checkpoint, Difference, FileChange
from hermes_acp.workspace.checkpoints.store import Store
from hermes_acp.workspace.git import GitError
from hermes_acp.workspace.places import LINK

_BINARY = "\nBinary files "


async def changes(
    store: Store, start: Checkpoint, end: Checkpoint, variables: Mapping[str, str]
) -> list[FileChange]:
    """The files that differ, by path. Raises `GitError`."""
    found = await store.differences(start.tree, end.tree)
    try:
        patches = await store.patches(start.tree, end.tree, variables) if found else []
    except GitError:
        # Too much to show, or contents that went with the user's objects.
        patches = []
    return list(_with_patches(found, patches))


def _with_patches(found: Sequence[Difference], patches: Sequence[str]) -> Iterator[FileChange]:
    left = iter(patches)
    for each in found:
        kind = _kind(each)
        # git shows a change of type as one file deleted and another one added.
        parts = [part for _, part in zip(range(2 if kind == "retyped" else 1), left, strict=False)]
        text = "".join(parts)
        readable = bool(parts) and _BINARY not in text
        yield FileChange(each.path, kind, each.old, each.new, text if readable else None)


def _kind(difference: Difference) -> ChangeKind:
    old, new = difference.old, difference.new
    if old is None:
        return "added"
    if new is None:
        return "deleted"
    return "retyped" if LINK in (old.mode, new.mode) and old.mode != new.mode else "modified"
