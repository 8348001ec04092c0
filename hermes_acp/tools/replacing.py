"""Exact replacement of passages in a text, and helpful words when a passage is not there; pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from hermes_acp.records import record
from hermes_acp.tools.base import Params, ToolError

NEAR_LINES = 2000
"""Lines of a file that are compared letter by letter to find the closest one."""

PASSAGE_LINES = 30
"""Most lines that are shown of the closest passage."""

PASSAGE_LINE_CHARS = 300
"""Longer lines of a passage are cut."""

LINES_NAMED = 10
"""Most places that are named when a passage occurs several times."""


class Edit(Params):
    """One replacement."""

    old: str = Field(min_length=1)
    new: str
    all: bool = False


@record
class Edited:
    """A new text, a sentence about it, and the first line that changed."""

    text: str
    said: str
    line: int


def apply_edits(name: str, text: str, edits: Sequence[Edit]) -> Edited:
    """Replace in order; each edit sees what the ones before it made. Raises `ToolError`."""
    lines: list[int] = []
    new = text
    for number, edit in enumerate(edits, 1):
        which = f"edit {number}: " if len(edits) > 1 else ""
        new, at = _replace(new, edit, f"{which}{name}")
        lines += at
    if new == text:
        raise ToolError(f"The edits leave {name} as it is: nothing was written.")
    return Edited(new, f"Edited {name} at line {_named(lines)}.", lines[0])


def _replace(text: str, edit: Edit, where: str) -> tuple[str, list[int]]:
    old, new = edit.old.replace("\r\n", "\n"), edit.new.replace("\r\n", "\n")
    spans = _occurrences(text, old)
    lines = _line_numbers(text, [start for start, _ in spans])
    if not spans:
        raise ToolError(f"{where}: `old` was not found, nothing was written. {closest(text, old)}")
    if len(spans) > 1 and not edit.all:
        raise ToolError(
            f"{where}: `old` occurs {len(spans)} times (lines {_named(lines)}), nothing was written. "
            "Add lines around it until it is unique, or set `all`."
        )
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += text[done:start], _with_ending(new, text, start)
        done = end
    return "".join([*pieces, text[done:]]), lines


def _occurrences(text: str, old: str) -> list[tuple[int, int]]:
    """Where `old` begins and ends; where the file mixes line ends, its line ends stand for either."""
    if "\r" in text:
        pattern = re.compile("\r?\n".join(map(re.escape, old.split("\n"))))
        return [match.span() for match in pattern.finditer(text)]
    spans: list[tuple[int, int]] = []
    start = text.find(old)
    while start >= 0:
        spans.append((start, start + len(old)))
        start = text.find(old, start + len(old))
    return spans


def _with_ending(new: str, text: str, start: int) -> str:
    """`new` with the line end of the line that it comes into."""
    end = text.find("\n", start)
    return new.replace("\n", "\r\n") if end > 0 and text[end - 1] == "\r" else new


def _named(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:LINES_NAMED])) + (", …" if len(lines) > LINES_NAMED else "")


def _line_numbers(text: str, positions: Sequence[int]) -> list[int]:
    lines: list[int] = []
    line, start = 1, 0
    for position in positions:
        line += text.count("\n", start, position)
        start = position
        lines.append(line)
    return lines


# --- the closest passage -------------------------------------------------------------------------


def closest(text: str, old: str) -> str:
    """Words that show the passage of `text` that is most like `old`, with its line numbers."""
    have = text.split("\n")
    want = old.strip("\n").split("\n")
    start = _aligned([line.strip() for line in have], [line.strip() for line in want])
    if start is None:
        return "Nothing in the file comes close: read it again."
    found = have[start : start + len(want)]
    same = [line.strip() for line in found] == [line.strip() for line in want]
    reason = "Only spaces or indentation differ. " if same else ""
    shown = [line[:PASSAGE_LINE_CHARS] for line in found[:PASSAGE_LINES]]
    return "\n".join([f"{reason}Closest are lines {start + 1}-{start + len(found)}:", *shown])


def _aligned(have: Sequence[str], want: Sequence[str]) -> int | None:
    """Where `want` fits best: where most equal lines put its start, else where a similar line does."""
    first: dict[str, int] = {}
    for index, line in enumerate(want):
        if line:
            first.setdefault(line, index)
    starts = Counter(index - first[line] for index, line in enumerate(have) if line in first)
    if starts:
        return max(0, starts.most_common(1)[0][0])
    if not first:
        return None
    longest = max(first, key=len)
    candidates = [line[:PASSAGE_LINE_CHARS] for line in have[:NEAR_LINES]]
    near = difflib.get_close_matches(longest[:PASSAGE_LINE_CHARS], candidates, n=1)
    return max(0, candidates.index(near[0]) - first[longest]) if near else None
