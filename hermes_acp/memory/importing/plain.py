"""Our own form of conversations: {session, at, role, speaker?, text, id?, branch?}, a JSON object a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from hermes_acp.memory.dates import moment
from hermes_acp.memory.importing.records import BadLine, Called, Json, Record, Returned, Said, made_id, parsed

ROLES: dict[str, Literal["user", "agent", "tool"]] = {
    "user": "user",
    "human": "user",
    "assistant": "agent",
    "agent": "agent",
    "model": "agent",
    "ai": "agent",
    "system": "agent",
    "tool": "tool",
    "function": "tool",
}
NAME_CHARS = 200
"""Longer names of sessions, speakers and messages are refused: they are something else."""


class Lines:
    """Takes the lines of one file, in their order."""

    def __init__(self) -> None:
        self._same: Counter[str] = Counter()

    def take(self, line: bytes) -> Iterator[Record]:
        """What the line says. Raises `BadLine`."""
        item = parsed(line)
        session = _name(item, "session")
        if session is None:
            raise BadLine("it has no `session`")
        text = item.get("text")
        if not isinstance(text, str):
            raise BadLine("it has no `text`")
        at = _at(item.get("at"))
        speaker = _name(item, "speaker") or ""
        role = _role(item.get("role"))
        branch = _name(item, "branch") or ""
        given = _name(item, "id") or self._made_id(session, at, role, speaker, text)
        if role == "tool":
            yield Called(session, at, given, speaker or "tool", "{}", branch)
            yield Returned(session, at, given, text, branch=branch)
        else:
            yield Said(session, at, given, role, text, speaker, branch)

    def _made_id(self, *parts: object) -> str:
        """Equal messages of one file are different ones."""
        first = made_id(*parts)
        self._same[first] += 1
        return first if self._same[first] == 1 else made_id(first, self._same[first])


def _name(item: Json, key: str) -> str | None:
    """A name, which may be written as a number; None where there is none. Raises `BadLine`."""
    value = item.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadLine(f"its `{key}` is no text")
    if len(str(value)) > NAME_CHARS:
        raise BadLine(f"its `{key}` is longer than {NAME_CHARS} characters")
    return str(value)


def _at(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadLine("it has no `at`")
    found = moment(str(value))
    if found is None:
        raise BadLine(f"its `at` is no time: {str(value)[:50]!r}. Write ISO 8601, or seconds since 1970")
    return found


def _role(value: object) -> Literal["user", "agent", "tool"]:
    if value is None:
        return "user"
    found = ROLES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise BadLine(f"its `role` is not one of {', '.join(ROLES)}")
    return found
