"""Words as the recall index has them: what its tokenizer cannot split or would drop is spelled out.

The tokenizer keeps a run of Chinese or Japanese as one word, a `camelCase` name as another, and drops
emoji. For each text there are `extra` words that make the parts of these findable, and a question is
spelled in the same way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

EXTRA_WORDS = 2_000
"""Extra words of one passage: more are left out, which only a text without spaces reaches."""
LONGEST = 64
"""Characters of a word in a question that are looked for."""

# Scripts that are written without spaces: kana, Han, Thai, Lao, Khmer, Myanmar.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_NAME = re.compile(r"\b[A-Za-z0-9]*(?:[a-z0-9][A-Z]|[A-Z]{2}[a-z])[A-Za-z0-9]*")
_INSIDE = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_WORD = re.compile(r"\w+")


def extra(text: str) -> str:
    """The words that the tokenizer would not make of a text, in the order of the text, each once."""
    # Few texts have such names, and looking for all of a name takes longer.
    names = _NAME.findall(text) if _INSIDE.search(text) else ()
    found = [part for name in names for part in _PART.findall(name)]
    if not text.isascii():
        for run in _RUN.findall(text):
            found += [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
        found += [_symbol(char) for char in text if _is_symbol(char)]
    return " ".join(list(dict.fromkeys(found))[:EXTRA_WORDS])


def words(text: str) -> list[str]:
    """The words of a question in their order, as `match` takes them.

    What is written without spaces becomes pairs of characters, which occur in that order in few texts.
    """
    spelled = text if text.isascii() else _spelled(text)
    return [word for chunk in _WORD.findall(spelled) for word in chunk[:LONGEST].split("_") if word]


def match(alternatives: Iterable[str]) -> str:
    """The expression of the index that finds passages with one of these words, in text or extra words."""
    listed = " OR ".join(f'"{_plain(word)}"' for word in alternatives)
    return f"{{text extra}} : ({listed})"


def match_beginning(word: str) -> str:
    """The expression that finds words which begin so."""
    return f'{{text extra}} : "{_plain(word)}" *'


def match_phrase(text: str) -> str:
    """The expression that finds this very text, whatever stands between its words; needs a word."""
    return f'text : "{_plain(" ".join(_WORD.findall(text)))}"'


def match_speaker(word: str) -> str:
    """The expression that finds what somebody said who is named so."""
    return f'speaker : "{_plain(word)}"'


def _spelled(text: str) -> str:
    spaced = _RUN.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", unicodedata.normalize("NFC", text))
    return "".join(f" {_symbol(char)} " if _is_symbol(char) else char for char in spaced)


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


def _is_symbol(char: str) -> bool:
    return char > "\x7f" and unicodedata.category(char) == "So"


def _symbol(char: str) -> str:
    return f"u{ord(char):x}"


def _plain(word: str) -> str:
    return word.replace('"', " ").replace("\0", " ")
