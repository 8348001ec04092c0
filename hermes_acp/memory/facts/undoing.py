"""Taking changes back: the facts become what they would be had the change never been made. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hermes_acp.memory.facts.changes import Retract
from hermes_acp.memory.facts.edits import Edit, edits
from hermes_acp.memory.facts.fact import Evidence, Fact
from hermes_acp.memory.user_model.claims import is_claim
from hermes_acp.records import record

T = TypeVar("T")


def revert(change: Iterable[Edit], facts: Mapping[str, Fact]) -> tuple[Edit, ...]:
    """What to do to the facts so that nothing of the change is left, nor of what was derived from it.

    What later changes did to the same facts stays.
    """
    after = dict(facts)
    touched: set[str] = set()
    since: dict[str, float] = {}
    for edit in change:
        fact_id = edit.after.id
        if (current := after.get(fact_id)) is None:
            continue
        if edit.before is None:
            after[fact_id] = replace(current, status="retracted")
            touched.add(fact_id)
            continue
        after[fact_id] = _merged(edit.before, edit.after, current)
        if edit.before.text != edit.after.text:
            since[fact_id] = edit.after.updated
    for fact_id in derived(after, touched, since):
        after[fact_id] = replace(after[fact_id], status="retracted")
    return edits(facts, after)


@record
class Void:
    """Events of a session that are not to count any more, neither as evidence nor for what they took back.

    `owned` are facts that their owner has changed since they were learned: these need no evidence.
    `retracted` are those that were taken back there, `edits` what was done there to facts, in order.
    """

    session: str
    events: Collection[int]
    owned: Collection[str] = ()
    retracted: Collection[str] = ()
    edits: Sequence[Edit] = ()

    def touches(self, fact: Fact) -> bool:
        """Whether one of the events is evidence of a fact."""
        return any(map(self.covers, fact.evidence))

    def covers(self, item: Evidence) -> bool:
        """Whether this evidence does not count any more."""
        return item.session == self.session and item.seq in self.events


def unlearn(void: Void, facts: Mapping[str, Fact], at: float) -> tuple[Edit, ...]:
    """What to do to the facts when some events do not count any more.

    Those without other evidence are retracted, with what was derived from them, but for those of the
    owner, and claims, which are believed as far as their evidence goes. What stays is as it was before
    the `edits`. What was retracted there holds again, or is a proposal where nobody but the agent has
    said it.
    """
    after = dict(facts)
    gone: set[str] = set()
    for fact in facts.values():
        if fact.status == "retracted" or not void.touches(fact):
            continue
        if stays(fact, void):
            left = tuple(item for item in fact.evidence if not void.covers(item))
            after[fact.id] = replace(_before(fact, void, at), evidence=left)
        else:
            after[fact.id] = replace(fact, status="retracted", updated=at)
            gone.add(fact.id)
    for fact_id in void.retracted:
        fact = after.get(fact_id)
        if fact is not None and fact.status == "retracted" and not void.touches(fact):
            status = "proposed" if fact.author == "agent" else "active"
            after[fact_id] = replace(fact, status=status, updated=at)
    for fact_id in derived(after, gone):
        if after[fact_id].status != "retracted":
            after[fact_id] = replace(after[fact_id], status="retracted", updated=at)
    return edits(facts, after)


def stays(fact: Fact, void: Void) -> bool:
    """Whether a fact needs none of the events: it has other evidence, or its owner vouches for it."""
    # What an agent infers holds only by the owner's yes.
    confirmed = fact.author == "agent" and fact.stands
    other = not all(map(void.covers, fact.evidence))
    return other or is_claim(fact) or confirmed or fact.id in void.owned


def retraction(fact_id: str, facts: Mapping[str, Fact]) -> list[Retract]:
    """The changes that take back a fact and what was derived from it, as far as they are not taken back."""
    gone = (fact_id, *sorted(derived(facts, (fact_id,))))
    return [Retract(link) for link in gone if facts[link].status != "retracted"]


def forget(fact_id: str, facts: Mapping[str, Fact]) -> tuple[frozenset[str], tuple[Edit, ...]]:
    """What goes with a fact, itself included, and what that changes in those that stay."""
    gone = frozenset((fact_id, *derived(facts, (fact_id,))))
    left = {key: fact for key, fact in facts.items() if key not in gone}
    return gone, edits(facts, left)


def derived(
    facts: Mapping[str, Fact], sources: Collection[str], since: Mapping[str, float] | None = None
) -> frozenset[str]:
    """The facts that come from the sources, directly or not; of those in `since`, the later ones only."""
    found: set[str] = set()
    origins = set(sources)
    late = since or {}
    while True:
        new = {
            fact.id
            for fact in facts.values()
            if fact.id not in found
            and any(
                link in origins or (link in late and fact.created >= late[link]) for link in fact.derived_from
            )
        }
        if not new:
            return frozenset(found)
        found |= new
        origins |= new


def _before(fact: Fact, void: Void, at: float) -> Fact:
    """A fact that stays, as it was before what was done there; not where its owner has changed it since."""
    if is_claim(fact) or fact.id in void.owned:
        return fact
    before = fact
    for edit in reversed(void.edits):
        if edit.after.id == fact.id and edit.before is not None:
            before = _merged(edit.before, edit.after, before)
    # What is concluded from the old words from now on falls when the new ones come back.
    return before if before.text == fact.text else replace(before, updated=at)


def _merged(before: Fact, after: Fact, current: Fact) -> Fact:
    """The current fact, with each member that still is as the change left it as it was before."""
    return replace(
        current,
        kind=_pick(before.kind, after.kind, current.kind),
        scope=_pick(before.scope, after.scope, current.scope),
        text=_pick(before.text, after.text, current.text),
        updated=_pick(before.updated, after.updated, current.updated),
        key=_pick(before.key, after.key, current.key),
        status=_pick(before.status, after.status, current.status),
        author=_pick(before.author, after.author, current.author),
        confidence=_pick(before.confidence, after.confidence, current.confidence),
        supersedes=_pick(before.supersedes, after.supersedes, current.supersedes),
        derived_from=_pick(before.derived_from, after.derived_from, current.derived_from),
        evidence=_pick(before.evidence, after.evidence, current.evidence),
    )


def _pick(before: T, after: T, current: T) -> T:
    return before if current == after else current
