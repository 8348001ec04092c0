"""Ignored files that a new worktree needs too: those that `.worktreeinclude` names are copied into it."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.worktrees.trees import LONG_SECONDS, Tree, joined, split

NAME = ".worktreeinclude"
"""Patterns as in `.gitignore`, at the top of the user's tree. Only files that git ignores are copied."""

INCLUDED_FILES = 20_000
INCLUDED_BYTES = 1024 * 1024 * 1024
"""What is beyond is not copied, and said so."""

PIECE = 1024 * 1024 * 1024


@record
class Included:
    """How many files were copied and how many bytes, and what else there is to say."""

    files: int = 0
    size: int = 0
    notes: tuple[str, ...] = ()


async def copy_included(tree: Tree, target: str) -> Included:
    """Copy the files into the new worktree `target`. Raises `GitError` and `OSError`."""
    top = tree.top
    if top is None or not await asyncio.to_thread(Path(top, NAME).is_file):
        return Included()
    listing = ("ls-files", "-z", "--others", "--ignored", f"--exclude-from={top}/{NAME}")
    named = split((await tree.repository.tell(*listing, seconds=LONG_SECONDS)).output)
    if not named:
        return Included()
    checked = await tree.repository.ask(
        "check-ignore", "-z", "--stdin", data=joined(named), seconds=LONG_SECONDS
    )
    return await asyncio.to_thread(_copy_all, Path(top), Path(target), split(checked.output))


def _copy_all(top: Path, target: Path, paths: Iterable[str]) -> Included:
    files = size = left = 0
    for path in paths:
        with suppress(FileNotFoundError):
            status = Path(top, path).lstat()
            if files >= INCLUDED_FILES or size + status.st_size > INCLUDED_BYTES:
                left += 1
            elif _parents_are_folders(target, path):
                _copy(top / path, target / path, status)
                files, size = files + 1, size + status.st_size
    notes = [f"{files:,} ignored files were copied ({NAME})."] if files else []
    if left:
        limits = f"{INCLUDED_FILES:,} files and {INCLUDED_BYTES:,} bytes"
        notes.append(f"{left:,} files of {NAME} were not copied: the limits are {limits}.")
    return Included(files, size, tuple(notes))


def _parents_are_folders(target: Path, path: str) -> bool:
    """Make the folders of a file, unless a link of the checkout would lead it out of the tree."""
    for folder in [target / parent for parent in reversed(Path(path).parents)][1:]:
        with suppress(FileExistsError):
            folder.mkdir()
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return False
    return not os.path.lexists(target / path)


def _copy(source: Path, copy: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        copy.symlink_to(source.readlink())
    elif stat.S_ISREG(status.st_mode):
        clone(source, copy, stat.S_IMODE(status.st_mode))


def clone(source: Path, copy: Path, mode: int) -> None:
    """Copy an ordinary file to a new name, sharing its blocks where the file system can. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(reading, "rb") as original, os.fdopen(os.open(copy, flags, 0o600), "wb") as new:
        _copy_contents(original.fileno(), new.fileno(), shared=hasattr(os, "copy_file_range"))
        os.fchmod(new.fileno(), mode)


def _copy_contents(reading: int, writing: int, *, shared: bool) -> None:
    try:
        while shared and os.copy_file_range(reading, writing, PIECE):
            pass
    except OSError:
        # Not on these two disks: begin again by hand, from where both are.
        shared = False
    if not shared:
        with (
            os.fdopen(reading, "rb", closefd=False) as source,
            os.fdopen(writing, "wb", closefd=False) as target,
        ):
            shutil.copyfileobj(source, target)
