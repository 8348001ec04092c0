"""What a session changed in its worktree: files with their kinds, and differences to read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from hermes_acp.records import record
from hermes_acp.workspace.worktrees.trees import Bench, Tree, bench, explained, open_tree, snapshot
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree

DIFF_FILES = 500
"""Differences of more files are not shown."""
DIFF_FILE_BYTES = 1024 * 1024
"""Files that are larger, before and after together, are named without their difference."""
DIFF_BYTES = 8 * 1024 * 1024
"""Where the files together are larger, the rest is named without differences."""

Kind: TypeAlias = Literal["added", "modified", "deleted", "renamed", "type_changed"]
Since: TypeAlias = Literal["start", "applied"]
"""Compared with the beginning of the worktree, or with what was last applied to the user's tree."""

_KINDS: Mapping[str, Kind] = {
    "A": "added", "D": "deleted", "M": "modified", "R": "renamed", "T": "type_changed",
}  # fmt: skip
_SUBMODULE = "160000"
_NO_COUNT = b"-"


@record
class Change:
    """One changed file; `path` is relative to the worktree, `old_path` is where a renamed one was.

    `added` and `removed` count lines. `diff` is unified, or None for a binary file, a submodule or
    one beyond the bounds.
    """

    path: str
    kind: Kind
    old_path: str | None = None
    added: int = 0
    removed: int = 0
    binary: bool = False
    submodule: bool = False
    diff: str | None = None


@record
class Changes:
    """All changes by path; `left_out` are repositories within the worktree and very large new files."""

    files: tuple[Change, ...]
    left_out: tuple[str, ...] = ()


async def changes(place: Place, worktree: Worktree, since: Since = "start") -> Changes:
    """What is different in the worktree: commits, uncommitted and untracked files.

    Nothing is written to the repository. Raises `WorktreeError`.
    """
    with explained(f"{worktree.branch} cannot be reviewed"):
        tree = await open_tree(worktree.path, place.env)
        base = await base_of(tree, worktree, since)
        async with bench(tree) as at:
            now = await snapshot(tree, at)
            files = await differences(tree, at, base, now.tree)
            return Changes(files, (*now.nested, *now.large))


async def base_of(tree: Tree, worktree: Worktree, since: Since) -> str:
    """The commit to compare with. Raises `GitError`."""
    applied = await tree.commit(worktree.applied_ref) if since == "applied" else None
    return applied or worktree.base


async def differences(tree: Tree, at: Bench, old: str, new: str) -> tuple[Change, ...]:
    """The changes between two trees. Raises `GitError`."""
    options = ("-r", "-z", "--find-renames", "--no-abbrev", "--end-of-options", old, new)
    raw = await tree.repository.tell("diff-tree", "--raw", "--numstat", *options, variables=at.variables)
    found = list(_parsed(raw.output))
    chosen = await _readable(tree, at, found)
    if not chosen:
        return tuple(each.change for each in found)
    names = [path for each in chosen for path in (each.change.old_path, each.change.path) if path]
    show = (
        "diff-tree",
        "-r",
        "-p",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--full-index",
        "--find-renames",
    )
    patch = await tree.repository.tell(*show, old, new, "--", *names, variables=at.variables)
    texts = _texts(chosen, patch.output.decode("utf-8", "replace"))
    return tuple(replace(each.change, diff=texts.get(each.change.path)) for each in found)


# --- reading git's listings ----------------------------------------------------------------------


@record
class _Entry:
    change: Change
    blobs: tuple[str, ...]


def _parsed(output: bytes) -> Iterator[_Entry]:
    """The entries of `diff-tree -z --raw --numstat`: all raw ones, then the counts in the same order."""
    parts = output.split(b"\0")[:-1]
    raw: list[tuple[list[str], list[str]]] = []
    at = 0
    while at < len(parts) and parts[at].startswith(b":"):
        about = parts[at][1:].decode("ascii").split(" ")
        count = 2 if about[4][0] in "RC" else 1
        raw.append((about, [os.fsdecode(path) for path in parts[at + 1 : at + 1 + count]]))
        at += 1 + count
    for about, paths in raw:
        added, removed, name = parts[at].split(b"\t", 2)
        at += 1 if name else 3
        yield _entry(about, paths, (added, removed))


def _entry(about: list[str], paths: list[str], counts: tuple[bytes, bytes]) -> _Entry:
    old_mode, new_mode, old, new, status = about
    binary = counts[0] == _NO_COUNT
    added, removed = (0, 0) if binary else (int(counts[0]), int(counts[1]))
    submodule = _SUBMODULE in (old_mode, new_mode)
    old_path = paths[0] if len(paths) > 1 else None
    change = Change(paths[-1], _KINDS[status[0]], old_path, added, removed, binary, submodule)
    return _Entry(change, tuple(blob for blob in (old, new) if blob.strip("0")))


async def _readable(tree: Tree, at: Bench, entries: Sequence[_Entry]) -> list[_Entry]:
    """The entries whose differences are within the bounds."""
    texts = [each for each in entries if not each.change.binary and not each.change.submodule][:DIFF_FILES]
    names = "".join(f"{blob}\n" for each in texts for blob in each.blobs)
    query = ("cat-file", "--batch-check=%(objectname) %(objectsize)")
    listing = await tree.repository.tell(*query, data=names.encode(), variables=at.variables)
    sizes = {name: int(size) for name, size in (line.split(" ") for line in listing.text.splitlines())}
    chosen: list[_Entry] = []
    left = DIFF_BYTES
    for each in texts:
        size = sum(sizes[blob] for blob in each.blobs)
        if size <= min(left, DIFF_FILE_BYTES):
            chosen.append(each)
            left -= size
    return chosen


def _texts(entries: Sequence[_Entry], patch: str) -> dict[str, str]:
    """The part of the patch that belongs to each path: a changed type is shown in two parts."""
    starts = [0] if patch.startswith("diff --git ") else []
    at = 0
    while (at := patch.find("\ndiff --git ", at)) >= 0:
        at += 1
        starts.append(at)
    parts = iter(patch[begin:end] for begin, end in zip(starts, [*starts[1:], len(patch)], strict=True))
    return {
        each.change.path: "".join(
            next(parts, "") for _ in range(2 if each.change.kind == "type_changed" else 1)
        )
        for each in entries
    }
