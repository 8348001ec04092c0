"""Transcripts of Codex: a session a file, an item a line, in an envelope with its time or without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import orjson

from hermes_acp.memory.dates import moment
from hermes_acp.memory.importing.records import (
    BadLine,
    Called,
    Json,
    Record,
    Returned,
    Said,
    made_id,
    parsed,
    text_of,
)

SURROUNDINGS = ("<environment_context>", "<user_instructions>", "# AGENTS.md instructions")
"""How messages begin that the program writes in the user's name."""


class Lines:
    """Takes the lines of one file, in their order."""

    def __init__(self) -> None:
        self._session: str | None = None
        self._at: float | None = None
        self._number = 0
        self._branch = ""

    def take(self, line: bytes) -> Iterator[Record]:
        """What the line says; nothing for entries that are no messages. Raises `BadLine`."""
        self._number += 1
        entry = parsed(line)
        written = entry.get("timestamp")
        self._at = (moment(written) if isinstance(written, str) else None) or self._at
        payload = entry.get("payload")
        item = cast("Json", payload) if isinstance(payload, dict) else entry
        if entry.get("type") == "session_meta" or ("type" not in entry and "id" in entry):
            self._session = str(item.get("id"))
            self._branch = _branch(item.get("git"))
        elif entry.get("type") in ("response_item", "message", "function_call", "function_call_output"):
            yield from self._item(item)

    def _item(self, item: Json) -> Iterator[Record]:
        session, at = self._session, self._at
        if session is None or at is None:
            raise BadLine("it comes before the line that names the session and its time")
        match item:
            case {"type": "message", "role": "user" | "assistant" as role, "content": content}:
                text = text_of(content, "input_text", "output_text", "text")
                if text and not text.startswith(SURROUNDINGS):
                    message_id = made_id(session, self._number)
                    yield Said(
                        session, at, message_id, "user" if role == "user" else "agent", text, "", self._branch
                    )
            case {"type": "function_call", "call_id": str() as call_id, "name": str() as name}:
                yield Called(session, at, call_id, name, str(item.get("arguments") or "{}"), self._branch)
            case {"type": "function_call_output", "call_id": str() as call_id, "output": output}:
                yield Returned(session, at, call_id, _output(output), branch=self._branch)
            case _:
                pass


def _branch(git: object) -> str:
    match git:
        case {"branch": str() as name}:
            return name
        case _:
            return ""


def _output(output: object) -> str:
    """What a call gave: text, or an object with text in it, which is sometimes written as text."""
    if isinstance(output, str) and output.startswith("{"):
        try:
            output = orjson.loads(output)
        except orjson.JSONDecodeError:
            return str(output)
    match output:
        case {"output": str() as text} | {"content": str() as text}:
            return text
        case str():
            return output
        case _:
            return orjson.dumps(output, default=str).decode()
