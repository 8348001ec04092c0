"""A spare checkout, made beforehand, because writing tens of thousands of files takes its time.

A new worktree of a large repository takes the spare: it is renamed, and only the files that are
different are written.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.git import Repository
from hermes_acp.workspace.worktrees.folders import registering, remove
from hermes_acp.workspace.worktrees.trees import LONG_SECONDS, Place, Tree, explained, open_tree
from hermes_acp.workspace.worktrees.turns import turn

SPARE_FILES = 2_000
"""Repositories with fewer files are checked out quickly enough without one."""

_SPARE = ".spare"
_MAKING = ".making"
_OPTIONS = ("--quiet", "--no-checkout", "--detach", "--lock", "--reason", "spare checkout of hermes-editor")
_INDEX_HEADER = struct.Struct(">4sII")


async def prepare(place: Place) -> bool:
    """Make a spare checkout where it pays and there is none; takes as long as git takes for it.

    Gives whether one was made. Meant for the background, after a worktree was created. Raises
    `WorktreeError`; then, and on cancellation, nothing is left behind.
    """
    with explained("No spare checkout was made"):
        tree = await open_tree(place.root, place.env)
        if await asyncio.to_thread(_count, Path(tree.git_dir, "index")) < SPARE_FILES:
            return False
        async with _alone(place):
            if await asyncio.to_thread((place.worktrees / _SPARE).is_dir):
                return False
            await _forget(place, tree)
            try:
                await _make(place, tree)
            except BaseException:
                await to_the_end(_forget(place, tree))
                raise
            return True


async def take(tree: Tree, worktrees: Path, path: str) -> bool:
    """Rename the spare to the empty folder `path`; False when there is none. Raises `GitError`.

    Only while nobody else is `registering`. The worktree is locked, and HEAD detached.
    """
    if not await asyncio.to_thread(_renamed, worktrees / _SPARE, path):
        return False
    await tree.repository.tell("worktree", "repair", "--", path)
    return True


async def drop(place: Place, tree: Tree) -> None:
    """Remove the spare checkout, if there is one. Raises `GitError` and `WorktreeError`."""
    async with _alone(place):
        await _forget(place, tree)


@asynccontextmanager
async def _alone(place: Place) -> AsyncGenerator[None]:
    async with turn(place.worktrees / ".preparing", "A spare checkout is being made: try again later."):
        yield


async def _make(place: Place, tree: Tree) -> None:
    making = str(place.worktrees / _MAKING)
    async with registering(place.worktrees):
        await tree.repository.tell("worktree", "add", *_OPTIONS, "--", making, "HEAD")
    await Repository(making, place.env).tell("reset", "--hard", "--quiet", seconds=LONG_SECONDS)
    async with registering(place.worktrees):
        spare = str(place.worktrees / _SPARE)
        await asyncio.to_thread(_renamed, Path(making), spare)
        await tree.repository.tell("worktree", "repair", "--", spare)


async def _forget(place: Place, tree: Tree) -> None:
    """Remove the spare, and one that somebody did not finish."""
    for name in (_SPARE, _MAKING):
        await remove(tree, str(place.worktrees / name))


def _renamed(folder: Path, path: str) -> bool:
    try:
        folder.rename(path)
    except FileNotFoundError:
        return False
    return True


def _count(index: Path) -> int:
    """How many files an index says it has."""
    try:
        with index.open("rb") as file:
            header = file.read(_INDEX_HEADER.size)
    except FileNotFoundError:
        return 0
    return _INDEX_HEADER.unpack(header)[2] if len(header) == _INDEX_HEADER.size else 0
