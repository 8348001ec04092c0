"""Facts under fire: programs that learn as fast as they can, and are killed with every git that they run.

`python -m tests.torture.memory FOLDER NAME COUNT` is one of those programs; it says what was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hermes_acp.memory.facts.changes import Amend, Retract
from tests.memory.memories import FEATURE, MAIN, TOPIC, Memory, fact

ROOT = Path(__file__).parents[2]
WRITERS = 2
"""Programs that write into one folder at a time."""
LIFE = 0.8
"""Seconds that they live at most once each has said something."""
FACTS = 100_000


@dataclass
class Report:
    """What was promised and what came of it."""

    kills: int = 0
    promises: int = 0
    problems: list[str] = field(default_factory=list)


async def learn(folder: Path, name: str, count: int = FACTS) -> None:
    """Learn, change and write so often, or until somebody ends it."""
    memory = await Memory.open(folder)
    for number in range(count):
        place = (MAIN, FEATURE, TOPIC)[number % 3]
        made = await memory.learn(place, fact(f"{name} {number}"), fact(f"{name} is at {number}", name))
        print(made.ids[0], f"{name} {number}", flush=True)
        if number % 5 == 4:
            await memory.learn(place, Amend(made.ids[0], confidence=0.5, author="user"), Retract(made.ids[1]))
        if number % 3 == 2:
            await memory.facts.drain()
    await memory.close()


async def rounds(folder: Path, kills: int, seed: int) -> Report:
    """Let programs write and kill them, again and again; look each time."""
    report = Report()
    chance = random.Random(seed)
    while report.kills < kills:
        names = [f"{report.kills + number}-{chance.randrange(10**6)}" for number in range(WRITERS)]
        said = await asyncio.to_thread(one_life, folder, names, chance.uniform(0, LIFE))
        report.kills += WRITERS
        report.promises += len(said)
        report.problems += await lost(folder, said)
    return report


def one_life(folder: Path, names: list[str], seconds: float) -> dict[str, str]:
    """Start the programs, kill all of them and theirs at once: what they have said, by id."""
    writers = [_started(folder, name) for name in names]
    lines = [writer.stdout.readline() for writer in writers if writer.stdout is not None]
    time.sleep(seconds)
    family = [psutil.Process(writer.pid) for writer in writers]
    family += [child for parent in family for child in parent.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return _said("".join(lines), writers)


def race(folder: Path, names: list[str], count: int) -> dict[str, str]:
    """Start the programs at once and let them end: what they have said, by id."""
    writers = [_started(folder, name, count) for name in names]
    said = _said("", writers)
    assert [writer.returncode for writer in writers] == [0] * len(names)
    return said


def _started(folder: Path, name: str, count: int = FACTS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.torture.memory", str(folder), name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _said(begin: str, writers: list[subprocess.Popen[str]]) -> dict[str, str]:
    """What the programs have said until their ends, in whole lines."""
    texts = [begin, *(writer.communicate()[0] for writer in writers)]
    lines = [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {line.split(" ", 1)[0]: line.strip().split(" ", 1)[1] for line in lines}


async def lost(folder: Path, said: dict[str, str]) -> list[str]:
    """What was promised and is not there, or there twice; damage of any kind raises."""
    memory = await Memory.open(folder)
    try:
        await memory.whole(("p",))
        known = await memory.facts.all("p")
        changes = memory.git("log", "--branches", "--format=%(trailers:key=Hermes-Change,valueonly)").split()
    finally:
        await memory.close()
    problems = [
        f"lost: {text}"
        for fact_id, text in said.items()
        if fact_id not in known or known[fact_id].text != text
    ]
    # A change of two branches has a commit on each.
    return problems + [f"written twice: {name}" for name in set(changes) if changes.count(name) > 2]


if __name__ == "__main__":
    asyncio.run(learn(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
