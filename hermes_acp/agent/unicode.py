"""Makes events storable: halves of surrogate pairs, which no UTF-8 can carry, become question marks."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

import orjson

from hermes_acp.events import Event

E = TypeVar("E", bound=Event)


def storable(event: E) -> E:
    """The event itself, or a copy of it with replaced characters where it could not be written."""
    try:
        orjson.dumps(event)
    except orjson.JSONEncodeError:
        return cast("E", _clean(event))
    return event


def _clean(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case tuple():
            return tuple(_clean(item) for item in cast("tuple[object, ...]", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return type(value)(**{name: _clean(getattr(value, name)) for name in names})
        case _:
            return value
