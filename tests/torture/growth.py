"""Many turns in many sessions that are opened and left: memory and descriptors must stay flat.

As a program: `python -m tests.torture.growth [--turns N]`. A tenth of the turns warms
up; then memory may not grow by more than `MEMORY` and descriptors not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from hermes_acp.agent.sessions import UNUSED_BOUND
from tests.agent.editors import Editor, editing
from tests.agent.server import Desk, act, call, serving

TURNS_OF_A_SESSION = 25
"""Turns until a window goes on to the next session."""
SIDE_BY_SIDE = 4
"""Windows at a time."""
MEMORY = 24 * 1024 * 1024
"""Bytes by which the process may grow: what the allocator keeps, not what turns leave."""
DESCRIPTORS = 4
"""Descriptors that may be open at one moment and not at another."""
SCRIPT = (
    act({"text": "looking "}, call("read_file", path="a.txt"), when={"user": ""}),
    act({"text": "word ", "chunks": 3}, when={"result": ""}),
)


@dataclass(frozen=True, slots=True)
class Size:
    """What the process holds."""

    memory: int
    descriptors: int
    sessions: int


async def run(turns: int) -> list[str]:
    """Do that many turns: what grew, as sentences."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), SCRIPT) as desk:
            (desk.folder / "a.txt").write_text("text\n")
            await _turns(desk, turns // 10)
            before = _measure(desk)
            for part in range(1, 10):
                await _turns(desk, turns // 10)
                print(f"{part}0 %: {_measure(desk)}", file=sys.stderr, flush=True)
            return _growth(before, _measure(desk))


async def _turns(desk: Desk, turns: int) -> None:
    async with asyncio.TaskGroup() as windows:
        for _ in range(SIDE_BY_SIDE):
            windows.create_task(_visit(desk, turns // SIDE_BY_SIDE))


async def _visit(desk: Desk, turns: int) -> None:
    for start in range(0, turns, TURNS_OF_A_SESSION):
        async with editing(desk, "visitor", kept=10) as editor:
            session_id = await editor.new(desk)
            await _prompt(editor, min(TURNS_OF_A_SESSION, turns - start))
        async with editing(desk, "reader", kept=10) as editor:
            await editor.join(desk, session_id)


async def _prompt(editor: Editor, turns: int) -> None:
    for number in range(turns):
        stopped = await editor.prompt(f"turn {number}")
        assert stopped == "end_turn", stopped


def _measure(desk: Desk) -> Size:
    gc.collect()
    process = psutil.Process()
    return Size(process.memory_info().rss, process.num_fds(), desk.server.sessions.opened)


def _growth(before: Size, after: Size) -> list[str]:
    problems: list[str] = []
    if after.memory - before.memory > MEMORY:
        problems.append(f"memory grew from {before.memory:,} to {after.memory:,} bytes")
    if after.descriptors > before.descriptors + DESCRIPTORS:
        problems.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if after.sessions > UNUSED_BOUND + SIDE_BY_SIDE:
        problems.append(f"{after.sessions} sessions are in memory, and nobody needs them")
    return problems


def main() -> int:
    """Run as a program: 0 when nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100_000)
    problems = asyncio.run(run(parser.parse_args().turns))
    print("\n".join(problems) or "nothing grew")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
