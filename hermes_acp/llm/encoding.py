"""JSON as bytes, whatever strings the world has handed us."""

from __future__ import annotations

import json

import orjson

from hermes_acp.llm.loose_json import Json


def encode(value: Json) -> bytes:
    """The value as UTF-8 on one line; halves of surrogate pairs, which UTF-8 cannot carry, become `?`."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
