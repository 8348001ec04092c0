"""Checkpoints of a repository of 50,000 files: taken, undone, redone; beside what git needs to look at it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

from hermes_acp.workspace.checkpoints.checkpoints import Checkpoints
from hermes_acp.workspace.checkpoints.records import Checkpoint, Span
from tests.bench.workspace import FILES, Rows, generated

ROUNDS = 10
CHANGED = 10
SESSION = "bench"


def checkpoints(bench: Rows, folder: Path) -> None:
    """Measure in `folder`, which has to be empty and on the disk that counts."""
    root = generated(folder / "checked", FILES)
    bench.times("  floor: git status, 50,000 files", [_status(root) for _ in range(ROUNDS)])
    store = Checkpoints(folder / "data" / "checkpoints.git", dict(os.environ))
    asyncio.run(_measure(bench, store, root))


async def _measure(bench: Rows, store: Checkpoints, root: Path) -> None:
    _, first = await _take(store, root)
    bench.times("first checkpoint of 50,000 files", [first])
    start, _ = await _take(store, root)
    bench.times("checkpoint, nothing changed", [(await _take(store, root))[1] for _ in range(ROUNDS)])
    taken, undone, redone, compared = [], [], [], []
    for number in range(ROUNDS):
        await asyncio.to_thread(_work, root, number)
        end, took = await _take(store, root)
        taken.append(took)
        began = time.monotonic()
        await store.changes(str(root), start, end)
        compared.append(time.monotonic() - began)
        began = time.monotonic()
        undo = await store.restore(str(root), [Span(start, end)], SESSION, "undo")
        undone.append(time.monotonic() - began)
        assert len(undo.files) == CHANGED
        began = time.monotonic()
        redo = await store.restore(str(root), [Span(undo.before, undo.after)], SESSION, "redo")
        redone.append(time.monotonic() - began)
        start = redo.after
    bench.times(f"checkpoint, {CHANGED} files of 50,000 changed", taken, "≤ 150 ms")
    bench.times(f"changes between two checkpoints, {CHANGED} files", compared)
    bench.times(f"undo of {CHANGED} files, with a checkpoint before and after", undone)
    bench.times(f"redo of {CHANGED} files", redone)
    began = time.monotonic()
    await store.tidy(time.time())
    bench.times("tidying the checkpoints, in the background", [time.monotonic() - began])


async def _take(store: Checkpoints, root: Path) -> tuple[Checkpoint, float]:
    began = time.monotonic()
    checkpoint = await store.take(str(root), SESSION, "bench")
    return checkpoint, time.monotonic() - began


def _work(root: Path, round_: int) -> None:
    for number in range(CHANGED):
        file = root / "src" / str(number) / f"{number}.py"
        file.write_bytes(b"# round %d\n" % round_ + file.read_bytes())


def _status(root: Path) -> float:
    began = time.monotonic()
    subprocess.run(["git", "-C", str(root), "status", "--porcelain"], check=True, capture_output=True)
    return time.monotonic() - began
