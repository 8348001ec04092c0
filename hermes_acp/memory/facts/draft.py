"""The facts while a plan is made: which of them stand, in the place of which others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from hermes_acp.memory import scopes
from hermes_acp.memory.facts.fact import LINKS, BadFact, Fact, check, folded
from hermes_acp.memory.scopes import Place


@dataclass(slots=True)
class Draft:
    """The facts of the user and the project, as the changes so far have made them; `notes` say what of it."""

    facts: dict[str, Fact]
    place: Place
    at: float
    ids: Iterator[str]
    notes: list[str] = field(default_factory=list[str])

    def get(self, fact_id: str) -> Fact:
        """The fact with this id. Raises `BadFact` when there is none."""
        if (fact := self.facts.get(fact_id)) is None:
            raise BadFact(f"There is no fact {fact_id} here: list the facts for their ids.")
        return fact

    def put(self, fact: Fact) -> str:
        """Have the fact there; gives its id. Raises `BadFact` for one that cannot be kept."""
        self.facts[fact.id] = check(fact)
        return fact.id

    def change(self, fact_id: str, change: Callable[[Fact], Fact]) -> str:
        """Change a fact, which is newer then unless it stays as it is; gives its id. Raises `BadFact`."""
        fact = self.get(fact_id)
        changed = change(fact)
        return fact_id if changed == fact else self.put(replace(changed, updated=self.at))

    def judged(self, fact: Fact, *, proposed: bool = False) -> Fact:
        """The fact as it holds, or as a proposal: when nothing proves it, or when it contradicts the user."""
        if proposed:
            return replace(fact, status="proposed")
        if fact.author != "agent":
            return self.standing(fact)
        rivals = [self.facts[other] for other in fact.supersedes] + self._with_key(fact)
        if any(rival.author == "user" and rival.status == "active" for rival in rivals):
            self.notes.append(f"The user said something else: {fact.id} is a proposal until it is confirmed.")
            return replace(fact, status="proposed")
        if not fact.proven:
            self.notes.append(
                f"No evidence of {fact.id} was found: it is a proposal until it is confirmed. "
                "Quote the message that it comes from, word by word."
            )
            return replace(fact, status="proposed")
        return self.standing(fact)

    def standing(self, fact: Fact) -> Fact:
        """The fact in force, in the place of those with its key and of those that had replaced it."""
        rivals = [*self._with_key(fact), *self._successors(fact)]
        for rival in rivals:
            kept = tuple(other for other in rival.supersedes if other != fact.id)
            self.facts[rival.id] = replace(rival, supersedes=kept)
        replaced = chain([self.facts[rival.id] for rival in rivals])
        supersedes = tuple(dict.fromkeys((*fact.supersedes, *replaced)))[:LINKS]
        return replace(fact, status="active", supersedes=supersedes)

    def same(self, fact: Fact) -> Fact | None:
        """The fact or proposal in its scope, or beyond it, that says the same."""
        wanted = folded(fact.text)
        beyond = {fact.scope, scopes.PROJECT} if fact.scope != scopes.USER else {scopes.USER}
        return next(
            (
                other
                for other in self.facts.values()
                if other.scope in beyond
                and other.kind == fact.kind
                and other.key == (fact.key or other.key)
                and folded(other.text) == wanted
                and (other.status == "proposed" or (other.status == "active" and self._holds(other)))
            ),
            None,
        )

    def _successors(self, fact: Fact) -> list[Fact]:
        """The facts of its scope that replace it."""
        return [
            other
            for other in self.facts.values()
            if other.scope == fact.scope and other.stands and fact.id in other.supersedes
        ]

    def _with_key(self, fact: Fact) -> list[Fact]:
        """The facts with its key that hold here, in its scope and beyond it."""
        if not fact.key:
            return []
        here = {fact.scope, *self.place.scopes} if fact.scope != scopes.USER else {scopes.USER}
        return [
            other
            for other in self.facts.values()
            if other.key == fact.key
            and other.id != fact.id
            and other.status == "active"
            and other.scope in here
        ]

    def _holds(self, fact: Fact) -> bool:
        """Whether nothing narrower replaces it here."""
        layers = [
            [other for other in self.facts.values() if other.scope == scope] for scope in self.place.scopes
        ]
        return fact.scope == scopes.USER or fact in scopes.visible(layers)


def chain(facts: Iterable[Fact]) -> tuple[str, ...]:
    """The facts and what they replaced: so nothing old comes back when one between is taken back."""
    return tuple(dict.fromkeys(link for fact in facts for link in (fact.id, *fact.supersedes)))[:LINKS]
