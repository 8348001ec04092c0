"""Words and markers that give orders to a model: the table of phrases, and the search for them."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from hermes_acp.policy.injection.folding import Folded, others
from hermes_acp.records import record

FILE = Path(__file__).parents[1] / "patterns" / "phrases.toml"
"""The data; its first lines explain the format."""

_WORD = re.compile(r"[a-z0-9]+")
_GAP = r"[^a-z0-9]{1,6}+"
_ANY = r"[a-z0-9]{1,24}+"
_END = r"(?![a-z0-9])"


@record
class Marker:
    """Something that begins with one of `starts`."""

    starts: tuple[str, ...]
    pattern: re.Pattern[str]


@record
class Phrases:
    """The table: what can follow each first word, and what is not made of words."""

    following: Mapping[str, re.Pattern[str]]
    markers: tuple[Marker, ...]
    foreign: tuple[Marker, ...]


def find(folded: Folded) -> Iterator[tuple[int, int]]:
    """Where the phrases and markers stand in the text that was folded, in no order; they may overlap."""
    phrases = table()
    for start, end in _spoken(phrases.following, folded.small):
        yield folded.span(start, end)
    for start, end in _marked(phrases.markers, folded.small):
        yield folded.span(start, end)


def find_foreign(text: str) -> Iterator[tuple[int, int]]:
    """Where phrases in other scripts stand: in them, what looks like a plain letter is none."""
    if few := others(text.replace("\u0130", "i").lower()):
        letters = frozenset(few)
        here = [marker for marker in table().foreign if any(start[0] in letters for start in marker.starts)]
        yield from _marked(here, text.replace("\u0130", "i").lower())


def _spoken(following: Mapping[str, re.Pattern[str]], small: str) -> Iterator[tuple[int, int]]:
    for word in _WORD.finditer(small):
        rest = following.get(word[0])
        if rest and (match := rest.match(small, word.end())):
            yield word.start(), match.end()


def _marked(markers: Iterable[Marker], small: str) -> Iterator[tuple[int, int]]:
    for marker in markers:
        for start in marker.starts:
            at = small.find(start)
            while at >= 0:
                match = marker.pattern.match(small, at)
                if match:
                    yield match.span()
                at = small.find(start, match.end() if match else at + len(start))


@functools.lru_cache(maxsize=1)
def table() -> Phrases:
    """The table, read at its first use. Raises `KeyError` and `re.error` when the file is wrong."""
    data = tomllib.loads(FILE.read_text("utf-8"))
    words = cast("dict[str, str]", data["words"])
    following: dict[str, list[str]] = {}
    for group in cast("dict[str, list[str]]", data["phrases"]).values():
        for phrase in group:
            firsts, *items = phrase.split()
            rest = _rest(items, words)
            for first in firsts.split("|"):
                following.setdefault(first, []).append(rest)
    return Phrases(
        {first: re.compile("|".join(rests)) for first, rests in following.items()},
        _markers(data["marker"]),
        _markers(data["foreign"]),
    )


def _markers(entries: object) -> tuple[Marker, ...]:
    return tuple(
        Marker(tuple(cast("list[str]", entry["starts"])), re.compile(cast("str", entry["pattern"])))
        for entry in cast("list[dict[str, object]]", entries)
    )


def _rest(items: Iterable[str], words: Mapping[str, str]) -> str:
    """The regular expression for what follows the first word."""
    return _END + "".join(_item(item, words) for item in items)


def _item(item: str, words: Mapping[str, str]) -> str:
    if item == ":":
        return r"[^a-z0-9:!,]{0,3}+[:!,]"
    if item.startswith(".."):
        return rf"(?:{_GAP}{_ANY}){{0,{int(item[2:])}}}?"
    optional = item.endswith("?")
    choices = "|".join(
        _choice(word)
        for name in item.removesuffix("?").split("|")
        for word in (words[name[1:]].split() if name.startswith("$") else (name,))
    )
    return rf"(?:{_GAP}(?:{choices}){_END}){'?' if optional else ''}"


def _choice(word: str) -> str:
    ending = r"[a-z0-9]{0,16}+" if word.endswith("*") else ""
    return _GAP.join(map(re.escape, word.removesuffix("*").split("-"))) + ending
