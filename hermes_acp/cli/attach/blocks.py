"""Where Markdown that still grows can be cut: between its top-level blocks."""

from __future__ import annotations

import re

BLOCK_CHARS = 16 * 1024
"""A block that grows longer than this is cut at a line, so that no answer is held back or rendered anew."""

_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)$")


def split(text: str) -> tuple[str, str]:
    """The blocks of a growing text that are complete, and the rest.

    A block is complete when a blank line outside of a code block is followed by a line that is not
    indented. Both parts together render as the whole text would.
    """
    fence, cut, blank, position = "", 0, False, 0
    for line in text.splitlines(keepends=True):
        if blank and not fence and line.strip() and not line[0].isspace():
            cut = position
        fence = _after(fence, line)
        blank = not line.strip()
        position += len(line)
    rest = text[cut:]
    if len(rest) <= BLOCK_CHARS:
        return text[:cut], rest
    return _forced(text[:cut], rest)


def _after(fence: str, line: str) -> str:
    """The fence that is open behind a line: the line that opened it, or nothing."""
    found = _FENCE.match(line.rstrip("\n"))
    if found is None:
        return fence
    if not fence:
        return line.strip()
    opened = _FENCE.match(fence)
    closes = opened is not None and found[1].startswith(opened[1]) and not found[2].strip()
    return "" if closes else fence


def _forced(done: str, rest: str) -> tuple[str, str]:
    """Cut a long block behind its last whole line; code is closed and opened again."""
    end = rest.rfind("\n") + 1
    if end == 0:
        return done + rest, ""
    head, tail = rest[:end], rest[end:]
    fence = ""
    for line in head.splitlines():
        fence = _after(fence, line)
    if not fence:
        return done + head, tail
    marker = fence[: len(fence) - len(fence.lstrip(fence[0]))]
    return f"{done}{head}{marker}\n", f"{fence}\n{tail}"
