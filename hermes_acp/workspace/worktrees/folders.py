"""The folders of worktrees: names reserved, contents removed, and what git keeps about each."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from hermes_acp.workspace.worktrees.trees import Tree
from hermes_acp.workspace.worktrees.turns import turn


def reserve(parent: Path, names: Iterable[str]) -> str | None:
    """Make a folder under the first name that nobody has; None when all are taken. Raises `OSError`."""
    parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        with suppress(FileExistsError):
            Path(parent, name).mkdir()
            return name
    return None


async def remove(tree: Tree, path: str) -> None:
    """Remove a worktree, locked or not, with all that is in it; its branch stays.

    The folder disappears at once, and its files are deleted afterwards. Raises `GitError` and `OSError`.
    """
    trash = await asyncio.to_thread(_set_aside, Path(path))
    async with registering(Path(path).parent):
        if await asyncio.to_thread(_registered, tree.common_dir, path):
            await tree.repository.tell("worktree", "remove", "--force", "--force", "--", path)
    if trash is not None:
        await asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True)


@asynccontextmanager
async def registering(worktrees: Path) -> AsyncGenerator[None]:
    """Be the only one who adds to git's list of worktrees, or reads it.

    git itself fails when it meets an entry that another git is just writing.
    """
    async with turn(worktrees / ".lock", "Other sessions are making worktrees: try again in a minute."):
        yield


def empty_trash(parent: Path) -> None:
    """Delete what a removal that was cut short left behind."""
    for trash in parent.glob(".trash-*"):
        shutil.rmtree(trash, ignore_errors=True)


def _registered(common_dir: str, path: str) -> bool:
    entry = os.fsencode(f"{path}/.git")
    notes = Path(common_dir, "worktrees").glob("*/gitdir")
    return any(note.read_bytes().rstrip(b"\r\n") == entry for note in notes)


def _set_aside(path: Path) -> Path | None:
    trash = path.with_name(f".trash-{secrets.token_hex(8)}")
    try:
        return path.rename(trash)
    except FileNotFoundError:
        return None
