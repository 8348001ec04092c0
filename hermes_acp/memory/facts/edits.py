"""What facts were and became: those that replace others are marked, and move between scopes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hermes_acp.memory.facts.fact import LINKS, Fact
from hermes_acp.memory.scopes import Move
from hermes_acp.records import record


@record
class Edit:
    """A fact before (None: it was not there) and after."""

    before: Fact | None
    after: Fact


def edits(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> tuple[Edit, ...]:
    """The facts that differ, once those that others replace are marked as replaced."""
    settled = _marked(after)
    return tuple(
        Edit(before.get(fact_id), fact) for fact_id, fact in settled.items() if before.get(fact_id) != fact
    )


def moved(facts: Mapping[str, Fact], moves: Iterable[Move]) -> tuple[Edit, ...]:
    """What moves between scopes make of the facts of a project: of two with a key the newer one stays."""
    after = dict(facts)
    for move in moves:
        for fact in [fact for fact in after.values() if fact.scope == move.source]:
            after[fact.id] = replace(fact, scope=move.target)
            if fact.key and fact.stands:
                settle(after, after[fact.id])
    return edits(facts, after)


def settle(facts: dict[str, Fact], arrived: Fact) -> None:
    """Of facts with one key in a scope, have the newest one replace the others."""
    for other in list(facts.values()):
        same = (other.scope, other.key) == (arrived.scope, arrived.key) and other.id != arrived.id
        arrived = facts[arrived.id]
        if not (same and other.stands) or other.id in arrived.supersedes or arrived.id in other.supersedes:
            continue
        old, new = sorted((other, arrived), key=lambda fact: (fact.updated, fact.id))
        links = tuple(dict.fromkeys((*new.supersedes, old.id)))
        facts[new.id] = replace(new, supersedes=links[-LINKS:])


def _marked(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts, with those as `superseded` that another one of their scope replaces, and no others."""
    replaced = {(fact.scope, other) for fact in facts.values() if fact.stands for other in fact.supersedes}
    return {
        fact_id: replace(fact, status="superseded" if (fact.scope, fact_id) in replaced else "active")
        if fact.stands
        else fact
        for fact_id, fact in facts.items()
    }
