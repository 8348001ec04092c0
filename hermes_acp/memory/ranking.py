"""Ranks passages for a question: its words in a window of neighbours, who speaks, and when. Pure.

A dialogue answers in turns: the words of a question are spread over the message that brings something
up and the one that answers it. So a passage counts with its neighbours, which have the neighbouring
numbers. How often a word is repeated says little in messages; whether it is there says most.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from hermes_acp.memory.dates import Period
from hermes_acp.records import record
from hermes_acp.storage.recall_passages import ASKS, TELLS_TIME, Kind
from hermes_acp.storage.recall_reader import Measure, session_of

WINDOW = ((-2, 0.25), (-1, 0.5), (0, 1.0), (1, 0.5), (2, 0.25))
"""Neighbours of a passage, and how much of a word that stands there counts."""
RELATED = 0.4
"""How much a related word counts at most, beside the word itself."""
RELATED_TO_ASKED = 0.8
"""The same for what is asked for in a question with several answers, which name it and not its kind."""
DOING = 0.75
"""What a word of doing is worth."""
K1, B = 0.7, 0.3
"""How soon more occurrences stop to matter, and how much long windows are held back."""
SAID_BY_NAMED = 1.25
MENTIONS_NAMED = 1.08
WITHOUT_NAMED = 0.3
"""Factors of a question that names somebody: their own words, a mention, a session they are not in."""
SAID_BY_NAMED_OF_SEVERAL = 1.4
MENTIONS_NAMED_OF_SEVERAL = 1.12
"""The first two for a question with several answers, which share fewer words with it than a single one."""
NEXT_OF_SESSION = 0.9
"""What the next result of a session is worth for such a question, after each that it has already."""
IN_PERIOD = 1.5
"""Factor of what was said in a period that the question names."""
TELLS_WHEN = 1.2
"""Factor of what says when something was, for a question that asks when."""
IS_QUESTION = 0.85
"""Factor of a question: the answer stands behind it."""
KINDS: Mapping[Kind, float] = {"user": 1.0, "agent": 1.0, "call": 0.95, "result": 0.85}
"""Factors of the kinds: what tools print is long and says a lot by the way."""


@record
class Term:
    """A word of the question: where it or a related word occurs, and which part of its weight is there."""

    weight: float
    places: Mapping[int, float]


@record
class Signals:
    """What a question says besides its words.

    `mentions` are the places where somebody who is named in it is spoken of; `several`: there may be
    many answers, in different sessions.
    """

    names: frozenset[str] = frozenset()
    mentions: frozenset[int] = frozenset()
    periods: tuple[Period, ...] = ()
    asks_when: bool = False
    several: bool = False


def term(
    exact: Collection[int], related: Iterable[Collection[int]], total: int, share: float = RELATED
) -> Term:
    """A word with its weight: the rarer it is among the `total` passages, the more it says.

    `related` are the places of each related word, which counts for `share` of the weight, and for less
    when it is the more frequent of the two.
    """
    weight = rarity(len(exact), total)
    places: dict[int, float] = {}
    for found in sorted(filter(None, related), key=len, reverse=True):
        # The rarer ones come last, and stand where there are several.
        places.update(dict.fromkeys(found, share * min(1.0, rarity(len(found), total) / weight)))
    places.update(dict.fromkeys(exact, 1.0))
    return Term(weight if places else 0.0, places)


def rarity(occurrences: int, total: int) -> float:
    """How much a word says that occurs so often; one that never does is as good as one that did once."""
    having = min(max(1, occurrences), total)
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def scores(terms: Iterable[Term]) -> dict[int, float]:
    """The places of all words, with what the words that are right there are worth."""
    found: dict[int, float] = {}
    for item in terms:
        for place, share in item.places.items():
            found[place] = found.get(place, 0.0) + item.weight * share
    return found


def best(found: Mapping[int, float], limit: int) -> list[int]:
    """The places with the highest scores, at most `limit`."""
    return heapq.nlargest(limit, found, key=found.__getitem__)


def neighbourhood(places: Iterable[int], reach: int = 2) -> set[int]:
    """The places and their neighbours, of which some may not exist."""
    return {place + distance for place in places for distance in range(-reach, reach + 1)}


def ranked(
    terms: Sequence[Term],
    measures: Mapping[int, Measure],
    speakers: Mapping[int, Collection[str]],
    signals: Signals,
) -> list[tuple[int, float]]:
    """The measured places with their scores, best first; the newer one of two that are equally good.

    `speakers` are those of each session. Places in which nothing speaks for them are left out.
    """
    present = {session for session, names in speakers.items() if _names(names) & signals.names}
    own = {name for name in {item.speaker for item in measures.values()} if _names((name,)) & signals.names}
    average = sum(item.words for item in measures.values()) / max(1, len(measures)) or 1.0
    scores: dict[int, float] = {}
    for place, item in measures.items():
        words = 0.0
        for step, share in WINDOW:
            neighbour = measures.get(place + step)
            words += share * (average if neighbour is None else neighbour.words)
        hold = K1 * (1 - B + B * words / (average * _SHARES))
        score = _words(place, terms, hold)
        if score <= 0:
            continue
        score *= _factor(place, item, signals, named=item.speaker in own)
        if signals.names and session_of(place) not in present and place not in signals.mentions:
            score *= WITHOUT_NAMED
        scores[place] = score
    return sorted(scores.items(), key=lambda pair: (-pair[1], -measures[pair[0]].at, -pair[0]))


def distinct(order: Iterable[tuple[int, float]], measures: Mapping[int, Measure]) -> list[tuple[int, float]]:
    """The best passage of each event, in order."""
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for place, score in order:
        best.setdefault((session_of(place), measures[place].seq), (place, score))
    return list(best.values())


def spread(order: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """The same places so that each further one of a session counts less, best first."""
    waiting: dict[int, deque[tuple[int, int, float]]] = {}
    for rank, (place, score) in enumerate(order):
        waiting.setdefault(session_of(place), deque()).append((rank, place, score))
    firsts = [(-places[0][2], places[0][0], session) for session, places in waiting.items()]
    shares = dict.fromkeys(waiting, 1.0)
    heapq.heapify(firsts)
    found: list[tuple[int, float]] = []
    while firsts:
        score, _, session = heapq.heappop(firsts)
        places = waiting[session]
        found.append((places.popleft()[1], -score))
        shares[session] *= NEXT_OF_SESSION
        if places:
            heapq.heappush(firsts, (-places[0][2] * shares[session], places[0][0], session))
    return found


_SHARES = sum(share for _, share in WINDOW)


def _words(place: int, terms: Sequence[Term], hold: float) -> float:
    score = 0.0
    for item in terms:
        there = 0.0
        places = item.places
        for step, share in WINDOW:
            if place + step in places:
                there += share * places[place + step]
        if there:
            score += item.weight * there * (K1 + 1) / (there + hold)
    return score


def _factor(place: int, item: Measure, signals: Signals, *, named: bool) -> float:
    factor = KINDS[item.kind]
    if signals.names:
        if named:
            factor *= SAID_BY_NAMED_OF_SEVERAL if signals.several else SAID_BY_NAMED
        elif place in signals.mentions:
            factor *= MENTIONS_NAMED_OF_SEVERAL if signals.several else MENTIONS_NAMED
    if any(period.start <= item.at < period.end for period in signals.periods):
        factor *= IN_PERIOD
    if signals.asks_when and item.traits & TELLS_TIME:
        factor *= TELLS_WHEN
    if item.traits & ASKS:
        factor *= IS_QUESTION
    return factor


def _names(speakers: Iterable[str]) -> set[str]:
    return {word for speaker in speakers if speaker for word in speaker.lower().split()}
