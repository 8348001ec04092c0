"""Taking turns: what must not happen at the same time, in this process or another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from hermes_acp.storage.locks import lock, open_lock
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.worktrees.trees import WorktreeError

WAIT_SECONDS = 60.0
"""How long to wait for those who came first."""
POLL = 0.01
"""Seconds between two attempts."""


@asynccontextmanager
async def turn(path: Path, busy: str) -> AsyncGenerator[None]:
    """Be the only one behind the lock file `path`. Raises `WorktreeError(busy)` after `WAIT_SECONDS`.

    Nobody may ask for the same turn again before the end of it.
    """
    with ExitStack() as undo:
        descriptor = await to_the_end(asyncio.to_thread(_opened, path, undo))
        await _taken(descriptor, path, busy)
        yield


async def _taken(descriptor: int, path: Path, busy: str) -> None:
    last = asyncio.get_running_loop().time() + WAIT_SECONDS
    while not lock(descriptor, path):
        if asyncio.get_running_loop().time() > last:
            raise WorktreeError(busy)
        # Not in a thread: it could be the one that those need who came first.
        await asyncio.sleep(POLL)


def _opened(path: Path, undo: ExitStack) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_lock(path)
    undo.callback(os.close, descriptor)
    return descriptor
