"""Reads facts from where others left them: files of a history, looks at branches, open proposals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import cast

import orjson

from hermes_acp.memory.facts.fact import Fact, name_of, parse_file
from hermes_acp.memory.scopes import Known, Place, visible
from hermes_acp.memory.user_model.claims import is_claim
from hermes_acp.records import record


@record
class Review:
    """A proposal and what it would replace, for the user to decide: `Confirm` it or `Retract` it."""

    proposal: Fact
    instead_of: tuple[Fact, ...]


def reviews(facts: Mapping[str, Fact], place: Place) -> list[Review]:
    """The proposals that concern a place, the oldest first; claims about the user prove themselves."""
    scopes = (*place.scopes, "user")
    layers = [[fact for fact in facts.values() if fact.scope == scope] for scope in scopes]
    holding = visible(layers)
    return [
        Review(fact, tuple(other for other in holding if _replaces(fact, other)))
        for fact in sorted(facts.values(), key=lambda fact: fact.id)
        if fact.status == "proposed" and fact.scope in scopes and not is_claim(fact)
    ]


def from_files(
    branches: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, Fact], tuple[str, ...]]:
    """The facts in the files of all branches, and a sentence for each file that holds none."""
    found: dict[str, Fact] = {}
    problems: list[str] = []
    for branch, files in sorted(branches.items()):
        for path, text in sorted(files.items()):
            try:
                fact = parse_file(text)
            except ValueError as error:
                problems.append(f"{branch}:{path} is no fact: {error} Correct the file or remove it.")
                continue
            if path != name_of(fact.id):
                problems.append(f"{branch}:{path} holds the fact {fact.id}: rename it or remove it.")
            elif (other := found.get(fact.id)) is None or other.updated < fact.updated:
                found[fact.id] = fact
    return found, tuple(problems)


def known_from(data: bytes) -> dict[str, Known]:
    """What `known_to` has kept."""
    listed = cast("dict[str, tuple[str, bool]]", orjson.loads(data))
    return {scope: Known(*values) for scope, values in listed.items()}


def known_to(known: Mapping[str, Known]) -> bytes:
    """A look at branches, as it is kept."""
    return orjson.dumps({scope: tuple(asdict(item).values()) for scope, item in known.items()})


def _replaces(fact: Fact, other: Fact) -> bool:
    same_key = bool(fact.key) and fact.key == other.key
    return other.id != fact.id and (same_key or other.id in fact.supersedes)
