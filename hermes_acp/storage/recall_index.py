"""The recall index: everything that was said in all sessions, kept beside the journal it is made from.

The index follows the journal, never the other way round: a turn does not wait for it. `catch_up` takes
in what is new. It may be interrupted or run by several processes at any time: a passage has one
place, which follows from the journal, so what was done twice is there once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TypeAlias

from hermes_acp.records import record
from hermes_acp.storage.commits import Value
from hermes_acp.storage.database import Database, Row
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.recall_passages import Passage, branch_of, echo, passages

PROJECT_SHIFT = 44
SESSION_SHIFT = 22
POSITIONS = 1 << SESSION_SHIFT
"""Passages of a session at most; what is beyond is not indexed."""

EVENTS = 256
"""Events of a session that are read at once."""
EARLIER = 64
"""Events before them that are read again: the calls whose results are among the new ones."""
BATCH = 200
"""Passages of one statement: whoever writes besides us waits for a few of them at most."""
SIDE_BY_SIDE = 4
"""Sessions that are taken in at once, whose writes share transactions."""
SESSIONS = 1_000
"""Sessions that are looked up at once."""
ROUNDS = 10_000
"""Times that one `catch_up` looks for more: so many thousand sessions, in each of which something is new."""

SLACK = 24 * 3600.0
"""Seconds that a session's clock may have been set back since the last look."""
LOOK = 20.0
"""Seconds between two looks of `keep`."""

NEWEST = "SELECT max(updated_at) FROM sessions"
NEW_PROJECTS = """
INSERT OR IGNORE INTO recall_projects (project)
SELECT DISTINCT project FROM sessions WHERE session_id NOT IN (SELECT session_id FROM recall_sessions)
"""
NEW_SESSIONS = """
INSERT OR IGNORE INTO recall_sessions (session_id, project)
SELECT session_id, recall_projects.number FROM sessions JOIN recall_projects USING (project)
WHERE session_id NOT IN (SELECT session_id FROM recall_sessions)
ORDER BY created_at, session_id
"""
UNKNOWN = """
SELECT 1 FROM sessions
WHERE updated_at >= ? AND session_id NOT IN (SELECT session_id FROM recall_sessions) LIMIT 1
"""
PENDING = """
SELECT session_id, number, recall_sessions.project, upto, passages, branch
FROM sessions JOIN recall_sessions USING (session_id)
WHERE updated_at >= ? AND upto < (
    SELECT coalesce(max(seq), 0) FROM events WHERE events.session_id = sessions.session_id
)
LIMIT ?
"""
READ = "SELECT seq, at, data FROM events WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?"
# Nothing is added for a session that was deleted meanwhile, whose number may have been given anew.
ADD = """
INSERT OR IGNORE INTO recall_passages
    (place, seq, at, kind, speaker, source, words, traits, text, extra, branch)
SELECT * FROM (VALUES {rows}) WHERE EXISTS (
    SELECT 1 FROM recall_sessions WHERE number = ? AND session_id = ?
)
"""
ADVANCE = """
UPDATE recall_sessions SET upto = ?, passages = ?, branch = ?
WHERE session_id = ? AND number = ? AND upto < ?
"""
CLEAR = "DELETE FROM recall_sessions"
MERGE = "INSERT INTO recall (recall) VALUES ('optimize')"

Entry: TypeAlias = tuple[int, float, str, Passage]
"""A passage, with number and time of its event, and the branch of its turn."""


logger = logging.getLogger(__name__)


@record
class _Pending:
    """A session with events that are not indexed yet, and how far it is."""

    session_id: str
    number: int
    project: int
    upto: int
    passages: int
    branch: str


class RecallIndex:
    """Keeps the index up to the journal. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since = float("-inf")
        self._working = asyncio.Lock()

    async def keep(self) -> None:
        """Catch up again and again, until cancelled. What fails is tried again at the next look."""
        while True:
            try:
                await self.catch_up()
            except StorageError as error:
                logger.warning("what was said lately cannot be found by recall yet: %s", error)
            await asyncio.sleep(LOOK)

    async def catch_up(self) -> int:
        """Take in all events that are on disk now; the number of passages that this added.

        When cancelled, it goes on from about there the next time. Only sessions that were used since
        the last time are looked at, and all by the first call.
        """
        async with self._working:
            newest = (await self._database.fetch(NEWEST))[0][0]
            if await self._database.fetch(UNKNOWN, (self._since,)):
                await self._database.write(NEW_PROJECTS)
                await self._database.write(NEW_SESSIONS)
            added = 0
            for _ in range(ROUNDS):
                rows = await self._database.fetch(PENDING, (self._since, SESSIONS))
                if not rows:
                    break
                added += await self._take_in([_Pending(*row) for row in rows])
            if newest is not None:
                self._since = float(newest) - SLACK
            return added

    async def rebuild(self) -> int:
        """Make the whole index anew from the journal; the number of passages in it."""
        await self._database.write(CLEAR)
        self._since = float("-inf")
        return await self.catch_up()

    async def purge(self) -> None:
        """Rewrite the index without what was deleted, whose words are in the file until then."""
        await self._database.write(MERGE)

    async def _take_in(self, pending: list[_Pending]) -> int:
        waiting = iter(pending)

        async def work() -> int:
            return sum([await self._follow(session) for session in waiting])

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(SIDE_BY_SIDE)]
        return sum(worker.result() for worker in workers)

    async def _follow(self, session: _Pending) -> int:
        """Index a part of what is new in a session."""
        earlier = max(0, session.upto - EARLIER)
        limit = EVENTS + session.upto - earlier
        rows = await self._database.fetch(READ, (session.session_id, earlier, limit))
        entries, branch = await asyncio.to_thread(_entries, rows, session.upto, session.branch)
        place = session.project << PROJECT_SHIFT | session.number << SESSION_SHIFT
        added = 0
        entries = entries[: max(0, POSITIONS - 1 - session.passages)]
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            first = place + session.passages + start + 1
            added += await self._add(session, first, part)
        upto = max(int(rows[-1][0]) if rows else 0, session.upto)
        count = session.passages + len(entries)
        await self._database.write(ADVANCE, (upto, count, branch, session.session_id, session.number, upto))
        return added

    async def _add(self, session: _Pending, first: int, entries: Sequence[Entry]) -> int:
        marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(entries))
        values = [value for place, entry in enumerate(entries, first) for value in _values(place, entry)]
        return await self._database.write(
            ADD.format(rows=marks), (*values, session.number, session.session_id)
        )


def _entries(rows: list[Row], upto: int, branch: str) -> tuple[list[Entry], str]:
    """The passages of the events behind `upto`, and the branch at their end; `branch` is that at `upto`.

    What recall was asked, and what it answered, is no passage.
    """
    echoes = {echo(data) for _, _, data in rows}
    found: list[Entry] = []
    for seq, at, data in rows:
        if seq > upto:
            branch = branch if (begun := branch_of(data)) is None else begun
            found += [(seq, at, branch, item) for item in passages(data) if item.source not in echoes]
    return found, branch


def _values(place: int, entry: Entry) -> tuple[Value, ...]:
    seq, at, branch, item = entry
    return (
        place,
        seq,
        at,
        item.kind,
        item.speaker,
        item.source,
        item.words,
        item.traits,
        item.text,
        item.extra,
        branch,
    )
