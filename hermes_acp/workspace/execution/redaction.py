"""Blacks out what looks like a secret in the bytes of a log: pure, and linear in their number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from hermes_acp.config import SECRET_ENDINGS

HIDDEN = b"[hidden]"

SHORTEST = 8
"""Characters of the shortest value that is searched for; shorter ones stand in innocent words."""

BEGIN_KEY = b"-----BEGIN "
"""The start of a private key, which goes on for many lines."""

END_KEY = b"-----END "
"""The start of its last line."""

_HINTS = (
    *(b"sk-", b"rk-", b"pk-", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-"),
    *(b"npm_", b"pypi-", b"hf_", b"xox", b"akia", b"asia", b"aiza", b"eyj", b"authorization"),
    *(b"_key", b"-key", b"ikey", b"skey", b"token", b"secret", b"passw"),
)
"""One of these (in small letters) stands in every line that hides something; looking for them is cheap."""

_KEY = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?")
_SHAPE = re.compile(
    rb"\b(?:[srp]k-|gh[pousr]_|github_pat_|glpat-|npm_|pypi-|hf_|xox[abprs]-)[A-Za-z0-9_-]{16,}"
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    rb"|\bAIza[A-Za-z0-9_-]{30,}"
    rb"|\beyJ[A-Za-z0-9_-]{8,400}\.[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]*"
)
_NAMED = re.compile(
    rb"((?:api[_-]?key|access[_-]?key|token|secret|passw(?:or)?d)[\"']? ?[=:] ?[\"']?"
    rb"|authorization: ?(?:bearer|basic|token) )[^\s\"',;]{8,}",
    re.IGNORECASE,
)


def secrets_of(env: Mapping[str, str]) -> tuple[bytes, ...]:
    """The values of an environment that must not be written down, by the names they have."""
    named = (value for name, value in env.items() if name.upper().endswith(SECRET_ENDINGS))
    return tuple(value.encode("utf-8", "surrogateescape") for value in named if len(value) >= SHORTEST)


def redacted(data: bytes, known: Iterable[bytes] = ()) -> bytes:
    """The bytes with `HIDDEN` in place of `known` values and of all that has the shape of a secret."""
    for value in known:
        data = data.replace(value, HIDDEN)
    if BEGIN_KEY in data:
        data = _KEY.sub(HIDDEN, data)
    pieces: list[bytes] = []
    done = 0
    for start, end in _suspicious(data):
        pieces += (data[done:start], _NAMED.sub(rb"\1" + HIDDEN, _SHAPE.sub(HIDDEN, data[start:end])))
        done = end
    return b"".join((*pieces, data[done:]))


def _suspicious(data: bytes) -> list[tuple[int, int]]:
    """Start and end of the lines that hold a hint, in order."""
    small = data.lower()
    lines: set[tuple[int, int]] = set()
    for hint in _HINTS:
        at = small.find(hint)
        while at >= 0:
            end = small.find(b"\n", at)
            end = len(small) if end < 0 else end
            lines.add((small.rfind(b"\n", 0, at) + 1, end))
            at = small.find(hint, end)
    return sorted(lines)
