"""Text of others on a terminal: nothing in it may move the cursor or hide what follows."""

from __future__ import annotations

import io
from typing import TextIO

LINE_CHARS = 400
"""Longer lines are cut."""
KEPT = "\n\t"


def safe(text: str) -> str:
    """The text with everything invisible replaced, but for line ends and tabs."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in KEPT else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def one_line(text: str) -> str:
    """The text on one line, bounded."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def tolerate(stream: TextIO) -> None:
    """Let the stream replace what its encoding does not have, instead of failing halfway."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
