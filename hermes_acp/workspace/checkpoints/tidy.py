"""Keeping the repository of checkpoints small: which of them may go, and what goes with them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.locks import lock, open_lock
from hermes_acp.workspace.checkpoints.records import STATES, Checkpoint, CheckpointError, Limits
from hermes_acp.workspace.checkpoints.store import TREE_REFS, Store
from hermes_acp.workspace.finish import to_the_end

GRACE = 3600.0
"""What was written in the last so many seconds stays, because somebody may be about to name it."""
LOOSE_OBJECTS = 1_000
"""So many objects may lie about before they are packed."""
SECONDS = 300.0
"""How long one command may take."""

_EXPIRE = f"{GRACE:g}.seconds.ago"


async def tidy(store: Store, limits: Limits, now: float) -> int:
    """Let the checkpoints go that are beyond the limits, and free their space; gives how many went.

    Where the repository is too large, the oldest quarter goes each time. Does nothing where another
    process is doing so. Checkpoints may be taken meanwhile. Raises `GitError`, `OSError` and
    `CheckpointError`; a cancel leaves a sound repository.
    """
    with ExitStack() as undo:
        if not await to_the_end(asyncio.to_thread(_claim, store.folder / "tidy.lock", undo)):
            return 0
        await _forget_trees(store)
        found = await store.list()
        gone = expired(found, limits, now)
        if await asyncio.to_thread(_size, store.folder, now - GRACE) > limits.store_bytes:
            names = {(each.session, each.number) for each in gone}
            left = [each for each in found if (each.session, each.number) not in names]
            gone += left[: (len(left) + 3) // 4]
        if gone:
            await store.forget(gone)
        await _collect(store)
        return len(gone)


def expired(checkpoints: Sequence[Checkpoint], limits: Limits, now: float) -> list[Checkpoint]:
    """Those that are too old, or too many of one session; `checkpoints` are the oldest first. Pure."""
    newer = Counter(each.session for each in checkpoints)
    gone: list[Checkpoint] = []
    for each in checkpoints:
        newer[each.session] -= 1
        if newer[each.session] >= limits.count or now - each.at > limits.age:
            gone.append(each)
    return gone


async def _collect(store: Store) -> None:
    """Pack what is named, and remove what nothing names."""
    packs, loose = await asyncio.to_thread(_objects, store.folder)
    if loose > LOOSE_OBJECTS or len(packs) > 1:
        # The blobs that are borrowed are missing here, which is as it should be.
        pack = ("pack-objects", "-q", "--all", "--missing=allow-any", f"--unpack-unreachable={_EXPIRE}")
        made = await store.tell(*pack, str(store.folder / "objects/pack/pack"), data=b"", seconds=SECONDS)
        await asyncio.to_thread(_remove_packs, packs, made.text)
        await store.tell("prune-packed", "-q", seconds=SECONDS)
    await store.tell("prune", f"--expire={_EXPIRE}", seconds=SECONDS)


async def _forget_trees(store: Store) -> None:
    """Forget the trees whose folders are gone; their checkpoints stay."""
    for folder in await asyncio.to_thread(lambda: list(_abandoned(store.folder))):
        await store.tell("update-ref", "-d", f"{TREE_REFS}/{folder.name}")
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


# --- below: in a thread --------------------------------------------------------------------------


def _claim(file: Path, undo: ExitStack) -> bool:
    try:
        descriptor = open_lock(file)
        undo.callback(os.close, descriptor)
        return lock(descriptor, file)
    except StorageError as error:
        raise CheckpointError(str(error)) from error


def _abandoned(store: Path) -> Iterator[Path]:
    for folder in (store / "trees").iterdir():
        try:
            state = STATES.validate_json((folder / "state.json").read_bytes())
        except (OSError, ValueError):
            continue
        if not Path(state.last.root).exists() and not (folder / "restore.json").exists():
            yield folder


def _objects(store: Path) -> tuple[list[Path], int]:
    """The packs, and how many objects are in none."""
    objects = store / "objects"
    packs = sorted((objects / "pack").glob("pack-*.pack"))
    return packs, sum(1 for _ in objects.glob("[0-9a-f][0-9a-f]/*"))


def _remove_packs(packs: Sequence[Path], keep: str) -> None:
    for pack in packs:
        if pack.stem != f"pack-{keep}":
            # The index first: without it git does not look into the pack.
            for suffix in (".idx", ".rev", ".pack"):
                pack.with_suffix(suffix).unlink(missing_ok=True)


def _size(store: Path, before: float) -> int:
    """The bytes of all objects written before a time: what is newer cannot be freed yet."""
    status = (file.stat() for file in (store / "objects").rglob("*") if file.is_file())
    return sum(each.st_size for each in status if each.st_mtime < before)
