"""The journal: every durable event of every session, in order, on disk before anybody sees it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from hermes_acp.events import Durable, Envelope
from hermes_acp.records import record
from hermes_acp.storage.database import Database, Row
from hermes_acp.storage.errors import StorageError

INSERT = "INSERT INTO events (session_id, seq, turn_id, agent_path, at, data) VALUES "
INSERT_PIECES = "INSERT INTO drafts (session_id, turn_id, message_id, kind, start, text) VALUES "
ROWS = 500
"""Rows of one statement: SQLite bounds the number of parameters."""

AT_ONCE = 16 * 1024
"""Characters of events that are read in less time than it takes to ask a thread for it."""

Kind: TypeAlias = Literal["text", "thought"]


@record
class Piece:
    """A part of a message that is being streamed, `start` characters after its beginning."""

    turn_id: str
    message_id: str
    kind: Kind
    start: int
    text: str


class Journal:
    """Appends and reads envelopes. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, envelopes: Sequence[Envelope]) -> None:
        """Write durable envelopes in order; on disk on return. Up to `ROWS` are one transaction."""
        for start in range(0, len(envelopes), ROWS):
            part = envelopes[start : start + ROWS]
            values = [value for envelope in part for value in _row(envelope)]
            await self._database.write(INSERT + _places(len(part)), values)

    async def read(self, session_id: str, after: int = 0) -> list[Envelope]:
        """The envelopes of a session whose `seq` is greater than `after`, in order."""
        rows = await self._database.fetch(
            "SELECT seq, turn_id, agent_path, at, data FROM events "
            "WHERE session_id = ? AND seq > ? ORDER BY seq",
            (session_id, after),
        )
        size = sum(len(row[4]) for row in rows)
        try:
            # What takes a while has a thread: a long journal, and making the codec at its first use.
            if size > AT_ONCE or not _codec.cache_info().currsize:
                return await asyncio.to_thread(_envelopes, session_id, rows)
            return _envelopes(session_id, rows)
        except ValidationError as error:
            self._database.doubt()
            raise StorageError(
                f"What is stored of session {session_id} makes no sense. Open it again: "
                "the database is examined, and repaired where it can be."
            ) from error

    async def last_seq(self, session_id: str) -> int:
        """The number of the session's last event, 0 when it has none."""
        rows = await self._database.fetch(
            "SELECT coalesce(max(seq), 0) FROM events WHERE session_id = ?", (session_id,)
        )
        return int(rows[0][0])

    async def keep_draft(self, session_id: str, pieces: Sequence[Piece]) -> None:
        """Add pieces of messages that are being streamed; on disk on return.

        They are gone with the message's `MessageCompleted` or the turn's `TurnEnded`, in the
        transaction that writes it.
        """
        for start in range(0, len(pieces), ROWS):
            part = pieces[start : start + ROWS]
            values = [
                value
                for item in part
                for value in (session_id, item.turn_id, item.message_id, item.kind, item.start, item.text)
            ]
            await self._database.write(INSERT_PIECES + _places(len(part)), values)

    async def drop_draft(self, session_id: str, message_ids: Sequence[str]) -> None:
        """Remove the pieces of messages that will not be completed."""
        places = ", ".join("?" * len(message_ids))
        await self._database.write(
            f"DELETE FROM drafts WHERE session_id = ? AND message_id IN ({places})",
            (session_id, *message_ids),
        )

    async def draft(self, session_id: str) -> list[Piece]:
        """The pieces of all messages of a session that were not completed, in the order of writing."""
        rows = await self._database.fetch(
            "SELECT turn_id, message_id, kind, start, text FROM drafts WHERE session_id = ? ORDER BY rowid",
            (session_id,),
        )
        return [Piece(*row) for row in rows]


def _places(rows: int) -> str:
    return ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)


def _envelopes(session_id: str, rows: list[Row]) -> list[Envelope]:
    events = _codec().validate_json(f"[{','.join(row[4] for row in rows)}]")
    return [
        Envelope(session_id, seq, turn_id, at, event, agent_path)
        for (seq, turn_id, agent_path, at, _), event in zip(rows, events, strict=True)
    ]


def _row(envelope: Envelope) -> tuple[str, int | None, str, str, float, str]:
    return (
        envelope.session_id,
        envelope.seq,
        envelope.turn_id,
        envelope.agent_path,
        envelope.at,
        orjson.dumps(envelope.event).decode(),
    )


@functools.cache
def _codec() -> TypeAdapter[list[Durable]]:
    return TypeAdapter(list[Annotated[Durable, Field(discriminator="type")]])
