"""Takes a question apart as it was typed: its content words, and those that its answer may use instead."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import cast

from hermes_acp.storage import recall_words

MOST_WORDS = 24
"""Content words of a question that are looked for, the first ones."""
RELATED_WORDS = 60
"""Related words of one word."""

_MANY = re.compile(
    r"""\bhow\ many\b
    | \b(?:has|have)\b  # Ever, at some time.
    | \b(?:what|which)\ (?:[\w'’-]+\ ){0,3}?\w+(?<![sui])s
      \ (?:do|does|did|is|are|was|were|can|could|would|might)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A content word of a question.

    `forms` are the word and its other forms, any of which is as good; `related` words are a weaker sign.
    """

    text: str
    forms: tuple[str, ...]
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Families:
    stop: frozenset[str]
    saying: frozenset[str]
    forms: Mapping[str, frozenset[str]]
    related: Mapping[str, frozenset[str]]


def content(question: str) -> list[Word]:
    """The content words, each once; all words when the question has no other; none in one without words."""
    typed = list(dict.fromkeys(word.casefold() for word in recall_words.words(question)))
    chosen = [word for word in typed if word not in _families().stop] or typed
    return [_word(word) for word in chosen[:MOST_WORDS]]


def pattern(question: str) -> re.Pattern[str]:
    """Finds the content words of a question in a text, in any form that begins like them."""
    forms = {form for word in content(question) for form in word.forms}
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(forms)))})", re.IGNORECASE)


def is_about_saying(words: Iterable[Word]) -> bool:
    """Whether the words only say that something was said."""
    return all(word.text in _families().saying for word in words)


def asks_for_several(question: str) -> bool:
    """Whether the answer may be spread over the whole history: how many, which things, what has ever been."""
    return bool(_MANY.search(" ".join(question.split())))


def beginning(word: str) -> str:
    """The part of a word that is looked for when the word itself occurs nowhere: it may be misspelled."""
    return word[: max(3, len(word) // 2)]


def _word(word: str) -> Word:
    families = _families()
    bases = _bases(word)
    forms = _of(families.forms, bases) - families.stop - {word}
    related = _of(families.related, bases | forms) - forms - {word}
    return Word(word, (word, *sorted(forms)), tuple(sorted(related)[:RELATED_WORDS]))


def _of(family: Mapping[str, frozenset[str]], bases: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(family.get(base, frozenset()) for base in bases))


def _bases(word: str) -> frozenset[str]:
    """The word and what it may be a regular form of; wrong guesses are no words and find nothing."""
    found = {word}
    for ending, others in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            found |= {stem + other for other in others}
            if ending in ("ed", "ing") and stem[-1] == stem[-2]:
                found.add(stem[:-1])
    return frozenset(found)


_ENDINGS = (("s", ("",)), ("es", ("",)), ("ies", ("y",)), ("ed", ("", "e")), ("ing", ("", "e")))


@functools.cache
def _families() -> _Families:
    text = (resources.files("hermes_acp.memory") / "families.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    stop, saying = (frozenset(cast("str", tables[name]).split()) for name in ("stop", "saying"))
    related = _groups(cast("list[str]", tables["alike"]))
    for heads, members in cast("dict[str, str]", tables["kinds"]).items():
        for head in heads.split():
            related[head] = related.get(head, frozenset()) | frozenset(members.split())
    return _Families(stop, saying, _groups(cast("list[str]", tables["forms"])), related)


def _groups(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    groups = [frozenset(line.split()) for line in lines]
    return {word: group for group in groups for word in group}
