"""Whether a value is a secret or an example, a name, a path, a number: pure looks at one short text."""

from __future__ import annotations

import re
import string
from typing import Literal, TypeAlias

LONGEST = 512
"""Characters of the longest value after a name."""

REPEATED = 6
"""So many equal characters side by side are written by hand, and so are four equal groups of them."""

ORDERED = 12
"""So many characters in the order of the alphabet are written by hand, or half of the value."""

SWITCHES = 4
"""So often a random text goes from a letter to a digit or back, or to a capital that begins no word."""

Strength: TypeAlias = Literal["password", "token", "vendor"]
"""What the name of a value promises: a `password` may be short, a `token` is random, and so is what
stands behind the bare name of a `vendor`."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]")
_SWITCH = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])|[a-z](?=[A-Z](?![a-z]{2}))")
_REPEATED = re.compile(rf"([^=])\1{{{REPEATED - 1}}}|([^=]{{2,4}})\2{{3}}")
_STANDING_IN = re.compile(
    r"example|sample|placeholder|your|change[ _-]?(?:me|it|this)|insert|replace|dummy|foo_?bar|redacted"
    r"|hidden|masked|encrypted|x{4}|\*{3}|\.{3}|#{4}|…|[<>{}]|\$[A-Za-z_(]|%[sdv(]|%[a-z_]+%|^@|passw|passphrase"
    r"|secret|token|api[_-]?key|access[_-]?key|credential|user_?name|undefined|null$|none$"
    r"|^(?:my|the|some)[_-]|path/to|^env[.:(]|process\.env|environ|getenv|config[.\[]|^self\.|^this\.|^request\.|^args?\."
)
"""Looked for in small letters."""

_PLACE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,16}://|~?/[\w.@-]*/|\.{1,2}/|[A-Za-z]:\\|www\.")
_DIGEST = re.compile(r"(?:sha(?:1|224|256|384|512)|md5)[:-]", re.IGNORECASE)
_FILE = re.compile(
    r"[\w./@-]+\.(?:py|js|ts|json|ya?ml|toml|txt|md|pem|cer|crt|p12|key|html?|com|org|net|io|dev|local)"
    r"(?::\d+)?",
    re.IGNORECASE,
)
_PICTURE = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "PHN2Zy", "data:")
_MEMBER = re.compile(r"[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)+")
_SYMBOL = re.compile(r"[^\w\s.,:;/\\()\[\]'\"-]")


def handmade(value: str) -> bool:
    """Whether the characters are those of an example: one of them many times, or the alphabet."""
    if _REPEATED.search(value) or "..." in value or "***" in value:
        return True
    longest = _longest_order(value)
    return longest >= ORDERED or longest * 2 >= len(value)


def mixed(value: str) -> bool:
    """Whether there are small letters, capitals and digits, and no handmade runs of them."""
    found = set(value)
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    return not any(found.isdisjoint(kind) for kind in kinds) and not handmade(value)


def secret(value: str, strength: Strength) -> bool:
    """Whether what stands behind a name of this strength is the secret itself."""
    if _UUID.fullmatch(value):
        return not _REPEATED.search(value)
    # The cheap questions come first.
    likely = _password(value) if strength == "password" else _token(value, 10 if strength == "token" else 14)
    return likely and not _harmless(value)


def _harmless(value: str) -> bool:
    if _PLACE.match(value) or _DIGEST.match(value) or _FILE.fullmatch(value) or value.startswith(_PICTURE):
        return True
    return bool(_STANDING_IN.search(value.lower())) or handmade(value)


def _password(value: str) -> bool:
    if len(value) < 6 or len(set(value)) < 5 or not re.search(r"[A-Za-z]", value):
        return False
    if _MEMBER.fullmatch(value):
        return len(_SWITCH.findall(value)) >= SWITCHES
    return bool(_NUMBER.search(value)) or bool(_SYMBOL.search(value) and not value.endswith(("!", "?")))


def _token(value: str, least: int) -> bool:
    """Random letters and digits: they take turns more often than in words, versions and host names."""
    if len(value) < least or len(set(value)) < 7:
        return False
    return len(_SWITCH.findall(value)) >= SWITCHES


def _longest_order(value: str) -> int:
    """Characters of the longest run in which each is the next one of the alphabet."""
    longest = run = 1
    before = 0
    for code in value.encode("utf-8", "surrogatepass"):
        run = run + 1 if code == before + 1 else 1
        longest = max(longest, run)
        before = code
    return longest
