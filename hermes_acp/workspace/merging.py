"""The three-way merge of texts, line by line, and what is said where it would lose something."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Protocol

from hermes_acp.records import record
from hermes_acp.workspace.git import Answer
from hermes_acp.workspace.locations import printable

HUNK_CHARS = 4_000
"""Longer sides of a hunk are cut."""

_MARKER = 41
"""So long that no text has it by accident."""
_CLEAN = 0
_CONFLICTS = range(1, 128)
_SIDES = ("ours", "base", "theirs")
_SIGNS = {sign * _MARKER: sign for sign in "<|=>"}


@record
class Hunk:
    """Lines that both sides changed; `line` is about where they are in the user's file, from 1."""

    line: int
    base: str
    ours: str
    theirs: str


@record
class Conflict:
    """A file that cannot be brought to its new contents without a loss; `reason` is a clause.

    In its hunks, `ours` is what the user has now.
    """

    path: str
    reason: str
    hunks: tuple[Hunk, ...] = ()

    def __str__(self) -> str:
        """As one line for the user."""
        return f"{printable(self.path)}: {self.reason}"


class Git(Protocol):
    """Runs a command of git, whatever its status."""

    def __call__(self, *command: str) -> Awaitable[Answer]:
        """Raises `GitError`."""
        ...


async def merge_texts(
    git: Git, folder: Path, ours: bytes, base: bytes, theirs: bytes
) -> bytes | tuple[Hunk, ...] | None:
    """The merged text, or the hunks in conflict; None for what is no text.

    Leaves nothing in `folder`. Raises `GitError` and `OSError`.
    """
    texts = (ours, base, theirs)
    if any(b"\0" in text for text in texts):
        return None
    here = await asyncio.to_thread(_written, folder, texts)
    try:
        command = ("merge-file", "-p", "-q", "--diff3", f"--marker-size={_MARKER}")
        answer = await git(*command, *(str(here / side) for side in _SIDES))
    finally:
        await asyncio.to_thread(shutil.rmtree, here, ignore_errors=True)
    if answer.status == _CLEAN:
        return answer.output
    if answer.status not in _CONFLICTS:
        return None
    merged, mine = answer.output.decode("utf-8", "replace"), ours.decode("utf-8", "replace")
    return tuple(_hunks(merged, mine))


def _written(folder: Path, texts: tuple[bytes, ...]) -> Path:
    here = Path(tempfile.mkdtemp(prefix="merge-", dir=folder))
    for side, text in zip(_SIDES, texts, strict=True):
        (here / side).write_bytes(text)
    return here


def _hunks(merged: str, ours: str) -> Iterator[Hunk]:
    side = ""
    parts: dict[str, list[str]] = {}
    searched = 0
    for line in merged.splitlines(keepends=True):
        sign = _SIGNS.get(line.rstrip("\r\n")[:_MARKER])
        if sign is None:
            if side:
                parts[side].append(line)
            continue
        if sign == "<":
            parts = {each: [] for each in "<|="}
        side = "" if sign == ">" else sign
        if sign == ">":
            mine, base, theirs = ("".join(parts[each]) for each in "<|=")
            searched = max(searched, ours.find(mine, searched))
            yield Hunk(ours.count("\n", 0, searched) + 1, _cut(base), _cut(mine), _cut(theirs))
            searched += len(mine)


def _cut(text: str) -> str:
    return text if len(text) <= HUNK_CHARS else text[: HUNK_CHARS - 1] + "…"
