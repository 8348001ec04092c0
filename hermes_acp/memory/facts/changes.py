"""Changes of facts: what somebody wants, and what it means for the facts that there are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from hermes_acp.memory import scopes
from hermes_acp.memory.facts.fact import (
    LINKS,
    Author,
    BadFact,
    Evidence,
    Fact,
    Kind,
    check,
    clean,
    clean_key,
    moment,
)
from hermes_acp.memory.scopes import Move, Place
from hermes_acp.memory.user_model import claims
from hermes_acp.records import record


@record
class Remember:
    """A new fact. With a `key` it replaces what holds here with that key.

    `reach` is how far it holds: on the `branch` (or in the project, for kinds that no branch has), in the
    `project`, or for the `user` in all of them. With `proposed` it waits to be confirmed, whatever proves it.
    """

    kind: Kind
    text: str
    key: str = ""
    author: Author = "agent"
    reach: Literal["branch", "project", "user"] = "branch"
    confidence: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    derived_from: tuple[str, ...] = ()
    proposed: bool = False


@record
class Supersede:
    """A new fact of the kind and key of another one that held until now, which it replaces.

    With `proposed` it waits to be confirmed.
    """

    fact_id: str
    text: str
    author: Author = "agent"
    confidence: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    derived_from: tuple[str, ...] = ()
    proposed: bool = False


@record
class Amend:
    """Another wording of the same fact; what is None stays.

    On a branch an agent cannot reword what holds beyond it: that becomes a `Supersede` there.
    """

    fact_id: str
    text: str | None = None
    key: str | None = None
    kind: Kind | None = None
    confidence: float | None = None
    author: Author = "agent"
    evidence: tuple[Evidence, ...] = ()


@record
class Retract:
    """A fact is wrong, everywhere: what it had replaced holds again."""

    fact_id: str


@record
class Confirm:
    """A proposal holds from now on, or what was taken back holds again."""

    fact_id: str


@record
class Take:
    """A fact from elsewhere as it is, unless this one is here already and not older."""

    fact: Fact


@record
class Observe:
    """Evidence for a claim about the user, which holds once enough sessions speak for it (see `claims`).

    What the user confirmed, wrote or took back themselves stays as it is.
    """

    key: str
    kind: Kind
    text: str
    evidence: tuple[Evidence, ...]


Change: TypeAlias = Remember | Supersede | Amend | Retract | Confirm | Take | Observe


@record
class Edit:
    """A fact before (None: it was not there) and after."""

    before: Fact | None
    after: Fact


@record
class Plan:
    """What changes do: `ids` has the fact of each of them, `notes` what their author should know."""

    edits: tuple[Edit, ...]
    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    """The facts while a plan is made."""

    facts: dict[str, Fact]
    place: Place
    at: float
    ids: Iterator[str]
    notes: list[str] = field(default_factory=list[str])

    def get(self, fact_id: str) -> Fact:
        if (fact := self.facts.get(fact_id)) is None:
            raise BadFact(f"There is no fact {fact_id} here: list the facts for their ids.")
        return fact

    def put(self, fact: Fact) -> str:
        self.facts[fact.id] = check(fact)
        return fact.id


def plan(
    changes: Sequence[Change], facts: Mapping[str, Fact], place: Place, at: float, ids: Iterator[str]
) -> Plan:
    """What the changes, in order, make of the facts of the user and the project. Raises `BadFact`."""
    draft = _Draft(dict(facts), place, moment(at), ids)
    made = tuple([_apply(draft, change) for change in changes])
    return Plan(edits(facts, draft.facts), made, tuple(draft.notes))


def moved(facts: Mapping[str, Fact], moves: Iterable[Move]) -> tuple[Edit, ...]:
    """What moves between scopes make of the facts of a project: of two with a key the newer one stays."""
    after = dict(facts)
    for move in moves:
        for fact in [fact for fact in after.values() if fact.scope == move.source]:
            after[fact.id] = replace(fact, scope=move.target)
            if fact.key and fact.stands:
                _settle(after, after[fact.id])
    return edits(facts, after)


def edits(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> tuple[Edit, ...]:
    """The facts that differ, once those that others replace are marked as replaced."""
    settled = _marked(after)
    return tuple(
        Edit(before.get(fact_id), fact) for fact_id, fact in settled.items() if before.get(fact_id) != fact
    )


def _apply(draft: _Draft, change: Change) -> str:
    match change:
        case Remember():
            return _remember(draft, change)
        case Supersede():
            return _supersede(draft, change)
        case Amend():
            return _amend(draft, change)
        case Retract(fact_id):
            return _set(draft, fact_id, lambda fact: replace(fact, status="retracted"))
        case Confirm(fact_id):
            return _set(draft, fact_id, lambda fact: _standing(draft, claims.confirmed(fact)))
        case Take(fact):
            return _take(draft, fact)
        case Observe():
            return _observe(draft, change)


def _set(draft: _Draft, fact_id: str, change: Callable[[Fact], Fact]) -> str:
    fact = draft.get(fact_id)
    changed = change(fact)
    return fact_id if changed == fact else draft.put(replace(changed, updated=draft.at))


def _remember(draft: _Draft, change: Remember) -> str:
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
    known = _same(draft, fact)
    if known is None:
        return draft.put(_judged(draft, fact, proposed=change.proposed))
    return known.id if change.proposed else _again(draft, known, fact)


def _take(draft: _Draft, fact: Fact) -> str:
    known = draft.facts.get(fact.id)
    if known is None or known.updated < fact.updated:
        draft.put(fact)
        if fact.key and fact.stands:
            _settle(draft.facts, fact)
    return fact.id


def _observe(draft: _Draft, change: Observe) -> str:
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
        draft.put(_standing(draft, draft.facts[better.id]))
    return better.id


def _claim(draft: _Draft, change: Observe) -> Fact:
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


def _again(draft: _Draft, known: Fact, fact: Fact) -> str:
    """Somebody says what is known already: more evidence for it, and perhaps it was only a proposal."""
    if known.status == "active":
        draft.notes.append(f"This is known already as {known.id}.")
    if fact.author == "agent" and not _proven(fact):
        return known.id
    evidence = tuple(dict.fromkeys((*known.evidence, *fact.evidence)))[:LINKS]
    better = replace(known, evidence=evidence, confidence=max(known.confidence, fact.confidence))
    if known.status == "proposed":
        better = _judged(draft, replace(better, author=fact.author))
    return _set(draft, known.id, lambda _: better)


def _supersede(draft: _Draft, change: Supersede) -> str:
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
        supersedes=_chain((old,)),
        evidence=_cleaned(change.evidence),
        derived_from=change.derived_from[:LINKS],
    )
    return draft.put(_judged(draft, fact, proposed=change.proposed))


def _amend(draft: _Draft, change: Amend) -> str:
    fact = draft.get(change.fact_id)
    beyond = fact.scope == scopes.PROJECT != draft.place.scope_for(fact.kind)
    if beyond and change.author == "agent":
        text = fact.text if change.text is None else change.text
        return _supersede(draft, Supersede(fact.id, text, "agent", evidence=change.evidence))
    if change.author == "agent" and fact.author == "user" and change.text is not None:
        return _supersede(draft, Supersede(fact.id, change.text, "agent", evidence=change.evidence))
    evidence = tuple(dict.fromkeys((*fact.evidence, *_cleaned(change.evidence))))
    return _set(
        draft,
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


def _judged(draft: _Draft, fact: Fact, *, proposed: bool = False) -> Fact:
    """The fact as it holds, or as a proposal: when nothing proves it, or when it contradicts the user."""
    if proposed:
        return replace(fact, status="proposed")
    if fact.author != "agent":
        return _standing(draft, fact)
    rivals = [draft.facts[other] for other in fact.supersedes] + _with_key(draft, fact)
    if any(rival.author == "user" and rival.status == "active" for rival in rivals):
        draft.notes.append(f"The user said something else: {fact.id} is a proposal until it is confirmed.")
        return replace(fact, status="proposed")
    if not _proven(fact):
        draft.notes.append(
            f"No evidence of {fact.id} was found: it is a proposal until it is confirmed. "
            "Quote the message that it comes from, word by word."
        )
        return replace(fact, status="proposed")
    return _standing(draft, fact)


def _standing(draft: _Draft, fact: Fact) -> Fact:
    """The fact in force, in the place of those with its key and of those that had replaced it."""
    rivals = [*_with_key(draft, fact), *_successors(draft, fact)]
    for rival in rivals:
        kept = tuple(other for other in rival.supersedes if other != fact.id)
        draft.facts[rival.id] = replace(rival, supersedes=kept)
    chain = _chain([draft.facts[rival.id] for rival in rivals])
    return replace(fact, status="active", supersedes=tuple(dict.fromkeys((*fact.supersedes, *chain)))[:LINKS])


def _successors(draft: _Draft, fact: Fact) -> list[Fact]:
    """The facts of its scope that replace it."""
    return [
        other
        for other in draft.facts.values()
        if other.scope == fact.scope and other.stands and fact.id in other.supersedes
    ]


def _with_key(draft: _Draft, fact: Fact) -> list[Fact]:
    """The facts with its key that hold here, in its scope and beyond it."""
    if not fact.key:
        return []
    here = {fact.scope, *draft.place.scopes} if fact.scope != scopes.USER else {scopes.USER}
    return [
        other
        for other in draft.facts.values()
        if other.key == fact.key and other.id != fact.id and other.status == "active" and other.scope in here
    ]


def _same(draft: _Draft, fact: Fact) -> Fact | None:
    """The fact or proposal in its scope, or beyond it, that says the same."""
    wanted = _folded(fact.text)
    beyond = {fact.scope, scopes.PROJECT} if fact.scope != scopes.USER else {scopes.USER}
    return next(
        (
            other
            for other in draft.facts.values()
            if other.scope in beyond
            and other.kind == fact.kind
            and other.key == (fact.key or other.key)
            and _folded(other.text) == wanted
            and (other.status == "proposed" or (other.status == "active" and _holds(draft, other)))
        ),
        None,
    )


def _holds(draft: _Draft, fact: Fact) -> bool:
    """Whether nothing narrower replaces it here."""
    layers = [
        [other for other in draft.facts.values() if other.scope == scope] for scope in draft.place.scopes
    ]
    return fact.scope == scopes.USER or fact in scopes.visible(layers)


def _chain(facts: Iterable[Fact]) -> tuple[str, ...]:
    """The facts and what they replaced: so nothing old comes back when one between is taken back."""
    return tuple(dict.fromkeys(link for fact in facts for link in (fact.id, *fact.supersedes)))[:LINKS]


def _marked(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts, with those as `superseded` that another one of their scope replaces, and no others."""
    replaced = {(fact.scope, other) for fact in facts.values() if fact.stands for other in fact.supersedes}
    return {
        fact_id: replace(fact, status="superseded" if (fact.scope, fact_id) in replaced else "active")
        if fact.stands
        else fact
        for fact_id, fact in facts.items()
    }


def _settle(facts: dict[str, Fact], arrived: Fact) -> None:
    """Of facts with one key in a scope, have the newest one replace the others."""
    for other in list(facts.values()):
        same = (other.scope, other.key) == (arrived.scope, arrived.key) and other.id != arrived.id
        arrived = facts[arrived.id]
        if not (same and other.stands) or other.id in arrived.supersedes or arrived.id in other.supersedes:
            continue
        old, new = sorted((other, arrived), key=lambda fact: (fact.updated, fact.id))
        links = tuple(dict.fromkeys((*new.supersedes, old.id)))
        facts[new.id] = replace(new, supersedes=links[-LINKS:])


def _proven(fact: Fact) -> bool:
    return any(item.found for item in fact.evidence)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _cleaned(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(replace(item, quote=clean(item.quote)) for item in evidence)[:LINKS]
