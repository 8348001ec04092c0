"""Cuts the power at every moment of a run and opens what may then be on the disk.

As a program: `python -m tests.torture.power [--states N] [--seed S]`. The writes and syncs of
`tests/torture/workload.py` are recorded with strace; no disk is harmed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.storage import checks
from hermes_acp.storage.database import Database, StorageError
from tests.storage import damage
from tests.torture.disk import Create, Disk, Remove, Rename, Said, Step, Sync, Truncate, Write

ROOT = Path(__file__).parents[2]
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,mkdir"
LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
TEXT = re.compile(r'[<"]((?:\\x[0-9a-f]{2})*)[>"]')
STATES_OF_A_RECORDING = 1_000
"""Then another run of the program is recorded: no two are alike."""
JUNK = 32_768
"""Bytes of the shared-memory file, which a power cut may leave with anything in it."""


@dataclass
class Report:
    """What a run found."""

    seed: int
    states: int = 0
    steps: int = 0
    promises: int = 0
    slowest: float = 0.0
    problems: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        first = (
            f"{self.states} power cuts (seed {self.seed}): {self.steps} recorded steps, "
            f"{self.promises} promises checked, slowest opening {self.slowest * 1000:.0f} ms, "
            f"{len(self.problems)} problems"
        )
        return "\n".join([first, *self.problems[:20]])


def is_possible() -> str | None:
    """Why this cannot run here; None when it can."""
    if shutil.which("strace") is None:
        return "needs strace"
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return "strace may not trace here" if probe.returncode else None


def quick_folder() -> str | None:
    """Where files are in memory: the states are only looked at, and there are many."""
    return next((folder for folder in ("/dev/shm",) if os.access(folder, os.W_OK)), None)


def record(folder: Path, seed: int, mode: str = "") -> list[Step]:
    """Run the workload in the folder: everything that reached the disk or its user, in order."""
    log = folder.with_name(f"{folder.name}.log")
    folder.mkdir()
    command = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-o", str(log), "-e", f"trace={CALLS}"]
    command += [
        sys.executable,
        "-m",
        "tests.torture.workload",
        str(folder),
        str(seed),
        *([mode] if mode else []),
    ]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    with log.open() as lines:
        return list(steps(whole(lines), str(folder)))


def whole(lines: Iterator[str]) -> Iterator[str]:
    """The lines of strace with calls that another thread interrupted in one piece, at their end."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>\n"):
            begun[thread] = line.removesuffix("<unfinished ...>\n").rstrip()
        elif " resumed>" in line:
            yield begun.pop(thread) + line.split(" resumed>", 1)[1]
        else:
            yield line


def steps(lines: Iterator[str], folder: str) -> Iterator[Step]:
    """What the calls did below the folder, and what was said."""
    for line in lines:
        match = LINE.match(line)
        if match is None or match[3].startswith("-"):
            continue
        call, rest = match[1], match[2]
        if call == "write":
            if rest.startswith("1<"):
                yield Said(_bytes(TEXT.findall(rest)[-1]).decode())
            continue
        texts = [_bytes(text) for text in TEXT.findall(rest)]
        places = [text.decode() for text in texts if text.startswith(f"{folder}".encode())]
        if places and not places[-1].endswith("-shm"):
            yield from _step(call, rest, places, texts)


def _step(call: str, rest: str, places: list[str], texts: list[bytes]) -> Iterator[Step]:
    match call:
        case "openat" if "O_CREAT" in rest:
            yield Create(places[-1])
        case "pwrite64":
            yield Write(places[0], int(rest.rsplit(", ", 1)[1]), texts[1])
        case "ftruncate":
            yield Truncate(places[0], int(rest.rsplit(", ", 1)[1]))
        case "fsync" | "fdatasync":
            yield Sync(places[0])
        case "unlink" | "unlinkat":
            yield Remove(places[-1])
        case "rename":
            yield Rename(*places)
        case _:
            pass


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


async def run(states: int, seed: int, folder: Path, mode: str = "") -> Report:
    """Open this many states, and report what was lost in them."""
    report = Report(seed)
    rng = random.Random(seed)
    while report.states < states:
        number = report.states
        home = folder / f"run-{number}"
        recorded = await asyncio.to_thread(record, home, seed + number, mode)
        report.steps += len(recorded)
        count = min(STATES_OF_A_RECORDING, states - report.states)
        cuts = sorted(rng.randrange(len(recorded)) for _ in range(count))
        disk, promises, done = Disk(), list[str](), 0
        for cut in cuts:
            for step in recorded[done : cut + 1]:
                disk.do(step)
                promises += step.text.splitlines() if isinstance(step, Said) else []
            done = cut + 1
            state = disk.after_power_cut(rng)
            problem = await _check(folder / "state", str(home), state, promises, rng, report)
            report.states += 1
            report.promises += len(promises)
            if problem is not None:
                report.problems.append(f"run {number}, after step {cut} ({recorded[cut]!s:.60}): {problem}")
    return report


async def _check(
    folder: Path, home: str, state: dict[str, bytes], promises: list[str], rng: random.Random, report: Report
) -> str | None:
    await asyncio.to_thread(_lay_out, folder, home, state, rng)
    begun = time.monotonic()
    database = Database(folder / "x.db", repair=True)
    try:
        problem = await _missing(database, promises)
        report.slowest = max(report.slowest, time.monotonic() - begun)
    except (StorageError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await database.close()
    for path in sorted(folder.rglob("*.db")):
        found = await asyncio.to_thread(checks.structure, path) or await asyncio.to_thread(
            checks.contents, path
        )
        problem = problem or (f"{path.name}: {found}" if found else None)
    return problem


def _lay_out(folder: Path, home: str, state: dict[str, bytes], rng: random.Random) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, contents in state.items():
        file = folder / path.removeprefix(f"{home}/")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(contents)
    if rng.random() < 0.3:
        (folder / "x.db-shm").write_bytes(rng.randbytes(JUNK))


async def _missing(database: Database, promises: list[str]) -> str | None:
    """What was promised and is not there, or what should not be."""
    kept = await damage.read(database)
    if database.notice is not None:
        return database.notice
    for promise in promises:
        match promise.split():
            case ["session", name] if name not in kept:
                return f"lost: {promise}"
            case ["event", name, seq] if damage.data(name, int(seq), 0)[:40] not in _event(
                kept, name, int(seq)
            ):
                return f"lost: {promise}"
            case _:
                pass
    for name in kept:
        seq = len(kept[name]) + 1
        await database.write(damage.EVENT, (name, seq, 1.0, damage.data(name, seq)))
    return None


def _event(kept: damage.Events, name: str, seq: int) -> str:
    events = kept.get(name, [])
    return events[seq - 1] if len(events) >= seq else ""


def main() -> int:
    """Run as a program: 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    if reason := is_possible():
        print(reason)
        return 1
    with tempfile.TemporaryDirectory(dir=quick_folder()) as scratch:
        report = asyncio.run(run(args.states, args.seed, Path(scratch)))
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
