"""Short names of facts: the ends of their ids, as people and models type them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hermes_acp.memory.facts.fact import BadFact, Fact

SHORT_CHARS = 6
"""Characters of an id that are shown: its end, which is random."""
SHORTEST = 4
"""Fewer characters would fit too many facts."""
NAMED = 5
"""Facts that are named when what was typed fits several."""


def short(fact_id: str) -> str:
    """What a fact is called in a list."""
    return fact_id[-SHORT_CHARS:].lower()


def chosen(typed: str, facts: Mapping[str, Fact]) -> Fact:
    """The fact with this id, or the only one whose id ends so. Raises `BadFact`."""
    wanted = typed.strip().lstrip("^").upper()
    if wanted in facts:
        return facts[wanted]
    found = [fact for fact in facts.values() if len(wanted) >= SHORTEST and fact.id.endswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadFact(f"There is no fact {typed.strip()[:40]!r} here: list the facts for their ids.")
    several = ", ".join(fact.id for fact in found[:NAMED])
    raise BadFact(f"{len(found)} facts end so: {several}. Give more of the id.")
