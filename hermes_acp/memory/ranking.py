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
WINDOW_OF_SEVERAL = ((-2, 0.25), (-1, 0.25), (0, 1.0), (1, 0.5), (2, 0.25))
"""The same for a question with several answers, of which each stands more for itself."""
WINDOW_OF_ANSWER = ((-2, 0.25), (-1, 0.6), (0, 1.0), (1, 0.5), (2, 0.25))
"""The same for a word that is in a question: what follows is the answer to it."""
REACH = 2
"""Passages on each side that a window takes in."""
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


def scores(terms: Iterable[Term], enough: int) -> dict[int, float]:
    """Places with what the words that are right there are worth: the best `enough` of all, and others.

    The rarest words come first. Once so many places are ahead by more than all other words are worth, a
    place that has only those is none of the best, and the long lists of frequent words add no more.
    """
    found: dict[int, float] = {}
    waiting = deque(sorted(terms, key=lambda item: -item.weight))
    closed = False
    while waiting:
        rest = sum(item.weight for item in waiting)
        closed = closed or len([score for score in found.values() if score > rest]) >= enough
        item = waiting.popleft()
        weight, shares, sofar = item.weight, item.places, found.get
        for place in found.keys() & shares.keys() if closed else shares:
            found[place] = sofar(place, 0.0) + weight * shares[place]
    return found


def best(found: Mapping[int, float], limit: int) -> dict[int, float]:
    """The places with the highest scores, best first, at most `limit`; the later one of two equal ones."""
    if limit < len(found):
        floor = heapq.nlargest(limit, found.values())[-1]
        found = {place: score for place, score in found.items() if score >= floor}
    order = sorted(((score, place) for place, score in found.items()), reverse=True)
    return {place: score for score, place in order[:limit]}


def sessions_with_named(speakers: Mapping[int, Collection[str]], signals: Signals) -> frozenset[int]:
    """Those of the sessions, given with who speaks in them, in which somebody speaks who is named."""
    return frozenset(number for number, names in speakers.items() if _names(names) & signals.names)


def near_named(
    scores: Mapping[int, float], present: Collection[int], signals: Signals
) -> Mapping[int, float]:
    """The scores, less of them in a session in which nobody is `present` who is named, nor is mentioned."""
    if not signals.names:
        return scores
    return {
        place: score if session_of(place) in present or place in signals.mentions else score * WITHOUT_NAMED
        for place, score in scores.items()
    }


def neighbourhood(places: Iterable[int], reach: int = REACH) -> set[int]:
    """The places and their neighbours, of which some may not exist."""
    return {place + distance for place in places for distance in range(-reach, reach + 1)}


def ranked(
    terms: Sequence[Term],
    measures: Mapping[int, Measure],
    present: Collection[int],
    signals: Signals,
) -> list[tuple[int, float]]:
    """The measured places with their scores, best first; the newer one of two that are equally good.

    `present` are the sessions in which somebody speaks who is named. Places in which nothing speaks for
    them are left out.
    """
    own = {name for name in {item.speaker for item in measures.values()} if _names((name,)) & signals.names}
    scores = near_named(_window_scores(terms, measures, signals), present, signals)
    weighed = [
        (score * _factor(place, item := measures[place], signals, named=item.speaker in own), item.at, place)
        for place, score in scores.items()
    ]
    return [(place, score) for score, _, place in sorted(weighed, reverse=True)]


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


def _window_scores(
    terms: Iterable[Term], measures: Mapping[int, Measure], signals: Signals
) -> dict[int, float]:
    """What the words in the windows of the measured places are worth; nothing for places without any."""
    around = neighbourhood(measures)
    usual = WINDOW_OF_SEVERAL if signals.several else WINDOW
    windows = {place: WINDOW_OF_ANSWER for place, item in measures.items() if item.traits & ASKS}
    holds = _holds(measures)
    scores: dict[int, float] = {}
    for item in terms:
        found: dict[int, float] = {}
        for place in around & item.places.keys():
            for step, share in windows.get(place, usual):
                found[place - step] = found.get(place - step, 0.0) + share * item.places[place]
        for place in found.keys() & holds.keys():
            there = found[place]
            part = item.weight * there * (K1 + 1) / (there + holds[place])
            scores[place] = scores.get(place, 0.0) + part
    return scores


def _holds(measures: Mapping[int, Measure]) -> dict[int, float]:
    """How much the length of each window holds it back."""
    lengths = {place: item.words for place, item in measures.items()}
    average = sum(lengths.values()) / max(1, len(lengths)) or 1.0
    slope = K1 * B / (average * sum(share for _, share in WINDOW))
    holds = dict.fromkeys(lengths, K1 * (1 - B))
    for step, share in WINDOW:
        part = slope * share
        for place in holds:
            holds[place] += part * lengths.get(place + step, average)
    return holds


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
