"""Puts one entry into a JSON file that people keep by hand, and changes no other character of it."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TypeAlias, cast

from hermes_acp.records import record

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

DEFAULT_INDENT = "  "
_SPACE = re.compile(r"[ \t\r\n]*")
_INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)


class NotMergeable(Exception):
    """The text is not what we can change safely; `str()` says why."""


@record
class _Member:
    name: str
    start: int
    end: int


def merged(text: str, group: str, name: str, entry: Object) -> str:
    """The text with `group.name` set to `entry`; the text itself when it is there already.

    Further members that the user gave the entry stay. Raises `NotMergeable`.
    """
    whole = _parsed(text)
    present = whole.get(group, {})
    if not isinstance(present, dict):
        raise NotMergeable(f"its {group!r} is no object")
    before = present.get(name)
    wanted = {**entry, **before, **_fixed(entry)} if isinstance(before, dict) else entry
    if before == wanted:
        return text
    is_dos = "\r\n" in text
    changed = _changed(text.replace("\r\n", "\n"), group, name, wanted)
    changed = changed.replace("\n", "\r\n") if is_dos else changed
    # The check makes up for every oddity that the scan below may not have foreseen.
    if _parsed(changed) != {**whole, group: {**present, name: wanted}}:
        raise NotMergeable("it is written in an unusual way")
    return changed


def _fixed(entry: Object) -> Object:
    """What has to be ours for the agent to start; the rest is the user's to change."""
    return {name: value for name, value in entry.items() if value != {}}


def _changed(text: str, group: str, name: str, entry: Object) -> str:
    if not text.strip():
        return json.dumps({group: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    found = _INDENT.search(text)
    indent = found[1] if found else DEFAULT_INDENT
    outer = next((member for member in _members(text, 0) if member.name == group), None)
    if outer is None:
        return _with_member(text, 0, _member(group, {name: entry}, indent, 1), indent, 1)
    inner = next((member for member in _members(text, outer.start) if member.name == name), None)
    if inner is not None:
        return text[: inner.start] + _dump(entry, indent, 2) + text[inner.end :]
    return _with_member(text, outer.start, _member(name, entry, indent, 2), indent, 2)


def _with_member(text: str, at: int, member: str, indent: str, depth: int) -> str:
    """The text with a last member in the object that begins around `at`."""
    line = f"\n{indent * depth}{member}"
    if members := _members(text, at):
        end = members[-1].end
        return f"{text[:end]},{line}{text[end:]}"
    start = text.index("{", at) + 1
    return f"{text[:start]}{line}\n{indent * (depth - 1)}{text[text.index('}', start) :]}"


def _member(name: str, value: Json, indent: str, depth: int) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}: {_dump(value, indent, depth)}"


def _members(text: str, at: int) -> list[_Member]:
    """Where the values of the object stand that begins at or after `at`."""
    members: list[_Member] = []
    decoder = json.JSONDecoder()
    position = _skip(text, _skip(text, at) + 1)
    while text[position] != "}":
        name, position = cast("tuple[str, int]", decoder.raw_decode(text, position))
        start = _skip(text, _skip(text, position) + 1)
        end = decoder.raw_decode(text, start)[1]
        members.append(_Member(name, start, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return members


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _dump(value: Json, indent: str, depth: int) -> str:
    lines = json.dumps(value, indent=indent, ensure_ascii=False)
    return textwrap.indent(lines, indent * depth).lstrip()


def _parsed(text: str) -> Object:
    if not text.strip():
        return {}
    try:
        parsed = cast("Json", json.loads(text, object_pairs_hook=_unique))
    except RecursionError as error:
        raise NotMergeable("it is nested too deeply") from error
    except ValueError as error:
        raise NotMergeable(f"it has comments or is not valid JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise NotMergeable("it holds no object")
    return parsed


def _unique(pairs: list[tuple[str, Json]]) -> Object:
    """Doubled names are refused: which of them counts, only the editor knows."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)
