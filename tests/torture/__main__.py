"""All the torture, and a table at its end: `python -m tests.torture [--kills N] [--states N] [--seed S]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from hermes_acp.cli.command import table
from tests.torture import kill, memory, power

KILLS = 1_000
STATES = 10_000


def main() -> int:
    """0 when nothing was lost, nothing was damaged and every restart was quick enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--states", type=int, default=STATES)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("command", nargs="*", default=kill.STANDALONE, help="what to start and kill")
    args = parser.parse_args()
    print(f"seed {args.seed}: {args.kills} kills, then {args.states} power cuts", flush=True)
    rows = [("what", "result", "wanted", "")]
    with tempfile.TemporaryDirectory() as scratch:
        rows += _kills(args, Path(scratch))
    with tempfile.TemporaryDirectory() as scratch:
        rows += _memory(args, Path(scratch))
    with tempfile.TemporaryDirectory(dir=power.quick_folder()) as scratch:
        rows += _power_cuts(args, Path(scratch))
    print(table(rows))
    return 1 if any(row[3] == "FAILED" for row in rows[1:]) else 0


def _kills(args: argparse.Namespace, folder: Path) -> list[tuple[str, ...]]:
    begun = time.monotonic()
    report = asyncio.run(kill.run(args.kills, args.seed, folder, args.command))
    print(f"{report}\n({time.monotonic() - begun:.0f} s)", flush=True)
    damaged = sum("is damaged" in problem for problem in report.problems)
    return [
        _row("kills", f"{report.kills}", f"{args.kills}", good=report.kills == args.kills),
        _row("promises checked", f"{report.seen['promises kept']}", "", good=True),
        _row(
            "promises broken", f"{len(report.problems) - damaged}", "0", good=len(report.problems) == damaged
        ),
        _row("databases damaged", f"{damaged}", "0", good=not damaged),
        _row("restart, median", f"{report.median_restart:.2f} s", "", good=True),
        _row(
            "restart, slowest",
            f"{report.slowest_restart:.2f} s",
            f"{kill.RESTART} s",
            good=report.slowest_restart <= kill.RESTART,
        ),
    ]


def _memory(args: argparse.Namespace, folder: Path) -> list[tuple[str, ...]]:
    """Programs that learn into one folder, and are killed with every git that they run."""
    report = asyncio.run(memory.rounds(folder, max(1, args.kills // 10), args.seed))
    print(report, flush=True)
    return [
        _row("kills of writers of facts", f"{report.kills}", "", good=True),
        _row("facts promised", f"{report.promises}", "", good=report.promises > 0),
        _row("facts lost, histories damaged", f"{len(report.problems)}", "0", good=not report.problems),
    ]


def _power_cuts(args: argparse.Namespace, folder: Path) -> list[tuple[str, ...]]:
    if reason := power.is_possible():
        return [_row("power cuts", f"left out: {reason}", f"{args.states}", good=True)]
    begun = time.monotonic()
    report = asyncio.run(power.run(args.states, args.seed, folder))
    print(f"{report}\n({time.monotonic() - begun:.0f} s)", flush=True)
    return [
        _row("power cuts", f"{report.states}", f"{args.states}", good=report.states == args.states),
        _row("promises checked", f"{report.promises}", "", good=True),
        _row("violations", f"{len(report.problems)}", "0", good=not report.problems),
        _row("opening, slowest", f"{report.slowest * 1000:.0f} ms", "", good=True),
    ]


def _row(what: str, result: str, wanted: str, *, good: bool) -> tuple[str, ...]:
    return (what, result, wanted, ("ok" if wanted else "") if good else "FAILED")


if __name__ == "__main__":
    sys.exit(main())
