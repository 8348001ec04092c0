"""Secrets behind names: assignments, fields of JSON, YAML and XML, options of commands, headers, URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hermes_acp.policy.secrets import names
from hermes_acp.policy.secrets.values import LONGEST, Strength, secret

NAME_CHARS = 48
"""Characters of a name on each side of the word that was found in it."""

NESTED = 2
"""So many names are looked at in one text without a gap, as in a=b=c."""

_KINDS = {"password": "password", "token": "secret", "vendor": "api key"}

_NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_REST = re.compile(rf"[\w.-]{{0,{NAME_CHARS}}}+")
_BETWEEN = re.compile(
    r"""\\?["'`]?\]?                                             # the end of a quoted name
        (?:[ \t]{0,20}(?::{1,3}=|[?+]=|={1,3}>?|->|:(?!:))       # name = value
            [ \t]{0,20}(?:\r?\n[ \t]{1,40}(?=["']))?
          |(?<=["'`])[ \t]?,[ \t]{0,4}(?=["'`])                  # call("name", "value")
          |["']?[ ]value[ ]?=[ ]?(?=["'])                        # <add key="name" value="value"
          |>(?=[^<>\s]{1,512}</)                                 # <name>value</name>
        )
        (?:[bruf]{1,2}(?=["'`]))?""",
    re.VERBOSE,
)
_OPTION = re.compile(r"[ \t]{1,4}(?!-)")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey|flyv1)[ \t]{1,4}", re.IGNORECASE)
_QUOTED = re.compile(
    rf"""(["'`])((?:(?!\1)[^\n\\]|\\[^\n]){{1,{LONGEST}}}+)\1""",
)
_ESCAPED = re.compile(rf"""\\(["'])([^\n\\"']{{1,{LONGEST}}}+)\\\1""")
_BARE = re.compile(rf"""[^\s"'`,;<>(){{}}\[\]&|\\?]{{1,{LONGEST + 1}}}+(?![(\[{{])""")
_LINE = re.compile(
    rf"""(?![\w.]{{1,64}}+[(\[{{])[^\s"'`<>\\]{{1,{LONGEST}}}+(?=[ \t]{{0,8}}(?:[ \t]#|\r?\n|\Z))""",
)


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and name of each value that is a secret, in no order; they may overlap."""
    # Offsets stay: only this character has small letters of another number.
    small = text.replace("\u0130", "i").lower()
    done = value_end = nested = 0
    for hit, length in _hits(small):
        if hit < done:
            continue
        begin, done = _name(text, hit, hit + length)
        start = _sign(text, begin, done)
        kind = names.strength(text[begin:done]) if start else None
        if kind is None:
            continue
        value = _value(text, begin, start, kind)
        nested = nested + 1 if value[1] == value_end else 0
        value_end = value[1]
        if nested == NESTED or value[1] - value[0] > LONGEST:
            done = value_end
        elif secret(text[value[0] : value[1]], kind):
            yield (*value, _KINDS[kind])


def _hits(small: str) -> list[tuple[int, int]]:
    """Where the words stand that names can have, and their lengths."""
    hits: list[tuple[int, int]] = []
    for hint in names.hints():
        at = small.find(hint)
        while at >= 0:
            hits.append((at, len(hint)))
            at = small.find(hint, at + len(hint))
    return sorted(hits)


def _name(text: str, start: int, end: int) -> tuple[int, int]:
    ahead = text[max(0, start - NAME_CHARS) : start]
    rest = _REST.match(text, end)
    return start - (len(ahead) - len(ahead.rstrip(_NAME))), rest.end() if rest else end


def _sign(text: str, begin: int, end: int) -> int:
    """Where the value of a name begins: behind a sign, or behind the name of an option; 0 for nowhere."""
    between = _BETWEEN.match(text, end)
    if between is None and text.startswith("-", begin):
        between = _OPTION.match(text, end)
    if between and "," in between[0] and text[begin - 1 : begin] not in ("'", '"', "`"):
        return 0
    return between.end() if between else 0


def _value(text: str, begin: int, start: int, kind: Strength) -> tuple[int, int]:
    start = _after_scheme(text, start)
    if quoted := _QUOTED.match(text, start) or _ESCAPED.match(text, start):
        return _after_scheme(text, quoted.start(2)), quoted.end(2)
    # A password on a line of its own may hold any character; elsewhere some of them end it.
    whole = _LINE.match(text, start) if kind == "password" and _begins_line(text, begin) else None
    value = whole or _BARE.match(text, start)
    return start, _trimmed(text, start, value.end()) if value else start


def _after_scheme(text: str, start: int) -> int:
    """Behind the word `Bearer` of a header."""
    scheme = _SCHEME.match(text, start)
    return scheme.end() if scheme else start


def _begins_line(text: str, begin: int) -> bool:
    ahead = text[max(0, begin - NAME_CHARS) : begin].rpartition("\n")[2]
    return ahead.strip(" \t-") in ("", "export", "set", "ENV")


def _trimmed(text: str, start: int, end: int) -> int:
    """Without the sign at the end that belongs to the sentence or the statement."""
    value = text[start:end]
    if len(value) > LONGEST or value.endswith("..."):
        return end
    return start + len(value.rstrip(".:;,!"))
