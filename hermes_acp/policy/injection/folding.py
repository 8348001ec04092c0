"""Text as it looks: without what cannot be seen, with plain letters instead of their look-alikes."""

from __future__ import annotations

import bisect
import functools
import re
import unicodedata
from collections.abc import Iterator

from hermes_acp.records import record

FOREIGN = 0x370
"""Below it are the Latin letters; at it the Greek ones begin."""

_UNSEEN = re.compile(
    "[\u00ad\u0300-\u036f\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]+"
)
"""Also the marks that stand over letters: they are taken away from plain letters alike."""

_OTHERS = re.compile("[^\x00-\x7f]+")

_ALIKE = (
    ("абсԁеһіјԛорѕтувхуԝкмнпгьЅАВСЕНІЈКМОРТХУԚԜҮӏꙅ", "abcdehijqopstybxywkmhnrbSABCEHIJKMOPTXYQWYls"),
    ("αβγεηικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abyenikvoptuxwABEZHIKMNOPTYX"),
    ("օսցհոզռԼՕՍ", "ougnnqnLOU"),
    ("ıȷɑɡɩʏʟɴʀꜱᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢ", "ijagiylnrsabcdefghjkmoptuvwz"),
    ("’‘ʼ“”„‹›«»–—‐‑▁⁄", "'''\"\"\"<><>----_/"),
)
"""Letters of other scripts and signs, and what they look like."""

_RANGES = (
    *((0x00C0, 0x0250), (0x1D00, 0x1DC0), (0x1E00, 0x1F00), (0x2070, 0x209D), (0x2100, 0x2150)),
    *((0x2460, 0x24EA), (0x3000, 0x3001), (0xFF01, 0xFF5F), (0x1D400, 0x1D800), (0x1F130, 0x1F18A)),
)
"""Where letters with accents and other forms of letters are."""


@record
class Folded:
    """A text in small plain letters, and where its characters were."""

    small: str
    removed: tuple[int, ...]
    """For each character that was left out, the place in `small` before which it stood."""

    def origin(self, index: int) -> int:
        """Where the character at `index` was in the text."""
        return index + bisect.bisect_right(self.removed, index)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters from `start` to before `end`, at least one, were in the text."""
        return self.origin(start), self.origin(end - 1) + 1


def fold(text: str) -> Folded:
    """The text in small letters as a person reads it; letters keep their number."""
    if text.isascii():
        return Folded(text.lower(), ())
    removed: list[int] = []
    for run in _UNSEEN.finditer(text):
        place = run.start() - len(removed)
        removed += [place] * len(run[0])
    seen = _UNSEEN.sub("", text) if removed else text
    # Only what is no plain letter is translated: that takes ten times as long as all the rest.
    letters = alike()
    plain = _OTHERS.sub(lambda run: run[0].translate(letters), seen)
    return Folded(plain.lower(), tuple(removed))


def others(text: str) -> str:
    """All its characters that are not plain ASCII, side by side: few, where questions cost least."""
    return "".join(_OTHERS.findall(text))


def is_disguised(phrase: str) -> bool:
    """Whether a phrase has characters that cannot be seen, or look-alike letters of another script.

    Letters with accents are no disguise, for some languages have them.
    """
    return not phrase.isascii() and bool(_disguises().search(phrase))


@functools.lru_cache(maxsize=1)
def alike() -> dict[int, str]:
    """For each letter that looks like a plain one, the plain one."""
    # The first entry has two characters as a small letter, which would shift all that follows.
    letters = {ord(letter): plain for pair in _ALIKE for letter, plain in zip(*pair, strict=True)}
    return {0x130: "I", **dict(_forms()), **letters}


def _forms() -> Iterator[tuple[int, str]]:
    for first, last in _RANGES:
        for code in range(first, last):
            plain = unicodedata.normalize("NFKD", chr(code))[:1]
            if plain.isascii() and plain.isprintable() and plain != chr(code):
                yield code, plain


@functools.lru_cache(maxsize=1)
def _disguises() -> re.Pattern[str]:
    others = (chr(code) for code, plain in alike().items() if code >= FOREIGN and plain.isalnum())
    return re.compile(f"{_UNSEEN.pattern}|[{''.join(map(re.escape, others))}]")
