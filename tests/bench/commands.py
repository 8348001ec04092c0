"""Commands: a round trip beside plain `bash -c`, and a flood of output with its live tail."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.policy.sandbox import Confinement
from hermes_acp.workspace.execution.base import Launch
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.shell_state import ShellState

ROUNDS = 60
WARM_UP = 10
FLOOD_BYTES = 100_000_000
FLOOD = f"yes 'compiling src/module.c into build/module.o' | head -c {FLOOD_BYTES}"
FOLDERS = 500
SETUP = "cd /usr; export A=1 B=2; x=3; alias l=ls; f() { :; }; shopt -s nullglob"
MIB = 2**20


class Rows(Protocol):
    """Where the figures go."""

    def row(self, what: str, figure: str, budget: str = "") -> None: ...

    def times(self, what: str, seconds: list[float], budget: str = "") -> float: ...


def commands(bench: Rows, folder: Path) -> None:
    """Measure in `folder`, where the logs are written."""
    asyncio.run(_measure(bench, folder))


async def _measure(bench: Rows, folder: Path) -> None:
    execution = LocalExecution(dict(os.environ), folder / "logs")
    try:
        await _round_trips(bench, execution)
        await _in_the_sandbox(bench, execution, folder / "workspace")
        await _flood(bench, execution)
    finally:
        await execution.aclose()


async def _round_trips(bench: Rows, execution: LocalExecution) -> None:
    worked_in = await _state(execution, SETUP, ShellState("/"))
    floor = [await asyncio.to_thread(_plain) for _ in range(ROUNDS)][WARM_UP:]
    fresh = [await _trip(execution, None) for _ in range(ROUNDS)][WARM_UP:]
    new = [await _trip(execution, ShellState("/")) for _ in range(ROUNDS)][WARM_UP:]
    kept = [await _trip(execution, worked_in) for _ in range(ROUNDS)][WARM_UP:]
    bench.times("  floor: bash -c true", floor)
    bench.times("command, one-shot", fresh)
    bench.times("command, in the session's shell, untouched", new)
    bench.times("command, in the session's shell, worked in", kept, "of 8 ms for the whole call")


def _plain() -> float:
    began = time.perf_counter()
    subprocess.run(["/bin/bash", "-c", "true"], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


async def _in_the_sandbox(bench: Rows, execution: LocalExecution, folder: Path) -> None:
    await asyncio.to_thread(_make_repository, folder)
    confinement = Confinement((str(folder),))
    if not await execution.confines(confinement.roots):
        bench.row("command, in the sandbox", "no sandbox works here")
        return
    plain = [await _trip(execution, ShellState(str(folder))) for _ in range(ROUNDS)][WARM_UP:]
    confined = [await _trip(execution, ShellState(str(folder)), confinement) for _ in range(ROUNDS)][WARM_UP:]
    bench.times("command, in the sandbox", confined)
    more = statistics.median(confined) - statistics.median(plain)
    bench.row("  more than outside", f"{more * 1e3:.1f} ms", "of 30 ms")


def _make_repository(folder: Path) -> None:
    """One with folders to look through, as a project has."""
    for index in range(FOLDERS):
        (folder / f"package{index % 30}" / f"part{index}").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)


async def _trip(
    execution: LocalExecution, state: ShellState | None, confinement: Confinement | None = None
) -> float:
    began = time.perf_counter()
    cwd = "/" if state is None else state.cwd
    permit = Permit(Effect("execute", "", command="true"), confinement)
    process = await execution.start(permit, Launch("true", cwd, shell=state))
    await process.wait()
    if state is not None:
        await process.left()
    return time.perf_counter() - began


async def _state(execution: LocalExecution, command: str, state: ShellState) -> ShellState:
    process = await execution.start(_permit(command), Launch(command, state.cwd, shell=state))
    await process.wait()
    return await process.left()


async def _flood(bench: Rows, execution: LocalExecution) -> None:
    before = _resident()
    with _peak() as peak:
        began, longest, pieces = time.perf_counter(), 0.0, 0
        process = await execution.start(_permit(FLOOD), Launch(FLOOD, "/"))
        last = began
        async for _ in process.chunks():
            now = time.perf_counter()
            longest, last, pieces = max(longest, now - last), now, pieces + 1
        await process.output()
        took = time.perf_counter() - began
    bench.row("100 MB of output, whole log written", f"{FLOOD_BYTES / took / MIB:.0f} MiB/s")
    bench.row("  memory for them", f"{(peak[0] - before) / MIB:.0f} MiB", "bounded")
    bench.row("  live pieces, longest wait for one", f"{pieces}, {longest * 1e3:.0f} ms")
    assert process.log is not None
    assert Path(process.log).stat().st_size == FLOOD_BYTES, "the log is not whole"


@contextmanager
def _peak() -> Iterator[list[int]]:
    """The largest resident memory meanwhile, looked at by a thread."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], _resident())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _resident() -> int:
    return psutil.Process().memory_info().rss


def _permit(command: str) -> Permit:
    return Permit(Effect("execute", "", command=command))
