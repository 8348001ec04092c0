"""Cuts the events of the journal into passages: the pieces of text that recall finds and shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias, cast

import orjson

from hermes_acp.records import record
from hermes_acp.storage import recall_words

RECALL = "recall"
"""The tool whose calls and results only repeat what is found without them."""

Json: TypeAlias = dict[str, object]
Kind: TypeAlias = Literal["user", "agent", "call", "result"]
"""Who speaks in a passage; `call` is what a tool was told, `result` what it answered."""

PASSAGE_CHARS = 2_000
"""Characters of a passage: longer texts are several, cut where a line or a word ends."""
PASSAGES_OF_EVENT = 8_192
"""Passages of one event; what is beyond (16 million characters) is not found."""
TOOL_CHARS = 16_000
"""Characters of a tool call, or of its result, that are searched: its beginning and its end."""

ASKS = 1
"""A trait of passages: it ends with a question."""
TELLS_TIME = 2
"""A trait of passages: it says when something was or will be."""

_WORD = re.compile(r"[a-z0-9]+")
_TIMES = frozenset(
    (
        *("yesterday", "today", "tonight", "tomorrow", "ago", "recently", "lately", "last", "next"),
        *("day", "days", "night", "week", "weeks", "weekend", "month", "months", "year", "years"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("january", "february", "march", "april", "june", "july", "august"),
        *("september", "october", "november", "december", "spring", "summer", "autumn", "winter"),
        *map(str, range(1900, 2100)),
    )
)


@record
class Passage:
    """A piece of an event's text.

    `source` is the id of the message or the call, `words` how long it is, `traits` a sum of `ASKS` and
    `TELLS_TIME`, `extra` what else it is found by.
    """

    kind: Kind
    speaker: str
    source: str
    words: int
    traits: int
    text: str
    extra: str


def echo(data: str) -> str | None:
    """The id of the call when an event is a call of recall; else None."""
    # Most events need no closer look.
    event = _event(data) if f'"{RECALL}"' in data else {}
    match event:
        case {"type": "tool_call_started", "name": name, "call_id": str() as call_id} if name == RECALL:
            return call_id
        case _:
            return None


def branch_of(data: str) -> str | None:
    """The branch of the turn that an event begins; None when it begins none."""
    # Most events need no closer look.
    match _event(data) if '"turn_started"' in data else {}:
        case {"type": "turn_started", **rest}:
            name = rest.get("branch")
            return name if isinstance(name, str) else ""
        case _:
            return None


def passages(data: str) -> Iterator[Passage]:
    """The passages of an event as it stands in the journal; none where nothing was said."""
    kind, speaker, source, text = _said(_event(data))
    if not text or text.isspace():
        return
    if kind in ("call", "result") and len(text) > TOOL_CHARS:
        half = TOOL_CHARS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    for piece in _pieces(text):
        yield Passage(
            kind, speaker, source, len(piece.split()), _traits(piece), piece, recall_words.extra(piece)
        )


def _event(data: str) -> Json:
    try:
        return cast("Json", orjson.loads(data))
    except orjson.JSONDecodeError:
        # Damage, which is found and repaired by those who need the event itself; then all begins anew.
        return {}


def _said(event: Json) -> tuple[Kind, str, str, str]:
    """Kind, speaker, source and text of an event; the text is empty where nothing was said."""
    match event:
        case {"type": "turn_started", "aside": True}:
            return "user", "", "", ""
        case {"type": "turn_started" | "steered", "message_id": str() as source, "content": blocks}:
            text = "\n".join(filter(None, map(_block, _list(blocks))))
            return "user", _speaker(event), source, text
        case {"type": "message_completed", "message_id": str() as source, "text": str() as text}:
            return "agent", _speaker(event), source, text
        case {
            "type": "tool_call_started",
            "call_id": str() as source,
            "title": str() as title,
            "arguments": str() as arguments,
        }:
            return "call", "", source, f"{title}\n{_arguments(arguments)}"
        case {"type": "tool_call_finished", "call_id": str() as source, "result": str() as text}:
            return "result", "", source, text
        case {"type": "question_asked", "request_id": str() as source, "message": str() as text}:
            return "agent", "", source, text
        case {"type": "question_answered", "request_id": str() as source, "values": str() as values}:
            return "user", "", source, _arguments(values)
        case _:
            return "agent", "", "", ""


def _speaker(event: Json) -> str:
    speaker = event.get("speaker")
    return speaker if isinstance(speaker, str) else ""


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _block(block: object) -> str:
    match block:
        case {"type": "text", "text": str() as text}:
            return text
        case {"type": "link", "name": str() as name, "uri": str() as uri}:
            return f"{name} {uri}"
        case {"type": "resource", "uri": str() as uri, "text": str() as text}:
            return f"{uri}\n{text}"
        case _:
            return ""


def _arguments(arguments: str) -> str:
    """The values in a JSON object, a line each; text that is no object is given as it is."""
    try:
        values: object = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if not isinstance(values, dict):
        return arguments
    return "\n".join(
        value if isinstance(value, str) else orjson.dumps(value).decode()
        for value in cast("dict[str, object]", values).values()
    )


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    for _ in range(PASSAGES_OF_EVENT):
        if len(text) - begin <= PASSAGE_CHARS:
            yield text[begin:]
            return
        end = _end(text, begin)
        yield text[begin:end]
        begin = end


def _end(text: str, begin: int) -> int:
    """Where the piece that begins here ends: in its second half, behind a line, else behind a word."""
    middle, end = begin + PASSAGE_CHARS // 2, begin + PASSAGE_CHARS
    for mark in ("\n", " "):
        if (found := text.rfind(mark, middle, end)) >= 0:
            return found + 1
    return end


def _traits(text: str) -> int:
    asks = ASKS if text.rstrip().endswith(("?", "\N{FULLWIDTH QUESTION MARK}")) else 0
    return asks | (0 if _TIMES.isdisjoint(_WORD.findall(text.lower())) else TELLS_TIME)
