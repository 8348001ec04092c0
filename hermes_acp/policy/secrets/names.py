"""What the name of a value says: that a password, a token or a service's key stands behind it, or nothing."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hermes_acp.policy.secrets.values import Strength

FILE = Path(__file__).parents[1] / "patterns" / "names.toml"
"""The words; the file says what each list is."""

HINTS = ("pwd", "pass", "secret", "token", "key", "auth", "credential", "cookie", "bearer")
"""One of these or a service (in small letters) stands in every name of a secret."""

_ENDS = ("password", "passwd", "passphrase")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@functools.lru_cache(maxsize=1)
def hints() -> tuple[str, ...]:
    """What is searched for in a text in small letters, to find names."""
    return (*HINTS, *sorted(_words()["vendors"]))


@functools.lru_cache(maxsize=1024)
def strength(name: str) -> Strength | None:
    """What kind of value stands behind a name such as `DB_PASSWORD`, `apiKey` or `x-auth-token`."""
    words = _words()
    parts = [part.lower() for part in _PARTS.findall(name)]
    while len(parts) > 1 and (parts[-1] in words["after"] or parts[-1].isdigit()):
        parts.pop()
    if not parts or not words["harmless"].isdisjoint(parts[:-1]):
        return None
    last, others = parts[-1], parts[:-1]
    if last in words["passwords"] or last.endswith(_ENDS):
        return "password"
    if last in words["tokens"] or (last == "key" and not words["keys"].isdisjoint(others)):
        return "token"
    sold = not words["vendors"].isdisjoint((*others, "".join(others)))
    return "vendor" if last in words["vendors"] or (last in words["logins"] and sold) else None


@functools.lru_cache(maxsize=1)
def _words() -> Mapping[str, frozenset[str]]:
    data = cast("dict[str, str]", tomllib.loads(FILE.read_text("utf-8")))
    return {name: frozenset(words.split()) for name, words in data.items()}
