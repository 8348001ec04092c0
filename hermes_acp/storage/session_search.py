"""Finds sessions: by what was said in them, by the beginning of an id, by a turn that has not ended."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import orjson

from hermes_acp.records import record
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.storage.words import Words, normal

Speaker: TypeAlias = Literal["title", "user", "agent", "tool"]

TITLE = 0
"""What stands for the title where an event has its number."""

SESSIONS = "SELECT session_id, title, updated_at FROM sessions WHERE ?1 IS NULL OR real_cwd = ?1"
# CROSS: the sessions of a folder come first, then only their events.
EVENTS = """
SELECT session_id, seq, data FROM sessions CROSS JOIN events USING (session_id)
WHERE (?1 IS NULL OR real_cwd = ?1)
    AND json_extract(data, '$.type') IN ('turn_started', 'steered', 'message_completed', 'tool_call_started')
"""
EVENT = "SELECT data FROM events WHERE session_id = ? AND seq = ?"
BEGINNING = """
SELECT session_id FROM sessions WHERE substr(session_id, 1, length(?1)) = ?1
ORDER BY session_id = ?1 DESC, updated_at DESC LIMIT ?2
"""
UNENDED = """
SELECT session_id FROM sessions
WHERE session_id IN (SELECT value FROM json_each(?)) AND 'turn_ended' <> (
    SELECT json_extract(data, '$.type') FROM events
    WHERE events.session_id = sessions.session_id AND turn_id <> ''
    ORDER BY seq DESC LIMIT 1
)
"""


@record
class Hit:
    """A session in which all words occur, and the text in it that has the most of them.

    `matches` counts all occurrences. `seq` is the event that has the text, `TITLE` for the title.
    """

    session: SessionRow
    score: float
    matches: int
    speaker: Speaker
    seq: int
    text: str


async def search(database: ReadOnlyDatabase, words: Words, real_cwd: str | None, limit: int) -> list[Hit]:
    """Up to `limit` sessions, of one folder or of all, best first; newer ones first when equally good.

    Titles, messages of both sides, and titles or commands of tool calls are searched. A word counts
    the more, the fewer sessions have it. Raises `StorageError`.
    """
    found = await database.read(lambda connection: _best(connection, words, real_cwd, limit))
    table = SessionTable(database)
    hits: list[Hit] = []
    for tally, score, (speaker, text) in found:
        # It may have been deleted meanwhile.
        if (row := await table.get(tally.session_id)) is not None:
            hits.append(Hit(row, score, sum(tally.counts), speaker, tally.best_seq, normal(text)))
    return hits


async def beginning_with(database: ReadOnlyDatabase, prefix: str, limit: int) -> list[SessionRow]:
    """Sessions whose id begins so, at most `limit`: the one with exactly this id first, then the newest."""
    table = SessionTable(database)
    ids = await database.fetch(BEGINNING, (prefix, limit))
    rows = [await table.get(session_id) for (session_id,) in ids]
    return [row for row in rows if row is not None]


async def unended(database: ReadOnlyDatabase, session_ids: Sequence[str]) -> set[str]:
    """Those of the sessions whose last turn has no end: it runs, or its process died."""
    rows = await database.fetch(UNENDED, (orjson.dumps(session_ids).decode(),))
    return {session_id for (session_id,) in rows}


@dataclass(slots=True)
class _Tally:
    """How often each word occurs in a session, and where the most different ones are together."""

    session_id: str
    title: str
    updated_at: float
    counts: list[int]
    best_seq: int = TITLE
    best: int = 0

    def add(self, seq: int, counts: Iterable[int]) -> None:
        different = 0
        for index, count in enumerate(counts):
            self.counts[index] += count
            different += count > 0
        if different > self.best:
            self.best, self.best_seq = different, seq


def _best(
    connection: sqlite3.Connection, words: Words, real_cwd: str | None, limit: int
) -> list[tuple[_Tally, float, tuple[Speaker, str]]]:
    tallies = _tallies(connection, words, real_cwd)
    # The number of sessions that have each word.
    having = [sum(tally.counts[index] > 0 for tally in tallies) for index in range(len(words.folded))]
    weights = [math.log(1 + len(tallies) / sessions) if sessions else 0.0 for sessions in having]
    scored = [(tally, _score(tally, weights)) for tally in tallies if all(tally.counts)]
    scored.sort(key=lambda item: (-item[1], -item[0].updated_at, item[0].session_id))
    return [(tally, score, _text(connection, tally)) for tally, score in scored[: max(0, limit)]]


def _tallies(connection: sqlite3.Connection, words: Words, real_cwd: str | None) -> list[_Tally]:
    tallies = {
        session_id: _Tally(session_id, title or "", updated_at, [0] * len(words.folded))
        for session_id, title, updated_at in connection.execute(SESSIONS, (real_cwd,))
    }
    for session_id, seq, data in connection.execute(EVENTS, (real_cwd,)):
        # One that was made since is not looked at.
        if (tally := tallies.get(session_id)) is not None:
            tally.add(seq, words.count(_said(data)[1]))
    for tally in tallies.values():
        # Last, because it mostly repeats the first message, which says more.
        tally.add(TITLE, words.count(tally.title))
    return list(tallies.values())


def _score(tally: _Tally, weights: Sequence[float]) -> float:
    return sum(weight * (1 + math.log(count)) for weight, count in zip(weights, tally.counts, strict=True))


def _text(connection: sqlite3.Connection, tally: _Tally) -> tuple[Speaker, str]:
    """The text at a tally's best place; empty when the session was deleted since it was counted."""
    if tally.best_seq == TITLE:
        return "title", tally.title
    row = connection.execute(EVENT, (tally.session_id, tally.best_seq)).fetchone()
    return _said(row[0]) if row else ("title", "")


def _said(data: str) -> tuple[Speaker, str]:
    """Who says what in an event of the journal."""
    match orjson.loads(data):
        case {"type": "turn_started" | "steered", "content": blocks}:
            return "user", "\n".join(map(_block, cast("list[object]", blocks)))
        case {"type": "message_completed", "text": str() as text}:
            return "agent", text
        case {
            "type": "tool_call_started",
            "kind": "execute",
            "title": str() as title,
            "arguments": str() as text,
        }:
            return "tool", _command(text) or title
        case {"type": "tool_call_started", "title": str() as title}:
            return "tool", title
        case _:
            return "title", ""


def _block(block: object) -> str:
    match block:
        case {"type": "text", "text": str() as text} | {"type": "link", "name": str() as text}:
            return text
        case _:
            return ""


def _command(arguments: str) -> str:
    """The command in a call's arguments, which are as the model wrote them; empty when there is none."""
    try:
        match orjson.loads(arguments):
            case {"command": str() as command}:
                return command
            case _:
                return ""
    except orjson.JSONDecodeError:
        return ""
