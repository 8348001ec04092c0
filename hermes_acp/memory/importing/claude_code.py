"""Transcripts of Claude Code: an entry a line, with messages as its model's wire has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import orjson

from hermes_acp.memory.dates import moment
from hermes_acp.memory.importing.records import (
    BadLine,
    Called,
    Json,
    Record,
    Returned,
    Said,
    blocks,
    made_id,
    parsed,
    text_of,
)


class Lines:
    """Takes the lines of one file, in their order."""

    def take(self, line: bytes) -> Iterator[Record]:
        """What the line says; nothing for entries that are no messages. Raises `BadLine`."""
        entry = parsed(line)
        message = entry.get("message")
        if (
            entry.get("type") not in ("user", "assistant")
            or entry.get("isMeta")
            or not isinstance(message, dict)
        ):
            return
        session, written = entry.get("sessionId"), entry.get("timestamp")
        at = moment(written) if isinstance(written, str) else None
        if not isinstance(session, str) or at is None:
            raise BadLine("it is a message without `sessionId` or `timestamp`")
        yield from _message(
            session, at, str(entry.get("uuid") or made_id(line.decode("utf-8", "replace"))), entry
        )


def _message(session: str, at: float, message_id: str, entry: Json) -> Iterator[Record]:
    content = cast("Json", entry["message"]).get("content")
    named = entry.get("gitBranch")
    branch = named if isinstance(named, str) else ""
    if text := text_of(content, "text"):
        yield Said(session, at, message_id, _role(entry), text, branch=branch)
    for block in blocks(content):
        match block:
            case {"type": "tool_use", "id": str() as call_id, "name": str() as name}:
                arguments = orjson.dumps(block.get("input") or {}).decode()
                yield Called(session, at, call_id, name, arguments, branch)
            case {"type": "tool_result", "tool_use_id": str() as call_id}:
                failed = block.get("is_error") is True
                yield Returned(session, at, call_id, text_of(block.get("content"), "text"), failed, branch)
            case _:
                pass


def _role(entry: Json) -> Literal["user", "agent"]:
    return "user" if entry["type"] == "user" else "agent"
