"""Measures recall on conversations with labelled questions: how much is found, and how fast.

The data are files beside the project, which is not their home: `RETRIEVAL` names their folder. Without
them there is nothing to measure but the speed, which is then that of made-up messages.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_acp.memory.recall import Recall
from hermes_acp.storage.read_only import ReadOnlyDatabase

COMMAND = str(Path(sys.executable).with_name("hermes-editor"))
DATA = Path(os.environ.get("RETRIEVAL", Path(__file__).parents[3] / "shared" / "retrieval"))
TURNS, QUESTIONS = DATA / "locomo_turns.jsonl", "locomo_qa.*.jsonl"
KINDS = {1: "several messages", 2: "times", 3: "open", 4: "one message", 5: "misleading"}
MESSAGES = 100_000
TIMED = 200
"""Questions of which each is timed."""
TOP = 10

Json = dict[str, Any]
Row = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Question:
    id: str
    text: str
    kind: int
    conversation: str
    evidence: frozenset[str]


def measure(root: Path, row: Row) -> None:
    """Print the rows of recall; `root` is an empty folder."""
    questions = list(_questions())
    if questions:
        _quality(root / "all", questions, row)
        _quality_within(root / "within", questions, row)
    else:
        row("recall: no labelled questions (see tests/bench/recall.py)", "-", "")
    _speed(
        root / "speed", [question.text for question in questions] or ["Where did the red fox go in May?"], row
    )


def _quality(folder: Path, questions: list[Question], row: Row) -> None:
    """All conversations in one project."""
    home = Home(folder)
    took = home.bring(_messages(_lines(TURNS)))
    row("recall: import of all conversations", f"{took:.1f} s", "")
    found = home.ask(questions)
    shares = _shares(questions, found)
    for kind, name in KINDS.items():
        budget = "≥ 55 %" if kind == 1 else ""
        row(f"recall@{TOP}, questions about {name}", f"{100 * _mean(shares[kind]):.1f} %", budget)
    everything = [share for each in shares.values() for share in each]
    row(f"recall@{TOP} over all conversations", f"{100 * _mean(everything):.1f} %", "≥ 78 %")
    nothing = sum(not found[question.id] for question in questions) / len(questions)
    row("questions without any result", f"{100 * nothing:.2f} %", "≤ 1 %")


def _quality_within(folder: Path, questions: list[Question], row: Row) -> None:
    """Each conversation in a project of its own."""
    shares: list[float] = []
    turns = _lines(TURNS)
    for conversation in sorted({question.conversation for question in questions}):
        home = Home(folder / conversation)
        home.bring(_messages(turn for turn in turns if turn["conv"] == conversation))
        own = [question for question in questions if question.conversation == conversation]
        shares += [share for each in _shares(own, home.ask(own)).values() for share in each]
    row(f"recall@{TOP} within a conversation", f"{100 * _mean(shares):.1f} %", "")


def _speed(folder: Path, questions: list[str], row: Row) -> None:
    home = Home(folder)
    took = home.bring(_many())
    row(f"recall: import of {MESSAGES:,} messages", f"{took:.1f} s", "< 60 s")
    chosen = random.Random(1).sample(questions, min(TIMED, len(questions)))
    seconds = sorted(asyncio.run(_timed(home.database, chosen)))
    p50, p95 = (1e3 * seconds[int(share * len(seconds))] for share in (0.5, 0.95))
    row(f"recall: CPU of a question, {MESSAGES:,} messages", f"{p50:.1f} (p95 {p95:.1f}) ms", "p95 ≤ 50 ms")


async def _timed(database: Path, questions: list[str]) -> list[float]:
    reading = await ReadOnlyDatabase.existing(database)
    assert reading is not None
    recall = Recall(reading, None)
    await recall.answer("warm up")
    seconds: list[float] = []
    for question in questions:
        began = time.process_time()
        await recall.answer(question)
        seconds.append(time.process_time() - began)
    return seconds


class Home:
    """A home of the program with one project, used through its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.database = folder / "data" / "sessions.db"

    def bring(self, messages: Iterable[Json]) -> float:
        """Import the messages; how many seconds that took."""
        file = self.folder / "messages.jsonl"
        with file.open("w") as target:
            target.writelines(json.dumps(message) + "\n" for message in messages)
        began = time.monotonic()
        self._run("sessions", "import", str(file))
        return time.monotonic() - began

    def ask(self, questions: Iterable[Question]) -> dict[str, list[str]]:
        """The ids that are found for each question, best first."""
        file = self.folder / "questions.jsonl"
        lines = (json.dumps({"id": question.id, "query": question.text}) for question in questions)
        file.write_text("\n".join(lines))
        printed = self._run("memory", "recall", "--jsonl", str(file), "--json", "--limit", str(TOP))
        answers = map(json.loads, printed.splitlines())
        return {answer["id"]: [result["id"] for result in answer["results"]] for answer in answers}

    def _run(self, *words: str) -> bytes:
        env = {**os.environ, "HERMES_EDITOR_HOME": str(self.folder)}
        return subprocess.run(
            [COMMAND, *words], cwd=self.work, env=env, stdout=subprocess.PIPE, check=True
        ).stdout


def _questions() -> Iterator[Question]:
    for file in sorted(DATA.glob(QUESTIONS)):
        for item in _lines(file):
            conversation, evidence = item["conv"], item["evidence"]
            marked = frozenset(f"{conversation}/{turn}" for turn in evidence)
            yield Question(item["qid"], item["question"], item["category"], conversation, marked)


def _messages(turns: Iterable[Json]) -> Iterator[Json]:
    for turn in turns:
        caption = f" [{turn['caption']}]" if turn["caption"] else ""
        yield {
            "session": f"{turn['conv']}-{turn['session']}",
            "at": turn["date"],
            "role": "user",
            "speaker": turn["speaker"],
            "text": turn["text"] + caption,
            "id": f"{turn['conv']}/{turn['id']}",
        }


def _many() -> Iterator[Json]:
    """So many messages: the conversations again and again, each time with some of its words changed."""
    chance = random.Random(2)
    made_up = [
        {"session": f"s{number // 25}", "at": 1e9 + number, "text": "the red fox went over the hill in may"}
        for number in range(1_000)
    ]
    pattern = list(_messages(_lines(TURNS))) if TURNS.exists() else made_up
    for number in range(MESSAGES):
        message, again = pattern[number % len(pattern)], number // len(pattern)
        words = (word if chance.random() < 0.7 else f"{word}{again}" for word in message["text"].split())
        yield {
            **message,
            "session": f"{message['session']} {again}",
            "text": " ".join(words),
            "id": str(number),
        }


def _shares(questions: Iterable[Question], found: dict[str, list[str]]) -> dict[int, list[float]]:
    """By kind of question: which share of its evidence is among the results."""
    shares: dict[int, list[float]] = defaultdict(list)
    for question in questions:
        if question.evidence:
            hits = question.evidence.intersection(found[question.id][:TOP])
            shares[question.kind].append(len(hits) / len(question.evidence))
    return shares


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def _lines(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def main() -> None:
    """Measure recall alone: `python -m tests.bench.recall`."""
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), lambda what, figure, budget: print(f"{what:<58} {figure:>22}   {budget}"))


if __name__ == "__main__":
    main()
