"""The three-way merge of two commits, computed without a working tree; conflicts told hunk by hunk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.git import GitError
from hermes_acp.workspace.merging import Conflict, Hunk, merge_texts
from hermes_acp.workspace.worktrees.trees import LONG_SECONDS, Bench, Tree

CONFLICTS_WITH_HUNKS = 50
"""Conflicts in more files are told without their hunks."""
_CLEAN, _CONFLICTS = 0, 1
_REGULAR = ("100644", "100755")


@record
class Merged:
    """The tree that came out; with conflicts it is of no use."""

    tree: str
    conflicts: tuple[Conflict, ...] = ()


_REASONS = {
    "CONFLICT (contents)": "both changed the same lines",
    "CONFLICT (modify/delete)": "one side changed the file, the other deleted it",
    "CONFLICT (binary)": "both changed a binary file",
    "CONFLICT (rename/delete)": "one side renamed the file, the other deleted it",
    "CONFLICT (rename/rename)": "both renamed the file, differently",
    "CONFLICT (file/directory)": "one side has a file where the other has a folder",
    "CONFLICT (distinct types)": "one side has a link where the other has a file",
}


async def merge_commits(tree: Tree, at: Bench, ours: str, theirs: str) -> Merged:
    """Merge two commits from their common ancestor. Raises `GitError`."""
    command = ("merge-tree", "--write-tree", "-z", "--messages", "--allow-unrelated-histories")
    answer = await tree.repository.ask(*command, ours, theirs, variables=at.variables, seconds=LONG_SECONDS)
    if answer.status not in (_CLEAN, _CONFLICTS):
        raise GitError(f"git merge-tree failed: {answer.errors or answer.text}")
    head, _, rest = answer.output.partition(b"\0")
    if answer.status == _CLEAN:
        return Merged(head.decode("ascii"))
    stages, messages = _stages(rest), _messages(rest)
    conflicts = [
        Conflict(path, _reason(messages.get(path, ())), await _hunks(tree, at, stages.get(path, {}), number))
        for number, path in enumerate(sorted({*stages, *messages}))
    ]
    return Merged(head.decode("ascii"), tuple(conflicts))


# --- what merge-tree says ------------------------------------------------------------------------


@record
class _Stage:
    mode: str
    blob: str


def _stages(listing: bytes) -> dict[str, dict[int, _Stage]]:
    """The versions of each file in conflict: 1 is the base, 2 ours, 3 theirs."""
    found: dict[str, dict[int, _Stage]] = {}
    for line in listing.partition(b"\0\0")[0].split(b"\0"):
        about, tab, path = line.partition(b"\t")
        if tab:
            mode, blob, stage = about.decode("ascii").split(" ")
            found.setdefault(os.fsdecode(path), {})[int(stage)] = _Stage(mode, blob)
    return found


def _messages(listing: bytes) -> dict[str, list[str]]:
    """The kinds of conflict of each path."""
    parts = listing.partition(b"\0\0")[2].split(b"\0")
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(parts) and parts[at].isdigit():
        count = int(parts[at])
        kind = parts[at + 1 + count].decode("utf-8", "replace")
        if kind.startswith("CONFLICT"):
            for path in parts[at + 1 : at + 1 + count]:
                found.setdefault(os.fsdecode(path), []).append(kind)
        at += count + 3
    return found


def _reason(kinds: Sequence[str]) -> str:
    words = (_REASONS.get(kind, kind.removeprefix("CONFLICT ").strip("()")) for kind in kinds)
    return "; ".join(dict.fromkeys(words)) or "both sides changed it"


# --- hunks ---------------------------------------------------------------------------------------


async def _hunks(tree: Tree, at: Bench, stages: Mapping[int, _Stage], number: int) -> tuple[Hunk, ...]:
    """The lines in conflict, when both sides are texts."""
    if number >= CONFLICTS_WITH_HUNKS or not {2, 3} <= set(stages):
        return ()
    if any(stage.mode not in _REGULAR for stage in stages.values()):
        return ()
    ours, base, theirs = [await _blob(tree, at, stages.get(side)) for side in (2, 1, 3)]
    found = await merge_texts(tree.repository.ask, Path(at.folder), ours, base, theirs)
    return found if isinstance(found, tuple) else ()


async def _blob(tree: Tree, at: Bench, stage: _Stage | None) -> bytes:
    if stage is None:
        return b""
    return (await tree.repository.tell("cat-file", "blob", stage.blob, variables=at.variables)).output
