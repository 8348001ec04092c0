"""The official schema of ACP v1 as a check of single messages; without the file every check passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from hermes_acp.config import environment

Json = dict[str, Any]

OVERRIDE = "HERMES_TEST_ACP_SCHEMA"
BESIDE_THE_CHECKOUT = Path(__file__).parents[3] / "shared" / "acp" / "v1.schema.json"
FREE_FORM = ("_meta", "rawInput", "rawOutput", "data", "properties", "env")
"""Members whose contents the protocol does not name."""


def path() -> Path:
    """Where the schema is, or would be."""
    return Path(environment().get(OVERRIDE) or BESIDE_THE_CHECKOUT)


@cache
def schema() -> Json | None:
    """The schema; None, with the reason printed once, where there is no file."""
    file = path()
    if not file.is_file():
        print(f"messages are not validated: there is no {file.name}; set {OVERRIDE}")
        return None
    return json.loads(file.read_text("utf-8"))


def problem(definition: str, value: object) -> str | None:
    """What is wrong with `value` as a `definition` of the schema; None when nothing is."""
    whole = schema()
    if whole is None:
        return None
    try:
        _validator(definition).validate(value)
    except jsonschema_rs.ValidationError as error:
        return f"not a valid {definition}: {error.message} at {'/'.join(map(str, error.instance_path))}"
    unknown = sorted(set(_members(value)) - _names())
    return f"{definition} has members that the protocol does not know: {unknown}" if unknown else None


@cache
def by_method(kind: str, side: str) -> dict[str, str]:
    """Definitions of one kind (`Request`, `Response`, `Notification`) of one side, by method."""
    whole = schema()
    return {
        body["x-method"]: name
        for name, body in (whole["$defs"] if whole else {}).items()
        if body.get("x-side") == side and name.endswith(kind)
    }


@cache
def _validator(definition: str) -> Any:
    whole = schema()
    assert whole is not None
    return jsonschema_rs.validator_for(
        {"$schema": whole["$schema"], "$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]}
    )


@cache
def _names() -> frozenset[str]:
    """Every member that any definition names: the schema itself lets unknown ones through."""
    return frozenset(_named(schema()))


def _named(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _named(item)
    elif isinstance(node, dict):
        properties = node.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for item in node.values():
            yield from _named(item)


def _members(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _members(item)
    elif isinstance(node, dict):
        for name, item in node.items():
            yield name
            if name not in FREE_FORM:
                yield from _members(item)
