"""Recall: what was said in the sessions of a project, found by a question as it is typed."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from hermes_acp.memory import dates, ranking, words
from hermes_acp.memory.ranking import Signals, Term
from hermes_acp.memory.words import Word
from hermes_acp.records import record
from hermes_acp.storage import recall_words
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import RecallIndex
from hermes_acp.storage.recall_passages import Kind
from hermes_acp.storage.recall_reader import (
    EVERYTHING,
    Found,
    Range,
    Reader,
    Scope,
    reading,
    session_range,
)

LIMIT = 10
"""Results when no other number is asked for."""
LIMIT_AT_MOST = 1_000
"""Results of one question at most."""
QUESTION_CHARS = 10_000
"""Characters of a question that are read."""
OCCURRENCES = 30_000
"""Places of one word that are looked at; a word with more says next to nothing."""
RELATED_PART = 100
"""A related word that occurs in more than one of so many passages is no sign of anything,"""
RELATED_FEW, RELATED_OCCURRENCES = 30, 500
"""but not for so few passages, and always for more than so many."""
RELATED_LOOKUPS = 120
"""Times that related words of a question are looked up, in all parts of the scope together."""
POOL = 300
"""Passages among which those are found that are ranked: in sessions with somebody who is named."""
CANDIDATES = 80
"""Passages that are ranked with their neighbours."""
IN_PERIOD = 10_000
"""Passages of all periods that are named, the newest of each, among which there are as many to rank."""
BROAD_WORDS = 2
"""A question of so few words, beside names, may have many answers."""
UNWORDED = 1_000
"""Passages that a question stands for which has no word of its own."""
SESSIONS_WITH_FILE = 500
"""Sessions in which a file is looked for."""
AROUND_PASSAGES = 200
"""Passages of one look around a hit."""

T = TypeVar("T")

_WHEN = re.compile(r"\b(?:when|how long|how old|what (?:date|day|month|year|time))\b", re.IGNORECASE)


@record
class Filter:
    """What results are limited to: sessions that name `file`, one session, kinds, a time, a branch.

    `since` is included, `until` is not; both in seconds since the epoch. The latest turn of the session
    `asking` is left out: it is the one in which the question was asked. The `branch` is that of the turn
    in which something was said, or its commit where there was none.
    """

    session_id: str | None = None
    file: str | None = None
    kinds: tuple[Kind, ...] = ()
    since: float | None = None
    until: float | None = None
    asking: str | None = None
    branch: str | None = None


UNLIMITED = Filter()
"""All that was said."""


@record
class Hit:
    """A result and how good it is; scores compare only within one answer."""

    found: Found
    score: float


class Recall:
    """Answers questions from the index of `database`; all methods raise `StorageError`.

    `projects` are the names by which sessions know the project; None searches all projects together.
    With an `index`, each answer knows all that is on disk by then.
    """

    def __init__(
        self, database: ReadOnlyDatabase, projects: Sequence[str] | None, index: RecallIndex | None = None
    ) -> None:
        self._database = database
        self._projects = projects
        self._index = index

    async def answer(self, question: str, limit: int = LIMIT, only: Filter = UNLIMITED) -> list[Hit]:
        """The best results, best first, at most `limit`."""
        return (await self.answers([question], limit, only))[0]

    async def answers(
        self, questions: Sequence[str], limit: int = LIMIT, only: Filter = UNLIMITED
    ) -> list[list[Hit]]:
        """The results of each question, with one opening of the database."""

        def look(reader: Reader) -> list[list[Hit]]:
            scope = _scope(reader, self._projects, only)
            return [answer(reader, scope, question, limit) for question in questions]

        return await self._read(look)

    async def around(self, session_id: str, seq: int, reach: int = 5) -> list[Found]:
        """What stands near an event of a session of the project, in order; empty when it is not known."""

        def look(reader: Reader) -> list[Found]:
            session = reader.session(session_id)
            if session is None or not _covers(_ranges(reader, self._projects), session):
                return []
            return reader.around(session, seq - reach, seq + reach, AROUND_PASSAGES)

        return await self._read(look)

    async def _read(self, look: Callable[[Reader], T]) -> T:
        if self._index is not None:
            await self._index.catch_up()
        return await reading(self._database, look)


def answer(reader: Reader, scope: Scope, question: str, limit: int) -> list[Hit]:
    """The best results for a question; blocks. Raises `sqlite3.Error`."""
    first = reader.first()
    if first is None or not scope.ranges or limit < 1:
        return []
    question = question[:QUESTION_CHARS]
    typed = words.content(question)
    names = _names(reader, scope, typed)
    periods = tuple(dates.periods(question, time.time(), first))
    mentions = _places(reader, scope, [sorted(names)] if names else [], OCCURRENCES)
    rest = [word for word in typed if word.text not in names]
    asks_when = bool(_WHEN.search(question))
    several = not asks_when and (len(rest) <= BROAD_WORDS or words.asks_for_several(question))
    signals = Signals(names, frozenset(itertools.chain(*mentions)), periods, asks_when, several)
    terms = _terms(reader, scope, rest, signals)
    limit = min(limit, LIMIT_AT_MOST)
    best = dict(_ordered(reader, scope, terms, signals, limit)[:limit])
    return [Hit(found, round(best[found.place], 4)) for found in reader.texts(list(best))]


def _ordered(
    reader: Reader, scope: Scope, terms: Sequence[Term], signals: Signals, limit: int
) -> list[tuple[int, float]]:
    """All places worth showing, best first, each event once."""
    chosen, present = _candidates(reader, scope, terms, signals, max(CANDIDATES, limit))
    measures = reader.measures(ranking.neighbourhood(chosen))
    order = ranking.ranked(terms, measures, present, signals)
    covered = ((place, score) for place, score in order if scope.covers(place, measures[place]))
    order = ranking.distinct(covered, measures)
    return ranking.spread(order) if signals.several else order


def _terms(reader: Reader, scope: Scope, typed: Sequence[Word], signals: Signals) -> list[Term]:
    """The words with their places; where none occurs, what begins like them, or is near to the question."""
    if words.is_about_saying(typed) and (signals.names or signals.periods):
        typed = ()
    total = reader.count(scope.ranges)
    exact = _places(reader, scope, [word.forms for word in typed], OCCURRENCES)
    # What was cut short is as good as everywhere.
    rare = [(word, places) for word, places in zip(typed, exact, strict=True) if len(places) < OCCURRENCES]
    terms = [item for item in _with_related(reader, scope, rare, total, signals) if item.weight > 0]
    if not terms:
        begun = [recall_words.match_beginning(words.beginning(word.text)) for word in typed]
        terms = [
            ranking.term(places, (), total) for places in reader.lists(begun, scope, OCCURRENCES) if places
        ]
    return terms or [Term(1.0, dict.fromkeys(_unworded(reader, scope, signals), 1.0))]


def _with_related(
    reader: Reader, scope: Scope, found: Sequence[tuple[Word, list[int]]], total: int, signals: Signals
) -> Iterator[Term]:
    """The words with their places and those of as many of their related words as may be looked up."""
    most = min(RELATED_OCCURRENCES, max(RELATED_FEW, total // RELATED_PART))
    having = sum(bool(word.related) for word, _ in found)
    each = RELATED_LOOKUPS // max(1, len(scope.ranges) * having)
    near = [word.related[:each] for word, _ in found]
    lists = iter(_places(reader, scope, [(other,) for others in near for other in others], most + 1))
    for (word, exact), others in zip(found, near, strict=True):
        related = [places for places in itertools.islice(lists, len(others)) if len(places) <= most]
        item = ranking.term(exact, related, total, _share(word, signals))
        yield replace(item, weight=item.weight * ranking.DOING) if word.doing else item


def _share(word: Word, signals: Signals) -> float:
    return ranking.RELATED_TO_ASKED if signals.several and word.asked else ranking.RELATED


def _unworded(reader: Reader, scope: Scope, signals: Signals) -> list[int]:
    """What a question without a word of its own can mean: all that a person said, or in a period, or both."""
    if not signals.periods:
        return _said_by(reader, scope, signals.names, UNWORDED)
    parts = [scope.during(period.start, period.end) for period in signals.periods]
    said = [place for part in parts for place in _said_by(reader, part, signals.names, UNWORDED)]
    return said or [place for part in parts for place in reader.within(part, UNWORDED)]


def _said_by(reader: Reader, scope: Scope, names: Iterable[str], limit: int) -> list[int]:
    return [
        place
        for name in sorted(names)
        for place in reader.places(recall_words.match_speaker(name), scope, limit)
    ]


def _candidates(
    reader: Reader, scope: Scope, terms: Sequence[Term], signals: Signals, most: int
) -> tuple[set[int], frozenset[int]]:
    """The best `most` by their own words and where they were said, and those of periods that are named.

    With them the sessions among theirs in which somebody speaks who is named.
    """
    pool = max(POOL, most)
    scores = ranking.scores(terms, pool)
    pools = [ranking.best(scores, pool)]
    if signals.periods:
        times = [(period.start, period.end) for period in signals.periods]
        inside = scores.keys() & reader.during(scope, times, IN_PERIOD // len(times))
        pools.append(ranking.best({place: scores[place] for place in inside}, pool))
    named = itertools.chain(*pools) if signals.names else ()
    present = ranking.sessions_with_named(reader.speakers(named), signals)
    weighed = (ranking.near_named(each, present, signals) for each in pools)
    return {place for each in weighed for place in ranking.best(each, most)}, present


def _places(
    reader: Reader, scope: Scope, alternatives: Iterable[Sequence[str]], limit: int
) -> list[list[int]]:
    """For each group of words where one of them is found."""
    return reader.lists([recall_words.match(words) for words in alternatives], scope, limit)


def _names(reader: Reader, scope: Scope, typed: Sequence[Word]) -> frozenset[str]:
    """The words by which somebody is called who speaks."""
    said = reader.lists([recall_words.match_speaker(word.text) for word in typed], scope, 1)
    return frozenset(word.text for word, places in zip(typed, said, strict=True) if places)


# --- where to look -------------------------------------------------------------------------------


def _scope(reader: Reader, projects: Sequence[str] | None, only: Filter) -> Scope:
    ranges = _ranges(reader, projects)
    if only.session_id is not None:
        session = reader.session(only.session_id)
        ranges = (session,) if session is not None and _covers(ranges, session) else ()
    scope = Scope(ranges)
    if only.file is not None:
        places = reader.places(recall_words.match_phrase(only.file), scope, OCCURRENCES)
        sessions = dict.fromkeys(session_range(place) for place in places)
        scope = Scope(tuple(sessions)[:SESSIONS_WITH_FILE])
    return replace(
        scope,
        kinds=only.kinds or scope.kinds,
        since=scope.since if only.since is None else only.since,
        until=scope.until if only.until is None else only.until,
        without=None if only.asking is None else reader.latest_turn(only.asking),
        branch=only.branch,
    )


def _ranges(reader: Reader, projects: Sequence[str] | None) -> tuple[Range, ...]:
    return (EVERYTHING,) if projects is None else reader.projects(projects)


def _covers(ranges: Sequence[Range], session: Range) -> bool:
    return any(item.first <= session.first and session.last <= item.last for item in ranges)
