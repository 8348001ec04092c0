"""What an imported conversation consists of, whatever file it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, TypeAlias, cast

import orjson

from hermes_acp.records import record

Json: TypeAlias = dict[str, object]


@record
class Said:
    """A message. `at` is in seconds since the epoch; `speaker` is empty where only the role is known.

    `branch` is the branch of the code that its turn worked on, as far as that was noted.
    """

    session: str
    at: float
    id: str
    role: Literal["user", "agent"]
    text: str
    speaker: str = ""
    branch: str = ""


@record
class Called:
    """A call of a tool; `arguments` is JSON text."""

    session: str
    at: float
    id: str
    name: str
    arguments: str
    branch: str = ""


@record
class Returned:
    """The result of the call with this id."""

    session: str
    at: float
    id: str
    text: str
    failed: bool = False
    branch: str = ""


Record: TypeAlias = Said | Called | Returned


class BadLine(ValueError):
    """A line is none of the format; `str()` says what is wrong with it."""


def parsed(line: bytes) -> Json:
    """The JSON object on a line. Raises `BadLine`."""
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"it is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadLine("it is no JSON object")
    return cast("Json", value)


def text_of(content: object, *types: str) -> str:
    """The text of a message's content: a string, or the text of blocks of these types."""
    if isinstance(content, str):
        return content
    texts = (block.get("text") for block in blocks(content) if block.get("type") in types)
    return "\n".join(text for text in texts if isinstance(text, str))


def blocks(content: object) -> Iterator[Json]:
    """The objects of a list; nothing of what is none."""
    for block in cast("list[object]", content) if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield cast("Json", block)


def made_id(*parts: object) -> str:
    """An id for what has none, the same each time that it is read."""
    return "m" + hashlib.sha256(orjson.dumps(parts, default=str)).hexdigest()[:20]
