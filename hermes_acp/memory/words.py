"""Takes a question apart as it was typed: its content words, and those that its answer may use instead."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import cast

from hermes_acp.records import record
from hermes_acp.storage import recall_words

MOST_WORDS = 24
"""Content words of a question that are looked for, the first ones."""
RELATED_WORDS = 40
"""Related words of one word, the first ones."""

_VERB = "do|does|did|is|are|was|were|can|could|might|would"
_ASKED = re.compile(
    rf"""\b(?:what|which|whose|how\ many)\b
    ((?:\ [\w'’-]+){{1,5}}?)(?=\ (?:{_VERB}|has|have|had|will|should)\b|[?.,]|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_KIND_OF = re.compile(r"\b(?:kind|sort|type|form)s?\s+of\b", re.IGNORECASE)
_MANY = re.compile(
    rf"""\bhow\ many\b
    | \b(?:has|have)\b  # Ever, at some time.
    | \b(?:what|which)\ (?:[\w'’-]+\ ){{0,3}}?\w+(?<![sui])s\ (?:{_VERB})\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


@record
class Word:
    """A content word of a question.

    `forms` are the word and its other forms, any of which is as good. `related` words are a weaker sign,
    the surest first; of the word that is `asked` for they are what the answer says instead of it. A word
    of `doing` says less than what it is said of.
    """

    text: str
    forms: tuple[str, ...]
    related: tuple[str, ...] = ()
    asked: bool = False
    doing: bool = False


@record
class _Families:
    stop: frozenset[str]
    saying: frozenset[str]
    forms: Mapping[str, frozenset[str]]
    doing: frozenset[str]
    related: Mapping[str, tuple[str, ...]]


def content(question: str) -> list[Word]:
    """The content words, each once; all words when the question has no other; none in one without words."""
    typed = _typed(question)
    stop = _families().stop
    chosen = [word for word in _typed(_KIND_OF.sub(" ", question)) if word not in stop] or typed
    asked = _asked(question)
    return [_word(word, asked=word in asked) for word in chosen[:MOST_WORDS]]


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


def _typed(question: str) -> list[str]:
    return list(dict.fromkeys(word.casefold() for word in recall_words.words(question)))


def _asked(question: str) -> frozenset[str]:
    """The words between what, which or how many and the verb, or the end of a short question."""
    found = _ASKED.findall(" ".join(question.split()))
    return frozenset(word.casefold() for words in found for word in recall_words.words(words))


def _word(word: str, *, asked: bool) -> Word:
    families = _families()
    bases = _bases(word)
    forms = frozenset[str]().union(*(families.forms.get(base, ()) for base in bases))
    forms = forms - families.stop - {word}
    near = (other for base in sorted(bases | forms) for other in families.related.get(base, ()))
    related = [other for other in dict.fromkeys(near) if other != word and other not in forms]
    return Word(word, (word, *sorted(forms)), tuple(related[:RELATED_WORDS]), asked, word in families.doing)


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
    tables = _table("families.toml")
    stop, saying, doing = (
        frozenset(cast("str", tables[name]).split()) for name in ("stop", "saying", "doing")
    )
    related = {
        word: tuple(sorted(group)) for word, group in _groups(cast("list[str]", tables["alike"])).items()
    }
    for heads, members in cast("dict[str, str]", _table("kinds.toml")).items():
        for head in heads.split():
            related[head] = (*related.get(head, ()), *members.split())
    return _Families(stop, saying, _groups(cast("list[str]", tables["forms"])), doing, related)


def _table(name: str) -> dict[str, object]:
    return tomllib.loads((resources.files("hermes_acp.memory") / name).read_text("utf-8"))


def _groups(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    groups = [frozenset(line.split()) for line in lines]
    return {word: group for group in groups for word in group}
