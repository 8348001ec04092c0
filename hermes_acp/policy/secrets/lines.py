"""Secrets in long outputs: a cheap look at all lines finds those that deserve the whole look; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from hermes_acp.config import SECRET_ENDINGS
from hermes_acp.policy.secrets import Span, find, replaced

SHORTEST = 8
"""Characters of the shortest known value that is searched for; shorter ones stand in innocent words."""

BEGIN_KEY = b"-----BEGIN "
"""The start of a private key, which goes on for many lines."""

END_KEY = b"-----END "
"""The start of its last line."""

UNBROKEN = 20
"""So many letters and digits in a row are worth a look; shorter tokens begin with one of the hints."""

_HINTS = (
    *(b"pwd", b"passw", b"passphrase", b"secret", b"token", b"_key", b"-key", b"ikey", b"skey", b"authoriz"),
    *(b"credential", b"cookie", b"bearer", b"_live_", b"_test_", b"xox", b"akc", b"eyj", b"asic ", b" -u"),
    *(b"--user", b"login "),
)
"""In small letters. Looking for them is what a long output costs."""

_WORD = bytes(97 if re.match(rb"[A-Za-z0-9_-]", bytes((code,))) else 32 for code in range(256))


def of_environment(env: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment that nobody else should read, by the names they have."""
    named = (value for name, value in env.items() if name.upper().endswith(SECRET_ENDINGS))
    return tuple(value for value in named if len(value) >= SHORTEST)


def redacted(data: bytes, known: Iterable[str] = ()) -> bytes:
    """The bytes of whole lines with marks in place of secrets and of `known` values."""
    for value in known:
        data = data.replace(value.encode("utf-8", "surrogateescape"), b"[redacted: environment]")
    # One character for each byte: what is searched for is ASCII.
    return replaced(text := data.decode("latin-1"), suspected(text)).encode("latin-1")


def suspected(text: str) -> Iterator[Span]:
    """The secrets in the lines that look as if they had some; the rest is not looked at."""
    for start, end in _stretches(text):
        for span in find(text[start:end]):
            yield Span(start + span.start, start + span.end, span.kind)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the suspicious lines; those side by side, and the lines of a key, are one."""
    # One byte for each character, whatever it is: what is searched for is ASCII, and bytes are quick.
    data = text.encode("latin-1", "replace")
    first = last = -1
    for start, end in sorted({*_hinted(data), *_users(data), *_unbroken(data), *_armoured(data)}):
        if start > last:
            if first >= 0:
                yield first, last
            first, last = start, end
        last = max(last, end)
    if first >= 0:
        yield first, last


def _hinted(data: bytes) -> Iterator[tuple[int, int]]:
    small = data.lower()
    for hint in _HINTS:
        yield from _lines(small, hint)


def _users(data: bytes) -> Iterator[tuple[int, int]]:
    return (line for line in _lines(data, b"://") if b"@" in data[slice(*line)])


def _unbroken(data: bytes) -> Iterator[tuple[int, int]]:
    return _lines(data.replace(b"-----", b"     ").translate(_WORD), b"a" * UNBROKEN, data)


def _armoured(data: bytes) -> Iterator[tuple[int, int]]:
    for start, end in _lines(data, BEGIN_KEY):
        close = data.find(END_KEY, end)
        yield start, len(data) if close < 0 else _line(data, close)[1]


def _lines(searched: bytes, part: bytes, data: bytes = b"") -> Iterator[tuple[int, int]]:
    """The lines of `data` (of what is searched, without) that hold `part`."""
    at = searched.find(part)
    while at >= 0:
        yield (line := _line(data or searched, at))
        at = searched.find(part, line[1])


def _line(data: bytes, at: int) -> tuple[int, int]:
    end = data.find(b"\n", at)
    return data.rfind(b"\n", 0, at) + 1, len(data) if end < 0 else end + 1


def whole(text: str) -> int:
    """Up to where a text can be looked at, of which more will come: before the last word, or line, or key."""
    start = max(text.rfind("\n"), text.rfind("\r")) + 1
    line = text[start:]
    if any(hint in line.encode("latin-1", "replace").lower() for hint in _HINTS):
        cut = start
    else:
        cut = start + len(line.rpartition(" ")[0]) if line and not line[-1].isspace() else len(text)
    begin = text.rfind(BEGIN_KEY.decode())
    if begin >= 0 and text.find(END_KEY.decode(), begin, start) < 0:
        cut = min(cut, begin)
    return cut
