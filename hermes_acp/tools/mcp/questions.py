"""A server's question to the user (elicitation): its form as our fields, the answers as its values."""

from __future__ import annotations

import math
from typing import cast

from mcp_types import ElicitRequestFormParams, ElicitResult

from hermes_acp.events import Field
from hermes_acp.records import record
from hermes_acp.tools.base import Reply

MAX_FIELDS = 20
"""Fields of one form; a longer one is declined."""

YES, NO = "yes", "no"

Value = str | int | float | bool | list[str] | None


@record
class _Entry:
    """One property of the form; `values` maps what the user picks to what the server wants."""

    field: Field
    type: str
    values: dict[str, str]


class Form:
    """The flat form of one question."""

    def __init__(self, entries: tuple[_Entry, ...]) -> None:
        self._entries = entries

    @property
    def fields(self) -> tuple[Field, ...]:
        """What to ask."""
        return tuple(entry.field for entry in self._entries)

    def answer(self, reply: Reply) -> ElicitResult:
        """The user's reply as the server's answer; a number that is none counts as dismissed."""
        if reply.outcome != "answered":
            return ElicitResult(action="decline" if reply.outcome == "declined" else "cancel")
        content: dict[str, Value] = {}
        try:
            for entry in self._entries:
                given = reply.values.get(entry.field.name)
                if given is not None and given != "":
                    content[entry.field.name] = _value(entry, given)
        except ValueError:
            return ElicitResult(action="cancel")
        return ElicitResult(action="accept", content=content)


def read_form(params: ElicitRequestFormParams) -> Form | None:
    """The form, or None when it has parts that no editor could show."""
    schema = cast("dict[str, object]", params.requested_schema)
    properties = _mapping(schema.get("properties", {}))
    required = schema.get("required")
    wanted = cast("list[object]", required) if isinstance(required, list) else []
    if properties is None or len(properties) > MAX_FIELDS:
        return None
    entries = [_entry(name, _mapping(item), name in wanted) for name, item in properties.items()]
    known = tuple(entry for entry in entries if entry is not None)
    return Form(known) if len(known) == len(entries) else None


def _entry(name: str, schema: dict[str, object] | None, required: bool) -> _Entry | None:  # noqa: FBT001
    if schema is None:
        return None
    title = " — ".join(str(schema[key]) for key in ("title", "description") if schema.get(key)) or name
    kind = schema.get("type")
    items = _mapping(schema.get("items", {})) or {}
    match kind:
        case "boolean":
            return _Entry(Field(name, title, (YES, NO), required=required), "boolean", {})
        case "integer" | "number":
            return _Entry(Field(name, title, required=required), str(kind), {})
        case "string":
            values = _choices(schema)
            return _Entry(Field(name, title, tuple(values), required=required), "string", values)
        case "array" if values := _choices(items):
            field = Field(name, title, tuple(values), many=True, required=required)
            return _Entry(field, "array", values)
        case _:
            return None


def _choices(schema: dict[str, object]) -> dict[str, str]:
    """What can be picked: titles as shown, with the values they stand for."""
    plain, names = schema.get("enum"), schema.get("enumNames")
    if isinstance(plain, list):
        values = [str(value) for value in cast("list[object]", plain)]
        titles = [str(name) for name in cast("list[object]", names)] if isinstance(names, list) else values
        return dict(zip(titles if len(titles) == len(values) else values, values, strict=True))
    options = schema.get("oneOf") or schema.get("anyOf")
    if not isinstance(options, list):
        return {}
    found = [_mapping(option) or {} for option in cast("list[object]", options)]
    return {str(item.get("title", item["const"])): str(item["const"]) for item in found if "const" in item}


def _value(entry: _Entry, given: object) -> Value:
    """Raises ValueError for a number that is none."""
    match entry.type:
        case "boolean":
            return given is True or given == YES
        case "integer":
            return int(str(given))
        case "number":
            return _finite(float(str(given)))
        case "array":
            picked = cast("list[object]", given) if isinstance(given, list | tuple) else [given]
            return [entry.values.get(str(item), str(item)) for item in picked]
        case _:
            return entry.values.get(str(given), str(given))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def _mapping(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None
