"""Looks things up in the recall index: where words occur, and what stands there. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar, cast

import orjson

from hermes_acp.records import record
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import PROJECT_SHIFT, SESSION_SHIFT
from hermes_acp.storage.recall_passages import Kind

LAST = (1 << 63) - 1

NUMBERS = (
    "SELECT number FROM recall_projects WHERE project IN (SELECT value FROM json_each(?)) ORDER BY number"
)
SESSION = "SELECT project, number FROM recall_sessions WHERE session_id = ?"
COUNT = """
SELECT coalesce(sum(passages), 0) FROM recall_sessions
WHERE (project << 44) | (number << 22) BETWEEN ? AND ?
"""
FIRST = "SELECT min(at) FROM recall_passages"
# The places of a word come as one text: a row for each takes twice as long, and there are many thousands.
FOUND = """
SELECT (
    SELECT json_group_array(rowid) FROM (
        SELECT rowid FROM recall WHERE recall MATCH expression.value AND rowid BETWEEN ?2 AND ?3 LIMIT ?4
    )
) FROM json_each(?1) AS expression ORDER BY expression.key
"""
# CROSS: the index first, then the time and kind of what it finds.
FOUND_FILTERED = """
SELECT (
    SELECT json_group_array(place) FROM (
        SELECT place FROM recall CROSS JOIN recall_passages ON place = recall.rowid
        WHERE recall MATCH expression.value AND recall.rowid BETWEEN ?2 AND ?3 AND at >= ?5 AND at < ?6
            AND kind IN (SELECT value FROM json_each(?7)) AND (?8 IS NULL OR branch = ?8)
        LIMIT ?4
    )
) FROM json_each(?1) AS expression ORDER BY expression.key
"""
LATEST_FIRST = "SELECT seq, turn_id FROM events WHERE session_id = ? ORDER BY seq DESC"
FIRST_FROM = "SELECT min(place) FROM recall_passages WHERE place BETWEEN ? AND ? AND seq >= ?"
WITHIN = """
SELECT place FROM recall_passages
WHERE at >= ?5 AND at < ?6 AND +place BETWEEN ?2 AND ?3 AND kind IN (SELECT value FROM json_each(?7))
    AND (?8 IS NULL OR branch = ?8)
ORDER BY at DESC LIMIT ?4
"""
# The index alone has both.
DURING = """
SELECT json_group_array(place) FROM (
    SELECT place FROM recall_passages
    WHERE at >= ? AND at < ? AND +place BETWEEN ? AND ? ORDER BY at DESC LIMIT ?
)
"""
MEASURES = """
SELECT place, seq, at, kind, speaker, words, traits, branch FROM recall_passages
WHERE place IN (SELECT value FROM json_each(?))
"""
SPEAKERS = "SELECT session, speaker FROM recall_speakers WHERE session IN (SELECT value FROM json_each(?))"
TEXTS = """
SELECT place, session_id, seq, at, kind, speaker, source, text, recall_passages.branch
FROM recall_passages JOIN recall_sessions ON number = (place >> 22) & 4194303
"""
TEXTS_AT = f"{TEXTS} WHERE place IN (SELECT value FROM json_each(?))"
TEXTS_AROUND = f"{TEXTS} WHERE place BETWEEN ? AND ? AND seq BETWEEN ? AND ? ORDER BY place LIMIT ?"

T = TypeVar("T")


@record
class Range:
    """The places from `first` to `last`, both included: a project, a session or everything."""

    first: int
    last: int


EVERYTHING = Range(0, LAST)


@record
class Scope:
    """Where to look: in these ranges but one part, at these kinds, from `since` to before `until`.

    The times are in seconds since the epoch; without a `branch` it is what was said on any or none.
    """

    ranges: tuple[Range, ...]
    kinds: tuple[Kind, ...] = ("user", "agent", "call", "result")
    since: float = -1e18
    until: float = 1e18
    without: Range | None = None
    branch: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether kinds, times and a branch do not narrow it."""
        return self == Scope(self.ranges, without=self.without)

    def during(self, since: float, until: float) -> Scope:
        """The part of it from `since` to before `until`."""
        return replace(self, since=max(self.since, since), until=min(self.until, until))

    def covers(self, place: int, item: Measure) -> bool:
        """Whether a passage at a place in one of the ranges belongs to it."""
        return (
            item.kind in self.kinds
            and self.since <= item.at < self.until
            and self.branch in (None, item.branch)
            and not self.hides(place)
        )

    def hides(self, place: int) -> bool:
        """Whether a place lies in the part that is left out."""
        return self.without is not None and self.without.first <= place <= self.without.last


class Measure(NamedTuple):
    """What ranking wants to know of a passage; a tuple, because a question has a thousand."""

    seq: int
    at: float
    kind: Kind
    speaker: str
    words: int
    traits: int
    branch: str = ""


@record
class Found:
    """A passage as it is shown; `source` is the id of its message or call, `at` in epoch seconds.

    `branch` is what its turn had checked out, empty where that is not known.
    """

    place: int
    session_id: str
    seq: int
    at: float
    kind: Kind
    speaker: str
    source: str
    text: str
    branch: str = ""


class Reader:
    """One connection's view of the index. All methods block and raise `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def projects(self, names: Iterable[str]) -> tuple[Range, ...]:
        """The ranges of the projects that the sessions name so; without those nothing is kept of."""
        rows = self._connection.execute(NUMBERS, (_json(list(names)),)).fetchall()
        return tuple(_range(number << PROJECT_SHIFT, PROJECT_SHIFT) for (number,) in rows)

    def session(self, session_id: str) -> Range | None:
        """The range of a session; None when it is not known."""
        row = self._connection.execute(SESSION, (session_id,)).fetchone()
        return (
            None if row is None else _range(row[0] << PROJECT_SHIFT | row[1] << SESSION_SHIFT, SESSION_SHIFT)
        )

    def latest_turn(self, session_id: str) -> Range | None:
        """The part of a session's range from the beginning of its latest turn; None when nothing is there."""
        session, begin, latest = self.session(session_id), None, None
        for seq, turn_id in self._connection.execute(LATEST_FIRST, (session_id,)):
            if turn_id != (latest := latest or turn_id):
                break
            begin = seq
        if session is None or begin is None:
            return None
        [(first,)] = self._connection.execute(FIRST_FROM, (session.first, session.last, begin))
        return None if first is None else Range(first, session.last)

    def count(self, ranges: Iterable[Range]) -> int:
        """How many passages there are."""
        return sum(
            int(self._connection.execute(COUNT, (item.first, item.last)).fetchone()[0]) for item in ranges
        )

    def first(self) -> float | None:
        """The time of the oldest passage of all; None when there is none."""
        return cast("float | None", self._connection.execute(FIRST).fetchone()[0])

    def places(self, expression: str, scope: Scope, limit: int) -> list[int]:
        """Where an expression of `recall_words` is found, at most `limit` places of each range."""
        return self.lists([expression], scope, limit)[0]

    def lists(self, expressions: Sequence[str], scope: Scope, limit: int) -> list[list[int]]:
        """The same for each of several expressions."""
        found: list[list[int]] = [[] for _ in expressions]
        whole, asked = scope.is_whole, _json(expressions)
        for item in scope.ranges if expressions else ():
            args = [asked, *_limits(item, limit), *(() if whole else _filters(scope))]
            for places, (text,) in zip(
                found, self._connection.execute(FOUND if whole else FOUND_FILTERED, args), strict=True
            ):
                places += orjson.loads(text)
        return [_shown(scope, places) for places in found]

    def within(self, scope: Scope, limit: int) -> list[int]:
        """The newest places, at most `limit` of each range."""
        found: list[int] = []
        for item in scope.ranges:
            rows = self._connection.execute(WITHIN, ["", *_limits(item, limit), *_filters(scope)])
            found += [place for (place,) in rows]
        return _shown(scope, found)

    def during(self, scope: Scope, times: Iterable[tuple[float, float]], limit: int) -> set[int]:
        """The newest places of each time (from, to before), at most `limit`; some beside the scope."""
        first, last = min(item.first for item in scope.ranges), max(item.last for item in scope.ranges)
        found: set[int] = set()
        for since, until in times:
            [(text,)] = self._connection.execute(DURING, (since, until, first, last, limit))
            found.update(orjson.loads(text))
        return found

    def measures(self, places: Collection[int]) -> dict[int, Measure]:
        """What is known of these places; those that are not there are left out."""
        rows = self._connection.execute(MEASURES, (_json(list(places)),))
        return {row[0]: Measure._make(row[1:]) for row in rows}

    def speakers(self, places: Iterable[int]) -> dict[int, list[str]]:
        """Who speaks in the sessions of these places, by the number of the session (`session_of`)."""
        numbers = {session_of(place) for place in places}
        found: dict[int, list[str]] = {number: [] for number in numbers}
        for number, speaker in self._connection.execute(SPEAKERS, (_json(list(numbers)),)):
            found[number].append(speaker)
        return found

    def texts(self, places: Sequence[int]) -> list[Found]:
        """The passages at these places, in this order."""
        rows = self._connection.execute(TEXTS_AT, (_json(list(places)),))
        by_place = {row[0]: Found(*row) for row in rows}
        return [by_place[place] for place in places if place in by_place]

    def around(self, session: Range, first_seq: int, last_seq: int, limit: int) -> list[Found]:
        """The passages of a session between two events, in order, at most `limit`."""
        rows = self._connection.execute(
            TEXTS_AROUND, (session.first, session.last, first_seq, last_seq, limit)
        )
        return [Found(*row) for row in rows]


async def reading(database: ReadOnlyDatabase, function: Callable[[Reader], T]) -> T:
    """The function's result; it runs in a thread. Raises `StorageError`.

    When the caller is cancelled, the lookup that runs ends soon.
    """
    return await database.read(lambda connection: function(Reader(connection)))


def session_of(place: int) -> int:
    """The number of the session that a place belongs to."""
    return (place >> SESSION_SHIFT) & ((1 << SESSION_SHIFT) - 1)


def session_range(place: int) -> Range:
    """The range of the session that a place belongs to."""
    return _range(place >> SESSION_SHIFT << SESSION_SHIFT, SESSION_SHIFT)


def _shown(scope: Scope, places: list[int]) -> list[int]:
    return places if scope.without is None else [place for place in places if not scope.hides(place)]


def _limits(item: Range, limit: int) -> tuple[int, int, int]:
    return item.first, item.last, limit


def _filters(scope: Scope) -> tuple[float, float, str, str | None]:
    return scope.since, scope.until, _json(scope.kinds), scope.branch


def _range(first: int, bits: int) -> Range:
    return Range(first, first + (1 << bits) - 1)


def _json(values: Sequence[object]) -> str:
    return orjson.dumps(values).decode()
