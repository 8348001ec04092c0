"""Tokens that say by their shape what they are: the table of shapes, and the search for them."""

from __future__ import annotations

import base64
import binascii
import functools
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from hermes_acp.policy.secrets.values import handmade, mixed
from hermes_acp.records import record

FILE = Path(__file__).parents[1] / "patterns" / "tokens.toml"
"""The data; its first lines explain the format."""

SHORTEST = 12
"""No token has fewer characters; words that are shorter are not looked at."""

SHORTEST_OTHER = 43
"""Characters of the shortest token that begins with nothing known."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]")
_CHARS = "A-Za-z0-9_./+=~:%$-"
_END = r"(?![A-Za-z0-9_-])"
_UNBROKEN = bytes(
    97 if chr(code).isascii() and re.match(r"[\w.|-]", chr(code)) else 32 for code in range(256)
)
"""Makes the letter a of what such a token is made of, and a blank of all else."""


@record
class Shape:
    """A kind of token; see the table."""

    name: str
    starts: tuple[str, ...]
    before: tuple[int, ...]
    pattern: re.Pattern[str]
    check: Callable[[str], bool]


@record
class Shapes:
    """The table, by where the search begins."""

    words: Mapping[str, tuple[tuple[str, Shape], ...]]
    """By the first two characters of `starts`, for those that begin a word."""
    beginning: re.Pattern[str]
    """The first two characters of a word that is long enough and may begin so."""
    inside: tuple[tuple[str, Shape], ...]
    """Those whose `starts` can stand anywhere."""
    anywhere: tuple[Shape, ...]
    """Those without `starts`."""


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and name of each token, in no order; they may overlap."""
    shapes = table()
    for word in shapes.beginning.finditer(text):
        for start, shape in shapes.words.get(word[0], ()):
            if text.startswith(start, word.start()) and (found := _matched(shape, text, word.start())):
                yield found
    for start, shape in shapes.inside:
        yield from _inside(start, shape, text)
    if _is_unbroken(text):
        for shape in shapes.anywhere:
            yield from filter(None, (_found(shape, match) for match in shape.pattern.finditer(text)))


@functools.lru_cache(maxsize=1)
def table() -> Shapes:
    """The table, read at its first use. Raises `KeyError` and `re.error` when the file is wrong."""
    data = tomllib.loads(FILE.read_text("utf-8"))
    shapes = [_shape(entry) for entry in cast("list[dict[str, object]]", data["token"])]
    words: dict[str, list[tuple[str, Shape]]] = {}
    inside: list[tuple[str, Shape]] = []
    for shape in shapes:
        for start in shape.starts:
            begins_word = shape.before == (0,) and _WORD.match(start)
            (words.setdefault(start[:2], []) if begins_word else inside).append((start, shape))
    return Shapes(
        {first: tuple(found) for first, found in words.items()},
        _beginning(words),
        tuple(inside),
        tuple(shape for shape in shapes if not shape.starts),
    )


def _beginning(firsts: Iterable[str]) -> re.Pattern[str]:
    seconds: dict[str, str] = {}
    for first in firsts:
        seconds[first[0]] = seconds.get(first[0], "") + first[1]
    pairs = "|".join(f"{one}[{re.escape(others)}]" for one, others in seconds.items())
    # The first look refuses most words by their length, before the pairs are tried.
    return re.compile(rf"(?<![A-Za-z0-9_])(?=[{''.join(seconds)}][{_CHARS}]{{{SHORTEST - 1}}})(?:{pairs})")


def _is_unbroken(text: str) -> bool:
    """Whether there are enough characters in a row for a token that begins with nothing known."""
    data = text.encode("latin-1", "replace").replace(b"----", b" ")
    return b"a" * SHORTEST_OTHER in data.translate(_UNBROKEN)


def _shape(entry: Mapping[str, object]) -> Shape:
    return Shape(
        name=cast("str", entry["name"]),
        starts=tuple(cast("list[str]", entry["starts"])),
        before=tuple(cast("list[int]", entry.get("before", [0]))),
        pattern=re.compile(cast("str", entry["pattern"]) + _END),
        check=_CHECKS[cast("str", entry.get("check", "random"))],
    )


def _inside(start: str, shape: Shape, text: str) -> Iterator[tuple[int, int, str]]:
    at = text.find(start)
    while at >= 0:
        after = at + len(start)
        for before in shape.before:
            if before <= at and (found := _at(shape, text, at - before)):
                yield found
                after = max(after, found[1])
                break
        at = text.find(start, after)


def _at(shape: Shape, text: str, place: int) -> tuple[int, int, str] | None:
    if place and text[place].isalnum() and (text[place - 1].isalnum() or text[place - 1] == "_"):
        return None
    return _matched(shape, text, place)


def _matched(shape: Shape, text: str, place: int) -> tuple[int, int, str] | None:
    match = shape.pattern.match(text, place)
    return _found(shape, match) if match else None


def _found(shape: Shape, match: re.Match[str]) -> tuple[int, int, str] | None:
    group = 1 if shape.pattern.groups else 0
    if not shape.check(match[group]):
        return None
    return (match.start(group), match.end(group), shape.name)


def _web_token(value: str) -> bool:
    head = value.partition(".")[0]
    try:
        decoded = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False
    return decoded.startswith(b"{") and decoded.rstrip().endswith(b"}")


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "exact": lambda _: True,
    "random": lambda value: not handmade(value),
    "mixed": mixed,
    "openai": lambda value: "T3BlbkFJ" in value and not handmade(value),
    "jwt": _web_token,
}
