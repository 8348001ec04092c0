"""What changes mean for the facts that there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hermes_acp.memory import scopes
from hermes_acp.memory.facts.changes import (
    Amend,
    Change,
    Confirm,
    Observe,
    Remember,
    Retract,
    Supersede,
    Take,
)
from hermes_acp.memory.facts.draft import Draft, chain
from hermes_acp.memory.facts.edits import Edit, edits, settle
from hermes_acp.memory.facts.fact import LINKS, Evidence, Fact, clean, clean_key, moment
from hermes_acp.memory.scopes import Place
from hermes_acp.memory.user_model import claims
from hermes_acp.records import record


@record
class Plan:
    """What changes do: `ids` has the fact of each of them, `notes` what their author should know."""

    edits: tuple[Edit, ...]
    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan(
    changes: Sequence[Change], facts: Mapping[str, Fact], place: Place, at: float, ids: Iterator[str]
) -> Plan:
    """What the changes, in order, make of the facts of the user and the project. Raises `BadFact`."""
    draft = Draft(dict(facts), place, moment(at), ids)
    made = tuple([_apply(draft, change) for change in changes])
    return Plan(edits(facts, draft.facts), made, tuple(draft.notes))


def _apply(draft: Draft, change: Change) -> str:
    match change:
        case Remember():
            return _remember(draft, change)
        case Supersede():
            return _supersede(draft, change)
        case Amend():
            return _amend(draft, change)
        case Retract(fact_id):
            return draft.change(fact_id, lambda fact: replace(fact, status="retracted"))
        case Confirm(fact_id):
            return draft.change(fact_id, lambda fact: draft.standing(claims.confirmed(fact)))
        case Take(fact):
            return _take(draft, fact)
        case Observe():
            return _observe(draft, change)


def _remember(draft: Draft, change: Remember) -> str:
    scope = {"user": scopes.USER, "project": scopes.PROJECT}.get(change.reach)
    fact = Fact(
        id=next(draft.ids),
        kind=change.kind,
        scope=scope or draft.place.scope_for(change.kind),
        text=clean(change.text),
        created=draft.at,
        updated=draft.at,
        key=clean_key(change.key),
        author=change.author,
        confidence=change.confidence,
        evidence=_cleaned(change.evidence),
        derived_from=change.derived_from[:LINKS],
    )
    known = draft.same(fact)
    if known is None:
        return draft.put(draft.judged(fact, proposed=change.proposed))
    return known.id if change.proposed else _again(draft, known, fact)


def _take(draft: Draft, fact: Fact) -> str:
    known = draft.facts.get(fact.id)
    if known is None or known.updated < fact.updated:
        draft.put(fact)
        if fact.key and fact.stands:
            settle(draft.facts, fact)
    return fact.id


def _observe(draft: Draft, change: Observe) -> str:
    """The claim with its new evidence: its confidence, that of its rivals, and whether it holds."""
    asked = [
        fact
        for fact in draft.facts.values()
        if (fact.scope, fact.key) == (scopes.USER, clean_key(change.key))
    ]
    known = next((fact for fact in asked if fact.text == change.text), None) or _claim(draft, change)
    if (settled := next(filter(claims.is_settled, asked), None)) or known.status == "retracted":
        return (settled or known).id
    better = claims.heard(known, _cleaned(change.evidence))
    if better == known:
        return known.id
    draft.put(replace(better, updated=draft.at))
    believed = claims.believed((better, *claims.rivals(better, asked)), draft.at)
    for fact_id, confidence in believed.items():
        draft.facts[fact_id] = replace(draft.facts[fact_id], confidence=confidence)
    if better.status != "active" and claims.is_proven(better, believed[better.id]):
        draft.put(draft.standing(draft.facts[better.id]))
    return better.id


def _claim(draft: Draft, change: Observe) -> Fact:
    """A claim that nothing speaks for yet."""
    return Fact(
        next(draft.ids),
        change.kind,
        scopes.USER,
        clean(change.text),
        draft.at,
        draft.at,
        clean_key(change.key),
        "proposed",
        confidence=0.0,
    )


def _again(draft: Draft, known: Fact, fact: Fact) -> str:
    """Somebody says what is known already: more evidence for it, and perhaps it was only a proposal."""
    if known.status == "active":
        draft.notes.append(f"This is known already as {known.id}.")
    if fact.author == "agent" and not fact.proven:
        return known.id
    evidence = tuple(dict.fromkeys((*known.evidence, *fact.evidence)))[:LINKS]
    better = replace(known, evidence=evidence, confidence=max(known.confidence, fact.confidence))
    if known.status == "proposed":
        better = draft.judged(replace(better, author=fact.author))
    return draft.change(known.id, lambda _: better)


def _supersede(draft: Draft, change: Supersede) -> str:
    old = draft.get(change.fact_id)
    fact = Fact(
        id=next(draft.ids),
        kind=old.kind,
        scope=scopes.USER if old.scope == scopes.USER else draft.place.scope_for(old.kind),
        text=clean(change.text),
        created=draft.at,
        updated=draft.at,
        key=old.key,
        author=change.author,
        confidence=change.confidence,
        supersedes=chain((old,)),
        evidence=_cleaned(change.evidence),
        derived_from=change.derived_from[:LINKS],
    )
    return draft.put(draft.judged(fact, proposed=change.proposed))


def _amend(draft: Draft, change: Amend) -> str:
    fact = draft.get(change.fact_id)
    beyond = fact.scope == scopes.PROJECT != draft.place.scope_for(fact.kind)
    if beyond and change.author == "agent":
        text = fact.text if change.text is None else change.text
        return _supersede(draft, Supersede(fact.id, text, "agent", evidence=change.evidence))
    if change.author == "agent" and fact.author == "user" and change.text is not None:
        return _supersede(draft, Supersede(fact.id, change.text, "agent", evidence=change.evidence))
    evidence = tuple(dict.fromkeys((*fact.evidence, *_cleaned(change.evidence))))
    return draft.change(
        fact.id,
        lambda old: replace(
            old,
            text=old.text if change.text is None else clean(change.text),
            key=old.key if change.key is None else clean_key(change.key),
            kind=change.kind or old.kind,
            confidence=old.confidence if change.confidence is None else change.confidence,
            author="user" if change.author == "user" else old.author,
            evidence=evidence[:LINKS],
        ),
    )


def _cleaned(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(replace(item, quote=clean(item.quote)) for item in evidence)[:LINKS]
