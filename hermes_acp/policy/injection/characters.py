"""Characters that hide a text or show another one: tags, invisible runs, direction overrides, look-alikes.

What people write with such characters stays: emoji with joiners and selectors, flags, Arabic, Persian,
Hebrew and the scripts of India, soft hyphens between syllables, a mark of the byte order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hermes_acp.policy.injection.folding import alike, others

SCATTERED = 4
"""So many joiners between plain letters hide something: no writing needs them there."""

WORD_CHARS = 4
"""Letters of the shortest word that is looked at for letters of two scripts."""

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_ZERO_WIDTH = (
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u2060-\u2064\u206a-\u206f\ufeff\U0001d173-\U0001d17a"
)
_FILLER = "\u115f\u1160\u3164\uffa0"
_TAG = "\U000e0000-\U000e007f"
_SELECTOR = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ANY = re.compile(f"[{_INVISIBLE}\u202a-\u202e\u2066-\u2069]")

_HIDING = re.compile(
    # A flag of a region is a black flag, the letters of the region as tags, and the end of tags.
    f"\U0001f3f4[\U000e0061-\U000e007a]{{2}}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{1,3}}\U000e007f"
    f"|(?P<tags>[{_TAG}]+)"
    f"|(?P<selectors>[{_SELECTOR}]{{2,}}|(?<![{_IDEOGRAPH}])[\U000e0100-\U000e01ef])"
    f"|(?P<odd>(?<=[ -/1-~\U0001f000-\U0001faff])[\ufe00-\ufe0d])"
    f"|(?P<run>[{_ZERO_WIDTH}]{{3,}}|[{_FILLER}]{{2,}}|[\u00ad]{{2,}})"
)
_SPRINKLED = re.compile(f"(?:[ -~\u00a0-\u00ac\u00ae-\u024f][{_INVISIBLE}]{{1,4}}+){{4,}}+")
_JOINER = re.compile("(?<=[ -~])[\u200c\u200d\u2060-\u2064\u180e\u206a-\u206f](?=[ -~])")
_OVERRIDE = re.compile("[\u202d\u202e][^\n\u202c]{0,4096}+[\u202c\n]?")
_EMBEDDING = re.compile("[\u2067\u202b]([^\n\u2069\u202c]{0,4096}+)[\u2069\u202c\n]?")
_CYRILLIC = re.compile("[\u0400-\u052f]")
_MIXED = re.compile(
    "[A-Za-z]{1,32}+[\u0400-\u052f][A-Za-z\u0400-\u052f]{0,64}+"
    "|[\u0400-\u052f]{1,32}+[A-Za-z][A-Za-z\u0400-\u052f]{0,64}+"
)


def find(text: str) -> Iterator[tuple[int, int]]:
    """Where something is hidden, in no order; the places may overlap."""
    if text.isascii():
        return
    few = others(text)
    if _ANY.search(few):
        yield from (match.span() for match in _HIDING.finditer(text) if match.lastgroup)
        yield from (match.span() for match in _SPRINKLED.finditer(text))
        joiners = [match.span() for match in _JOINER.finditer(text)]
        yield from joiners if len(joiners) >= SCATTERED else ()
        yield from _turned(text)
    if _CYRILLIC.search(few):
        yield from _mixed(text)


def _turned(text: str) -> Iterator[tuple[int, int]]:
    """Text in the wrong direction: overrides, and others where nothing is written from right to left."""
    yield from (match.span() for match in _OVERRIDE.finditer(text))
    for match in _EMBEDDING.finditer(text):
        if not _RTL.search(match[1]):
            yield match.span()


def _mixed(text: str) -> Iterator[tuple[int, int]]:
    """Words of plain letters and of Cyrillic ones that look like these."""
    plain = alike()
    for match in _MIXED.finditer(text):
        if len(match[0]) >= WORD_CHARS and all(char.isascii() or ord(char) in plain for char in match[0]):
            yield match.span()
