"""What a terminal can show, and the signs that are used for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from hermes_acp.records import record

MIN_WIDTH = 20
MAX_WIDTH = 120
"""Columns that text is wrapped at; a wider line is hard to read."""


@record
class Look:
    """`styles`: bold, dim and colours at all; `colours`; `signs`: more than ASCII."""

    styles: bool = True
    colours: bool = True
    signs: bool = True

    @property
    def done(self) -> str:
        """Before a tool call that was completed."""
        return "✓" if self.signs else "+"

    @property
    def failed(self) -> str:
        """Before one that failed."""
        return "✗" if self.signs else "x"

    @property
    def bar(self) -> str:
        """Before lines that belong to what stands above."""
        return "│" if self.signs else "|"

    @property
    def spinner(self) -> str:
        """What turns while something runs, one character after the other."""
        return "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self.signs else "|/-\\"

    @property
    def dot(self) -> str:
        """Between facts on one line."""
        return "·" if self.signs else "-"


def of(out: TextIO, env: Mapping[str, str], *, colours: bool) -> Look:
    """What this terminal can show; `colours` False when the user wants none."""
    signs = (out.encoding or "").lower().replace("-", "").startswith("utf")
    styles = out.isatty() and not dumb(env)
    return Look(styles, styles and colours and not env.get("NO_COLOR"), signs)


def dumb(env: Mapping[str, str]) -> bool:
    """Whether the terminal has no cursor that can be moved."""
    return env.get("TERM", "dumb") in ("dumb", "unknown", "")


def width(columns: int) -> int:
    """The columns to use of a terminal that has so many."""
    return max(MIN_WIDTH, min(MAX_WIDTH, columns))
