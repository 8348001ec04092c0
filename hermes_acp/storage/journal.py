"""The journal: every durable event of every session, in order, on disk before anybody sees it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter

from hermes_acp.events import Durable, Envelope
from hermes_acp.storage.database import Database, Row

INSERT = "INSERT INTO events (session_id, seq, turn_id, agent_path, at, data) VALUES "
ROWS = 500
"""Events of one statement: SQLite bounds the number of parameters."""


class Journal:
    """Appends and reads envelopes. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, envelopes: Sequence[Envelope]) -> None:
        """Write durable envelopes in order; on disk on return. Up to `ROWS` are one transaction."""
        for start in range(0, len(envelopes), ROWS):
            part = envelopes[start : start + ROWS]
            values = [value for envelope in part for value in _row(envelope)]
            await self._database.write(INSERT + ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(part)), values)

    async def read(self, session_id: str, after: int = 0) -> list[Envelope]:
        """The envelopes of a session whose `seq` is greater than `after`, in order."""
        rows = await self._database.fetch(
            "SELECT seq, turn_id, agent_path, at, data FROM events "
            "WHERE session_id = ? AND seq > ? ORDER BY seq",
            (session_id, after),
        )
        # In a thread: a long journal takes a while, and so does making the codec at its first use.
        return await asyncio.to_thread(_envelopes, session_id, rows)

    async def last_seq(self, session_id: str) -> int:
        """The number of the session's last event, 0 when it has none."""
        rows = await self._database.fetch(
            "SELECT coalesce(max(seq), 0) FROM events WHERE session_id = ?", (session_id,)
        )
        return int(rows[0][0])


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
