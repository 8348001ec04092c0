"""Escape sequences that a terminal would obey."""

from __future__ import annotations

import re
from collections.abc import Iterator

STRING_CHARS = 4_096
"""Characters of the longest string in a sequence (a title, a link, a clipboard)."""

SEQUENCE = re.compile(
    rf"""(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]{{0,{STRING_CHARS}}}+(?:\x07|\x1b\\|\x9c)?
        |(?:\x1b\[|\x9b)[0-?]{{0,256}}+[ -/]{{0,16}}+[@-~]?
        |\x1b[ -/]{{0,16}}+[0-~]?""",
    re.VERBOSE,
)
_ONE = re.compile(r"[\x90-\x9f]")
_CONCEALED = re.compile(r"(?:\x1b\[|\x9b)(?:[0-9;:]{0,64};)?8m")


def find(text: str) -> Iterator[tuple[int, int]]:
    """Where sequences stand, each with those right behind it, and the text that one of them conceals."""
    if "\x1b" not in text and (text.isascii() or not _ONE.search(text)):
        return
    start = end = 0
    concealed = False
    for match in SEQUENCE.finditer(text):
        if not concealed and match.start() > end:
            if end:
                yield start, end
            start = match.start()
        end = match.end()
        concealed = bool(_CONCEALED.fullmatch(match[0]))
    if concealed:
        newline = text.find("\n", end)
        end = newline if newline >= 0 else len(text)
    if end:
        yield start, end
