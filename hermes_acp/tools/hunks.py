"""Finding the passages of a patch in a text and replacing them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_acp.tools.base import ToolError
from hermes_acp.tools.patch_format import Hunk
from hermes_acp.tools.replacing import closest

PLACES_NAMED = 10
"""Most places that are named when a passage occurs several times."""


def contents(name: str, hunks: Sequence[Hunk]) -> str:
    """The text of a file that a patch adds. Raises `ToolError` when it does not only add."""
    lines = [line for hunk in hunks for line in hunk.lines]
    if any(line.mark != "+" for line in lines):
        raise ToolError(f"{name}: all lines of a new file begin with `+`. Nothing was written.")
    ends_open = bool(hunks) and hunks[-1].new_open
    return "\n".join(line.text for line in lines) + ("\n" if lines and not ends_open else "")


def apply_hunks(name: str, text: str, hunks: Sequence[Hunk]) -> tuple[str, int]:
    """The text with all hunks applied, and the first line that changed. Raises `ToolError`."""
    lines = text.split("\n")
    done: list[str] = []
    cursor = 0
    first = 1
    for number, hunk in enumerate(hunks, 1):
        old, new = _sides(hunk)
        start = _find(f"{name}, change {number}", lines, cursor, (hunk, old))
        if number == 1:
            first = start + 1
        done += lines[cursor:start]
        done += _merged(lines[start : start + len(old)], hunk, new)
        cursor = start + len(old)
    return "\n".join([*done, *lines[cursor:]]), first


def _sides(hunk: Hunk) -> tuple[list[str], list[str]]:
    """Old and new lines; an empty one at the end stands for the line end of the last line."""
    old, new = hunk.side("-"), hunk.side("+")
    if hunk.new_open and not hunk.old_open:
        return [*old, ""], new
    if hunk.old_open and not hunk.new_open:
        return old, [*new, ""]
    return old, new


def _merged(found: list[str], hunk: Hunk, new: list[str]) -> list[str]:
    """The new lines; those of the context stay as the file has them."""
    ending = "\r" if found and found[0].endswith("\r") else ""
    merged: list[str] = []
    index = 0
    for line in hunk.lines:
        if line.mark == "+":
            merged.append(line.text + ending)
            continue
        if line.mark == " ":
            merged.append(found[index])
        index += 1
    return [*merged, *new[len(merged) :]]


def _find(where: str, lines: list[str], cursor: int, sought: tuple[Hunk, list[str]]) -> int:
    """The index in `lines` at or after `cursor` where the old lines of a hunk are."""
    hunk, old = sought
    start = _after_anchors(where, lines, cursor, hunk.anchors)
    if not old:
        return _insertion(where, lines, start, hunk)
    places = _places(lines, old, start, at_end=hunk.at_end)
    if not places:
        raise ToolError(f"{where}: {_not_found(lines, old, start)}")
    if hunk.line is not None:
        expected = hunk.line - 1
        return min(places, key=lambda place: abs(place - expected))
    if len(places) > 1 and not hunk.anchors:
        named = ", ".join(str(place + 1) for place in places[:PLACES_NAMED])
        raise ToolError(
            f"{where}: its lines occur {len(places)} times (at lines {named}). Nothing was written. Add "
            "lines around the change, or a line like `@@ def name` with a line that comes before it."
        )
    return places[0]


def _after_anchors(where: str, lines: list[str], cursor: int, anchors: Sequence[str]) -> int:
    """The index of the last anchor: the change may begin with that line itself."""
    for anchor in anchors:
        stripped = [line.strip() for line in lines[cursor:]]
        near = [index for index, line in enumerate(stripped) if line == anchor]
        near = near or [index for index, line in enumerate(stripped) if line.startswith(anchor)]
        if not near:
            raise ToolError(f"{where}: the file has no line `{anchor}` from line {cursor + 1} on.")
        cursor += near[0]
    return cursor


def _insertion(where: str, lines: list[str], start: int, hunk: Hunk) -> int:
    end = len(lines) - (lines[-1] == "")
    if hunk.line is not None:
        if not start <= hunk.line <= end:
            raise ToolError(f"{where}: the file has no line {hunk.line} to insert after.")
        return hunk.line
    return start + 1 if hunk.anchors else end


def _places(lines: list[str], old: list[str], start: int, *, at_end: bool) -> list[int]:
    """Where the old lines are, exactly, or else but for spaces at the ends of lines."""
    last = len(lines) - len(old)
    begins = range(max(start, last - (lines[-1] == "")) if at_end else start, last + 1)
    exact = [at for at in begins if lines[at] == old[0] and lines[at : at + len(old)] == old]
    if exact:
        return exact
    wanted = [line.rstrip() for line in old]
    return [
        at
        for at in begins
        if lines[at].rstrip() == wanted[0] and [line.rstrip() for line in lines[at : at + len(old)]] == wanted
    ]


def _not_found(lines: list[str], old: list[str], start: int) -> str:
    if start and _places(lines[: start + len(old)], old, 0, at_end=False):
        return "its lines come before the change above it, nothing was written. Order them as in the file."
    return f"its lines were not found, nothing was written. {closest(chr(10).join(lines), chr(10).join(old))}"
