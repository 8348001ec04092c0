"""Claims about the user: facts that nobody has stated, believed as far as sessions speak for them. Pure.

Claims with one key answer one question (*which package manager?*), so what speaks for one speaks against
the others. A session counts once, and half as much with every `HALF_LIFE_DAYS` that pass:

    confidence = (1 + for) / (2 + for + against)

A claim holds from `SESSIONS` sessions and the confidence `ENOUGH` on. One that falls below holds no
longer, and is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from hermes_acp.memory.facts.fact import Evidence, Fact
from hermes_acp.memory.scopes import USER
from hermes_acp.records import record

PREFIX = "profile: "
"""Begins the keys of claims."""
HALF_LIFE_DAYS = 90.0
"""After so many days a session counts half."""
SESSIONS = 3
"""Fewer sessions prove nothing."""
ENOUGH = 0.7
"""The confidence from which on a claim holds."""
KEPT = 16
"""Sessions that a claim remembers, the last ones: more would make it hard to unlearn."""
DAY = 86_400.0

State: TypeAlias = Literal["holds", "collecting", "faded", "replaced", "settled", "retracted"]
"""`settled`: the user confirmed or wrote it. `collecting`: too little evidence yet. `replaced`: another
answer to its question holds."""


@record
class Standing:
    """How far a claim is believed at a time; `backed` and `against` count sessions, whenever they were."""

    fact: Fact
    confidence: float
    backed: int
    against: int
    state: State


def is_claim(fact: Fact) -> bool:
    """Whether a fact is a claim about the user."""
    return fact.scope == USER and fact.key.startswith(PREFIX)


def is_settled(fact: Fact) -> bool:
    """Whether the user has answered the question of a claim: no evidence is needed, and none counts."""
    by_user = fact.author != "agent" or fact.confidence == 1.0
    return by_user and fact.status in ("active", "proposed")


def confirmed(fact: Fact) -> Fact:
    """The fact as the user agreed to it: such a claim needs no evidence any more."""
    return replace(fact, confidence=1.0) if is_claim(fact) else fact


def heard(fact: Fact, evidence: Iterable[Evidence]) -> Fact:
    """The claim with evidence of sessions that have not spoken for it yet."""
    known = {item.session for item in fact.evidence}
    new = [item for item in evidence if item.found and item.session not in known]
    every = sorted((*fact.evidence, *new), key=lambda item: item.at)
    return replace(fact, evidence=tuple(every[-KEPT:])) if new else fact


def confidence(fact: Fact, rivals: Iterable[Fact], now: float) -> float:
    """How far a claim is believed, with the other answers to its question."""
    backed = weight(fact.evidence, now)
    against = sum(weight(rival.evidence, now) for rival in rivals)
    return round((1 + backed) / (2 + backed + against), 4)


def believed(asked: Sequence[Fact], now: float) -> dict[str, float]:
    """The confidence of each answer to one question, by its id."""
    return {fact.id: confidence(fact, rivals(fact, asked), now) for fact in asked}


def weight(evidence: Iterable[Evidence], now: float) -> float:
    """What evidence counts for: 1 for each session, less with its age; none from the future counts more."""
    days = (max(0.0, now - item.at) / DAY for item in evidence if item.found)
    return sum(0.5 ** (day / HALF_LIFE_DAYS) for day in days)


def is_proven(fact: Fact, believed: float) -> bool:
    """Whether a claim with this confidence holds without anybody's word."""
    return believed >= ENOUGH and len(fact.evidence) >= SESSIONS


def holding(facts: Sequence[Fact], now: float) -> list[Fact]:
    """The facts of the user without the claims that hold no longer; `facts` are those of all statuses."""
    gone = {item.fact.id for item in standings(facts, now) if item.state == "faded"}
    return [fact for fact in facts if fact.id not in gone]


def standings(facts: Iterable[Fact], now: float) -> list[Standing]:
    """The claims among the facts of the user, by their questions, the most believed first."""
    questions: dict[str, list[Fact]] = {}
    for fact in facts:
        if is_claim(fact):
            questions.setdefault(fact.key, []).append(fact)
    return [
        standing
        for _, asked in sorted(questions.items())
        for standing in sorted(
            (_standing(fact, asked, now) for fact in asked),
            key=lambda item: (item.state == "retracted", -item.confidence, item.fact.id),
        )
    ]


def rivals(fact: Fact, asked: Iterable[Fact]) -> list[Fact]:
    """The other answers to the question of a claim, but those that the user took back."""
    return [other for other in asked if other.id != fact.id and other.status != "retracted"]


def _standing(fact: Fact, asked: Sequence[Fact], now: float) -> Standing:
    others = rivals(fact, asked)
    believed = 1.0 if is_settled(fact) else confidence(fact, others, now)
    against = sum(len(other.evidence) for other in others)
    return Standing(fact, believed, len(fact.evidence), against, _state(fact, believed))


def _state(fact: Fact, believed: float) -> State:
    match fact.status:
        case "retracted":
            return "retracted"
        case "superseded":
            return "replaced"
        case _ if is_settled(fact):
            return "settled"
        case "proposed":
            return "collecting"
        case "active":
            return "holds" if is_proven(fact, believed) else "faded"
