"""JSON that strangers wrote: looked at member by member, trusted in nothing."""

from __future__ import annotations

from typing import TypeAlias, cast

Json: TypeAlias = dict[str, object]

MAX_COUNT = 2**53
"""No count is larger; JSON can say infinity."""


def as_object(value: object) -> Json:
    """The value when it is a JSON object, else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value when it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_text(value: object) -> str:
    """The value when it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int:
    """The value when it is a number of something, else 0."""
    return int(value) if isinstance(value, (int, float)) and 0 < value < MAX_COUNT else 0
