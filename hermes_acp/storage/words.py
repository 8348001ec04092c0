"""Words that somebody looks for, whatever their case and however their accents are encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from hermes_acp.records import record

MOST = 32
"""Different words of one search."""


class BadWords(ValueError):
    """There is nothing to look for, or too much; `str()` says so."""


@record
class Place:
    """Where a word stands in a text; `word` is its number among the words."""

    start: int
    end: int
    word: int


@record
class Words:
    """Different words, `folded`; none is empty and none has white space in it."""

    folded: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Words:
        """The words of what was typed. Raises `BadWords`."""
        # An argument that is not valid UTF-8 arrives with lone surrogates, which no text has.
        typed = (text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in texts)
        folded = tuple(dict.fromkeys(word for text in typed for word in fold(text).split()))
        if not folded:
            raise BadWords("There is nothing to look for: give one or more words.")
        if len(folded) > MOST:
            raise BadWords(f"{len(folded)} words are too many to look for: give up to {MOST}.")
        return cls(folded)

    def count(self, text: str) -> list[int]:
        """How often each word occurs in a text, also inside other words."""
        folded = fold(text)
        return [folded.count(word) for word in self.folded]

    def places(self, text: str, most: int) -> list[Place]:
        """Where the words stand in a `normal` text, by their beginning; the first `most` of each word."""
        folded = fold(text)
        # Folding makes characters longer, never fewer: equally long means that each kept its place.
        origin = range(len(text)) if len(folded) == len(text) else _origins(text)
        places: list[Place] = []
        for number, word in enumerate(self.folded):
            end = 0
            for _ in range(most):
                if (at := folded.find(word, end)) < 0:
                    break
                end = at + len(word)
                places.append(Place(origin[at], origin[end - 1] + 1, number))
        return sorted(places, key=lambda place: (place.start, -place.end))


def normal(text: str) -> str:
    """The text with its accents encoded in the usual way."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """The text as it is compared."""
    return text.lower() if text.isascii() else normal(text).casefold()


def _origins(text: str) -> list[int]:
    """For each character of the folded text, which one of the text it comes from."""
    return [index for index, char in enumerate(text) for _ in char.casefold()]
