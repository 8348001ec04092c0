"""The tables of facts: an index of all of them, and the changes that are on their way into git.

A change is one row, and the index follows it in the same transaction: what was acknowledged is there
after a crash, in the index and, sooner or later, in git. What a fact is, nobody knows here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias

import orjson

from hermes_acp.records import record
from hermes_acp.storage import files
from hermes_acp.storage.database import Database
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.recall_passages import passages

ChangeKind: TypeAlias = Literal["change", "rebuild", "purge"]
"""A `rebuild` replaces the whole index of its store; a `purge` takes facts out of the history, too."""

SCRUB_BYTES = 256 * 1024 * 1024
"""A larger database is not written anew to get rid of deleted texts: others would have to wait too long."""
SCRUB_ROUNDS = 100
"""Times that the log of the database is emptied in vain because others read it."""
SCRUB_PAUSE = 0.02

VERSION = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'fact_changes'), 0)"
APPEND = f"""
INSERT INTO fact_changes (store, change_id, kind, at, session, facts)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(?) WHERE ({VERSION}) = ?
"""
LIST = "SELECT data FROM facts WHERE store = ?"
PENDING = """
SELECT number, store, change_id, kind, at, session, facts FROM fact_changes
WHERE store = ? ORDER BY number LIMIT ?
"""
DONE = "DELETE FROM fact_changes WHERE number IN (SELECT value FROM json_each(?))"
NOTE_USES = """
INSERT INTO fact_uses (store, fact_id, uses) SELECT ?, value, 1 FROM json_each(?) WHERE true
ON CONFLICT (store, fact_id) DO UPDATE SET uses = uses + 1
"""
KEEP_KNOWN = """
INSERT INTO fact_places (store, place, known) VALUES (?, ?, ?)
ON CONFLICT (store, place) DO UPDATE SET known = excluded.known
"""
TELLING = """
SELECT DISTINCT session_id FROM events
WHERE json_extract(data, '$.type') IN
        ('memory_changed', 'facts_shown', 'tool_call_started', 'tool_call_finished')
    AND EXISTS (SELECT 1 FROM json_each(?) WHERE instr(events.data, value) > 0)
ORDER BY session_id
"""
MESSAGE = "SELECT data FROM events WHERE session_id = ? AND seq = ?"


@record
class Queued:
    """A change on its way into git; `number` orders them, `facts` is JSON (see the migration)."""

    store: str
    change_id: str
    kind: ChangeKind
    at: float
    session: str
    facts: bytes
    number: int = 0


class FactTables:
    """Reads and writes facts. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """A number that every change makes larger."""
        return int((await self._database.fetch(VERSION))[0][0])

    async def append(self, changes: Sequence[Queued], version: int) -> bool:
        """Queue and index changes, on disk on return; False, and nothing done, after another change."""
        rows = [
            [item.store, item.change_id, item.kind, item.at, item.session, orjson.Fragment(item.facts)]
            for item in changes
        ]
        return await self._database.write(APPEND, (orjson.dumps(rows).decode(), version)) > 0

    async def list(
        self, store: str, scopes: Collection[str] | None = None, statuses: Collection[str] | None = None
    ) -> bytes:
        """The facts of a store, of some scopes and with some statuses only, as a JSON list."""
        sql, args = LIST, [store]
        for column, values in (("scope", scopes), ("status", statuses)):
            if values is not None:
                sql += f" AND {column} IN (SELECT value FROM json_each(?))"
                args.append(_json(values))
        rows = await self._database.fetch(f"{sql} ORDER BY fact_id", args)
        return f"[{','.join(row[0] for row in rows)}]".encode()

    async def scopes(self, store: str) -> set[str]:
        """The scopes that a store has facts in."""
        rows = await self._database.fetch("SELECT DISTINCT scope FROM facts WHERE store = ?", (store,))
        return {row[0] for row in rows}

    async def pending(self, store: str, limit: int) -> list[Queued]:
        """The oldest changes of a store that wait, in order."""
        rows = await self._database.fetch(PENDING, (store, limit))
        return [Queued(*rest, facts=facts.encode(), number=number) for number, *rest, facts in rows]

    async def waiting(self) -> list[str]:
        """The stores that have changes waiting."""
        rows = await self._database.fetch("SELECT DISTINCT store FROM fact_changes ORDER BY store")
        return [row[0] for row in rows]

    async def done(self, changes: Iterable[Queued]) -> None:
        """Take changes out of the queue: they are in git."""
        await self._database.write(DONE, (_json([item.number for item in changes]),))

    async def uses(self, store: str) -> dict[str, int]:
        """How often facts were of use; those that never were are left out."""
        sql = "SELECT fact_id, uses FROM fact_uses WHERE store = ?"
        rows = await self._database.fetch(sql, (store,))
        return {row[0]: int(row[1]) for row in rows}

    async def note_uses(self, store: str, fact_ids: Collection[str]) -> None:
        """Count one more use of each."""
        await self._database.write(NOTE_USES, (store, _json(fact_ids)))

    async def known(self, store: str) -> dict[str, bytes]:
        """What was kept of the places of a store at their last looks."""
        rows = await self._database.fetch("SELECT place, known FROM fact_places WHERE store = ?", (store,))
        return {place: known.encode() for place, known in rows}

    async def keep_known(self, store: str, place: str, known: bytes) -> None:
        """Keep what a look at a place has found."""
        await self._database.write(KEEP_KNOWN, (store, place, known.decode()))

    async def message(self, session_id: str, seq: int) -> str:
        """The text of an event of a session; empty where there is none."""
        rows = await self._database.fetch(MESSAGE, (session_id, seq))
        return "".join(passage.text for (data,) in rows for passage in passages(data))

    async def telling(self, fact_ids: Collection[str]) -> list[str]:
        """The sessions whose journals name one of these facts. Reads all journals."""
        rows = await self._database.fetch(TELLING, (_json(fact_ids),))
        return [row[0] for row in rows]

    async def remove(self, store: str) -> None:
        """Forget everything about a store but what its repository holds."""
        for table in ("fact_changes", "facts", "fact_uses", "fact_places"):
            await self._database.write(f"DELETE FROM {table} WHERE store = ?", (store,))
        await self.scrub()

    async def scrub(self) -> bool:
        """Have no deleted text left in the file and its log; False where it is too large for that."""
        size = await asyncio.to_thread(files.size, self._database.path) or 0
        small = size <= SCRUB_BYTES
        if small:
            await self._database.write("VACUUM")
        log = files.beside(self._database.path, "-wal")
        for _ in range(SCRUB_ROUNDS):
            await self._database.write("PRAGMA wal_checkpoint(TRUNCATE)")
            if not await asyncio.to_thread(files.size, log):
                return small
            await asyncio.sleep(SCRUB_PAUSE)
        raise StorageError(
            f"{log} still holds deleted texts, because another program reads the database. "
            "Close it, then try again."
        )


def _json(values: Collection[object]) -> str:
    return orjson.dumps(list(values)).decode()
