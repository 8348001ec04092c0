"""The formats of transcripts that can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

from hermes_acp.memory.importing import claude_code, codex, plain
from hermes_acp.memory.importing.records import BadLine, Record

Format: TypeAlias = Literal["jsonl", "claude-code", "codex"]
FORMATS: tuple[Format, ...] = get_args(Format)

LINE_BYTES = 64 * 1024 * 1024
"""Longer lines are refused."""


class Lines(Protocol):
    """Takes the lines of one file, in their order."""

    def take(self, line: bytes) -> Iterator[Record]:
        """What the line says. Raises `BadLine`."""
        ...


def lines(form: Format) -> Lines:
    """A taker of the lines of one file."""
    match form:
        case "jsonl":
            return plain.Lines()
        case "claude-code":
            return claude_code.Lines()
        case "codex":
            return codex.Lines()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that was left out, counted from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a file says: the records of each session in their order, and the lines that say nothing."""

    sessions: dict[str, list[Record]] = field(default_factory=dict[str, list[Record]])
    skipped: list[Skipped] = field(default_factory=list[Skipped])


def read(source: Iterable[bytes], form: Format) -> Transcript:
    """Read a file; blocks. Raises what reading `source` raises."""
    transcript = Transcript()
    taker = lines(form)
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            if len(line) > LINE_BYTES:
                raise BadLine(f"it is longer than {LINE_BYTES:,} bytes")
            records = list(taker.take(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line))
        except BadLine as error:
            transcript.skipped.append(Skipped(number, str(error)))
            continue
        for record in records:
            transcript.sessions.setdefault(record.session, []).append(record)
    return transcript
