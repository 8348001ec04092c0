"""The lines of a change with their numbers: pure, and bounded for files of any size."""

from __future__ import annotations

import difflib
from typing import Literal

from hermes_acp.cli.attach.pieces import Change
from hermes_acp.records import record

CONTEXT = 3
"""Unchanged lines that are shown around a change."""
COMPARED = 2_000
"""Lines between the first and the last difference that are compared; more count as replaced as a whole."""


@record
class Line:
    """A line of a diff; `number` counts in the old file for a removed line, else in the new one."""

    kind: Literal["same", "removed", "added", "gap"]
    number: int
    text: str


def lines(change: Change) -> tuple[Line, ...]:
    """What changed, with its surroundings; a gap stands for unchanged lines between."""
    old, new = (change.before or "").splitlines(), change.after.splitlines()
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    start, old_end, new_end = max(0, head - CONTEXT), len(old) - tail, len(new) - tail
    found: list[Line] = []
    _same(found, new, start, head)
    _compared(found, old[head:old_end], new[head:new_end], head)
    _same(found, new, new_end, min(len(new), new_end + CONTEXT))
    return tuple(found)


def counts(change: Change) -> tuple[int, int]:
    """How many lines were added and removed."""
    kinds = [line.kind for line in lines(change)]
    return kinds.count("added"), kinds.count("removed")


def _common(one: list[str], other: list[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _compared(found: list[Line], old: list[str], new: list[str], offset: int) -> None:
    if len(old) + len(new) > COMPARED:
        found += [Line("removed", offset + at, text) for at, text in enumerate(old, 1)]
        found += [Line("added", offset + at, text) for at, text in enumerate(new, 1)]
        return
    matcher = difflib.SequenceMatcher(None, old, new)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            _between(found, new, (new_from, new_to), offset)
            continue
        found += [Line("removed", offset + at + 1, old[at]) for at in range(old_from, old_to)]
        found += [Line("added", offset + at + 1, new[at]) for at in range(new_from, new_to)]


def _between(found: list[Line], new: list[str], where: tuple[int, int], offset: int) -> None:
    start, end = where
    if end - start <= 2 * CONTEXT + 1:
        found += [Line("same", offset + at + 1, new[at]) for at in range(start, end)]
        return
    found += [Line("same", offset + at + 1, new[at]) for at in range(start, start + CONTEXT)]
    found.append(Line("gap", 0, f"{end - start - 2 * CONTEXT} unchanged lines"))
    found += [Line("same", offset + at + 1, new[at]) for at in range(end - CONTEXT, end)]


def _same(found: list[Line], new: list[str], start: int, end: int) -> None:
    found += [Line("same", at + 1, new[at]) for at in range(start, end)]
