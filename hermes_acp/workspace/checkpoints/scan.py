"""What is to be recorded of a tree: which files changed, and which are too much to keep."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.lender import LIST_SECONDS, Lent
from hermes_acp.workspace.checkpoints.records import LeftOut, Limits, Reason
from hermes_acp.workspace.checkpoints.store import Store
from hermes_acp.workspace.git import GitError
from hermes_acp.workspace.locations import inside
from hermes_acp.workspace.swap import STAGING

EMPTY_FOLDERS = 1_000
"""More empty folders are not remembered."""
FOLDERS_LEFT_OUT = 20
"""More folders are not left out one by one: then all that is new is."""
EXPANDED = 100
"""More new folders are not looked through one by one, but all at once."""

_OURS = (f"--exclude=/{STAGING}*/", "--exclude=.hermes-*.tmp")

_SPECIAL = re.compile(r"[\\*?\[\] ]")
_ESCAPED = r"\\\g<0>"
_LINK = stat.S_IFLNK
_PROGRAM = 0o111
_BITS = 0o777
_ROOT_FILES = "./"
"""Stands for the new files that lie in the root itself."""
_ALL_NEW = "**/"
"""Stands for all that is new."""


@record
class Listing:
    """What git sees in a tree that its index does not: changed or missing files, new ones, folders.

    `folders` hold nothing that was recorded yet, and are repositories, empty, or all ignored
    where `fresh` names nothing in them.
    """

    changed: tuple[str, ...]
    fresh: tuple[str, ...]
    folders: tuple[str, ...]


@record
class Selection:
    """What goes into the index, in this order, and the permission bits of what is there.

    `gone` are those of the paths that are no files any longer; `left_out` is what does not go in.
    """

    paths: tuple[str, ...]
    gone: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    modes: dict[str, int]


class UnreadableIndex(GitError):
    """The index of the tree is damaged, which costs no more than reading the tree again."""


async def listing(store: Store, variables: dict[str, str], lent: Lent) -> Listing:
    """Compare the tree with the index that `variables` name. Raises `GitError`, `UnreadableIndex` too."""
    root = variables["GIT_WORK_TREE"]
    options = await asyncio.to_thread(lambda: [*lent.options, *map(_pattern, ours(root, store.private))])
    others = ("ls-files", "-z", "--others", "--exclude-standard", *options, *_OURS)
    asked = variables | lent.variables
    compare = ("diff-files", "-z", "--name-only")
    try:
        # Two programs at once: each waits for the disk while the other computes.
        async with asyncio.TaskGroup() as group:
            comparing = group.create_task(store.ask(*compare, variables=asked, seconds=LIST_SECONDS))
            found = await store.ask(*others, "--directory", variables=asked, seconds=LIST_SECONDS)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    changed = comparing.result()
    for answer in (changed, found):
        if answer.status:
            raise UnreadableIndex(f"git cannot read the index: {answer.errors.strip()}")
    names = _names(found.output)
    folders = [name for name in names if name.endswith("/")]
    fresh = [name for name in names if not name.endswith("/")]
    if folders:
        within = folders if len(folders) <= EXPANDED else []
        inside = await store.tell(*others, "--", *within, variables=asked, seconds=LIST_SECONDS)
        below = _names(inside.output)
        # Repositories of their own are named as folders, wherever they are.
        folders = sorted({*folders, *(name for name in below if name.endswith("/"))})
        fresh = sorted({*fresh, *(name for name in below if not name.endswith("/"))})
    return Listing(tuple(_names(changed.output)), tuple(fresh), tuple(folders))


def _names(output: bytes) -> list[str]:
    return [os.fsdecode(name) for name in output.split(b"\0")[:-1]]


# --- below: in a thread, or pure -----------------------------------------------------------------


def ours(root: str, private: Iterable[Path]) -> tuple[str, ...]:
    """Folders of ours that lie in the tree, as they do in somebody's home folder; `.` is all of it."""
    real = (os.path.realpath(folder) for folder in private)
    return tuple(os.path.relpath(folder, root) for folder in real if inside(folder, (root,)))


def is_ours(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is in one of them; pure."""
    return any(folder == "." or f"{path}/".startswith(f"{folder}/") for folder in folders)


def _pattern(folder: str) -> str:
    return "--exclude=*" if folder == "." else f"--exclude=/{_SPECIAL.sub(_ESCAPED, folder)}"


_Found: TypeAlias = Literal["file", "link", "gone", "large", "special", "unreadable", "repository"]


@record
class _Look:
    """What is at a path now."""

    found: _Found
    size: int = 0
    mode: int = 0


def select(root: str, seen: Listing, tracked: Collection[str] | None, limits: Limits) -> Selection | None:
    """Decide about everything listed.

    `tracked` are the files of the user's repository, which do not count as new. Gives None when
    they are needed to decide, because there is too much that is new.
    """
    changed = {path: _look(root, path, limits.file_bytes) for path in seen.changed}
    fresh = {path: _look(root, path, limits.file_bytes) for path in seen.fresh}
    counted = {path: look.size for path, look in fresh.items() if look.found in ("file", "link")}
    if _too_much(counted.values(), limits):
        if tracked is None:
            return None
        counted = {path: size for path, size in counted.items() if path not in tracked}
    heavy = _heaviest(counted, limits)
    looks = changed | {path: look for path, look in fresh.items() if look.found != "gone"}
    refused = {path for path in counted if _below(path, heavy)}
    left_out = [LeftOut(folder, "many") for folder in heavy]
    left_out += [LeftOut(folder, reason) for folder in seen.folders if (reason := _closed(root, folder))]
    taken: list[str] = []
    modes: dict[str, int] = {}
    for path, look in looks.items():
        match look.found:
            case "file" | "link" | "gone":
                if path not in refused:
                    taken.append(path)
            case reason:
                left_out.append(LeftOut(path, reason))
        if look.found == "file" and path not in refused:
            modes[path] = look.mode
    gone = tuple(path for path in taken if looks[path].found == "gone")
    return Selection(tuple(taken), gone, tuple(sorted(left_out, key=lambda each: each.path)), modes)


def replaced_by_folders(root: str, changed: Iterable[str]) -> list[str]:
    """Those recorded files in whose place there is a folder now."""
    places = ((path, Path(root, path)) for path in changed)
    return [path for path, place in places if place.is_dir() and not place.is_symlink()]


def empty_folders(root: str, folders: Iterable[str], gone: Iterable[str] = ()) -> tuple[str, ...]:
    """The empty ones among the folders and below them, without a slash; at most `EMPTY_FOLDERS`.

    So are those that the files `gone` have left empty.
    """
    left = {str(folder) for path in gone for folder in PurePosixPath(path).parents} - {"."}
    found = {folder for folder in left if _entries(root, folder) == []}
    for folder in folders:
        found |= set(_empty(root, folder.rstrip("/")))
        if len(found) > EMPTY_FOLDERS:
            break
    return tuple(sorted(found)[:EMPTY_FOLDERS])


def _empty(root: str, folder: str) -> Iterator[str]:
    pending = [folder]
    for _ in range(EMPTY_FOLDERS):
        if not pending:
            return
        here = pending.pop()
        entries = _entries(root, here)
        if entries == []:
            yield here
        if entries and all(entry.name != ".git" for entry in entries):
            pending += [f"{here}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]


def _entries(root: str, folder: str) -> list[os.DirEntry[str]] | None:
    """What is in a folder; None when there is none, or a link, or it cannot be read."""
    try:
        with os.scandir(Path(root, folder)) as entries:
            return None if Path(root, folder).is_symlink() else list(entries)
    except OSError:
        return None


def _closed(root: str, folder: str) -> Reason | None:
    """Why nothing in a folder is recorded: it is a submodule, a worktree, … or not ours to read."""
    if os.path.lexists(Path(root, folder, ".git")):
        return "repository"
    return None if os.access(Path(root, folder), os.R_OK | os.X_OK) else "unreadable"


def _look(root: str, path: str, limit: int) -> _Look:
    if ".git" in path.lower().split("/"):
        # git takes no file of that name, in any spelling.
        return _Look("repository")
    where = f"{root}/{path}"
    try:
        status = os.lstat(where)
    except (FileNotFoundError, NotADirectoryError):
        return _Look("gone")
    except OSError:
        return _Look("unreadable")
    kind = stat.S_IFMT(status.st_mode)
    if kind == _LINK:
        return _Look("link", status.st_size)
    if kind == stat.S_IFDIR:
        return _Look("gone")
    if kind != stat.S_IFREG:
        return _Look("special")
    if status.st_size > limit:
        return _Look("large")
    if not os.access(where, os.R_OK):
        return _Look("unreadable")
    return _Look("file", status.st_size, status.st_mode & _BITS)


def _too_much(sizes: Collection[int], limits: Limits) -> bool:
    return len(sizes) > limits.new_files or sum(sizes) > limits.new_bytes


def _heaviest(sizes: dict[str, int], limits: Limits) -> list[str]:
    """The folders without which the rest is within the limits."""
    heavy: list[str] = []
    left = sizes
    while _too_much(left.values(), limits):
        if len(heavy) == FOLDERS_LEFT_OUT:
            return [_ALL_NEW]
        heavy.append(_fullest(left, by_count=len(left) > limits.new_files))
        left = {path: size for path, size in left.items() if not _below(path, heavy)}
    return heavy


def _fullest(sizes: dict[str, int], *, by_count: bool) -> str:
    """The folder that is to blame: from the root down, as long as one part holds most of the whole."""
    weights: Counter[str] = Counter()
    for path, size in sizes.items():
        weight = 1 if by_count else size
        parts = path.split("/")[:-1]
        for depth in range(len(parts)):
            weights["/".join(parts[: depth + 1]) + "/"] += weight
        if not parts:
            weights[_ROOT_FILES] += weight
    here, _ = weights.most_common(1)[0]
    return _descend(here, weights)


def _descend(here: str, weights: Counter[str]) -> str:
    while here != _ROOT_FILES:
        below = [
            folder
            for folder in weights
            if folder.startswith(here) and folder.count("/") == here.count("/") + 1
        ]
        best = max(below, key=weights.__getitem__, default="")
        if not best or weights[best] * 2 <= weights[here]:
            break
        here = best
    return here


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(covers(folder, path) for folder in folders)


def covers(left_out: str, path: str) -> bool:
    """Whether a folder that was left out holds the path; pure."""
    if left_out in (_ALL_NEW, _ROOT_FILES):
        return left_out == _ALL_NEW or "/" not in path
    return left_out.endswith("/") and path.startswith(left_out)
