"""Makes events storable: what strangers' text and numbers hold and no JSON in UTF-8 can carry."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

import orjson

from hermes_acp.events import Event

E = TypeVar("E", bound=Event)


LARGEST = 2**63 - 1
"""Numbers beyond 64 bits are brought back to this."""


def storable(event: E) -> E:
    """The event itself, or where it could not be written a copy of it that can.

    Halves of surrogate pairs become question marks there.
    """
    try:
        orjson.dumps(event)
    except orjson.JSONEncodeError:
        return cast("E", _clean(event))
    return event


def _clean(value: object) -> object:
    match value:
        case bool():
            return value
        case str():
            return value.encode("utf-8", "replace").decode()
        case int():
            return max(-LARGEST, min(value, LARGEST))
        case tuple():
            return tuple(_clean(item) for item in cast("tuple[object, ...]", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return type(value)(**{name: _clean(getattr(value, name)) for name in names})
        case _:
            return value
