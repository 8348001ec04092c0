"""The first memory block: what a project of thousands of facts adds to a session's first request."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.client import Agent, Message, Model

COMMAND = str(Path(sys.executable).with_name("hermes-editor"))
FACTS = 5_000
SESSIONS = 15
KINDS = ("preference", "environment", "code-fact", "decision", "procedure", "pitfall")
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WORDS = (
    *("the", "build", "takes", "orders", "from", "SQLite", "and", "pnpm", "runs", "tests"),
    *("before", "a", "release", "of", "the", "server", "in", "May"),
)

Row = Callable[[str, str, str], None]


def measure(model: Model, folder: Path, row: Row) -> None:
    """Print the row, from two homes in `folder`, one of which has facts."""
    empty, cold, without = _requests(model, folder / "none", 0)
    full, first, size = _requests(model, folder / "many", FACTS)
    block = statistics.median(full) - statistics.median(empty)
    what = f"first memory block of a session, {FACTS:,} facts"
    row(what, f"{block * 1e3:.0f} ms ({(size - without) / 1e3:.1f} kB)", "≤ 150 ms")
    alone = f"{statistics.median(empty) * 1e3:.0f} ms"
    row("  session/new → model request, with them", f"{statistics.median(full) * 1e3:.0f} ms", "")
    row("  the same without any fact", alone, "")
    firsts = f"{first * 1e3:.0f} ms (without {cold * 1e3:.0f} ms)"
    row("  the first session of a server, which loads the rest, too", firsts, "")


def _requests(model: Model, folder: Path, count: int) -> tuple[list[float], float, int]:
    """Seconds to the first request of sessions, those of the first one, and the bytes of a request."""
    home, work = folder / "home", folder / "work"
    for path in (home, work):
        path.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    (work / "code.py").write_text("x = 1\n")
    agent = Agent([COMMAND, "acp"], home, model)
    if count:
        facts = folder / "facts.jsonl"
        facts.write_text("".join(json.dumps(fact) + "\n" for fact in _facts(count)))
        subprocess.run(
            [COMMAND, "memory", "import", str(facts)],
            cwd=work,
            env=agent.env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    try:
        with agent:
            agent.call("initialize", protocolVersion=1)
            took = [_first_request(agent, model, work) for _ in range(SESSIONS)]
    finally:
        agent.stop_server()
    return [seconds for seconds, _ in took[3:]], took[0][0], took[-1][1]


def _first_request(agent: Agent, model: Model, work: Path) -> tuple[float, int]:
    # What earlier measurements have left there is none of ours.
    while not model.reports.empty():
        model.reports.get()
    began = time.monotonic()
    asked = agent.prompt(agent.new(work), chunks=1)
    report = _request(model)
    agent.until(agent.answered(asked))
    return report["at"] - began, report["bytes"]


def _request(model: Model) -> Message:
    while "at" not in (report := model.reports.get(timeout=60)):
        pass
    return report


def _facts(count: int) -> Iterator[Message]:
    chance = random.Random(3)
    for number in range(count):
        text = " ".join(chance.choices(WORDS, k=12))
        quote = {"session": f"s{number % 50}", "seq": number, "quote": text, "found": True}
        yield {
            "id": "01M7ZPCPWE" + "".join(DIGITS[(number >> (5 * place)) % 32] for place in range(15, -1, -1)),
            "kind": KINDS[number % len(KINDS)],
            "scope": "project",
            "status": "active",
            "key": f"key {number}" if number % 3 == 0 else "",
            "text": f"{number}: {text}",
            "author": "user" if number % 2 else "agent",
            "confidence": 0.9,
            "created": 1.7e9 + number,
            "updated": 1.7e9 + number,
            "evidence": [quote],
        }


def main() -> None:
    """Measure this alone: `python -m tests.bench.facts`."""
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        measure(
            model, Path(folder), lambda what, figure, budget: print(f"{what:<58} {figure:>22}   {budget}")
        )
    model.close()


if __name__ == "__main__":
    main()
