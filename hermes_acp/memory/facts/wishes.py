"""What an agent may do to facts: what the user has said goes live, what it has inferred is proposed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hermes_acp.memory import words
from hermes_acp.memory.facts.changes import Amend, Change, Remember, Retract, Supersede
from hermes_acp.memory.facts.fact import BadFact, Evidence, Fact, Kind
from hermes_acp.memory.facts.names import chosen
from hermes_acp.records import record

Action = Literal["remember", "amend", "supersede", "retract"]

INFERRED = 0.6
"""The confidence of what nobody has said."""
QUOTE_CHARS = 8
"""A shorter quote (“yes”, “ok”) proves nothing by itself."""
NOT_YOURS = (
    "{fact_id} holds because the user said so, or confirmed it: only they take it back. Quote the words in "
    "which they did, or tell them that `/memory revert {fact_id}` does it."
)


@record
class Wish:
    """What the agent wants; `fact` is an id, or the end of one, `sources` are what it concludes from.

    `file` is where the code says so, empty where it does not.
    """

    action: Action
    text: str = ""
    kind: Kind | None = None
    key: str | None = None
    fact: str = ""
    reach: Literal["branch", "project", "user"] = "branch"
    sources: tuple[str, ...] = ()
    file: str = ""


def change(wish: Wish, said: Evidence | None, facts: Mapping[str, Fact], here: Evidence) -> Change:
    """The change that a wish becomes. Raises `BadFact`.

    `said` is where the user said it in this session, None when they did not; `here` is where the agent
    stands then. The first call reads tables: call it in a thread.
    """
    stated = said is not None and supports(said.quote, wish.text)
    evidence = (said,) if said is not None and (stated or wish.action == "retract") else (here,)
    match wish.action:
        case "remember":
            return _remember(wish, stated=stated, evidence=evidence, facts=facts)
        case "amend" if stated:
            fact_id = chosen(wish.fact, facts).id
            return Amend(fact_id, wish.text, wish.key, wish.kind, author="user", evidence=evidence)
        case "amend" | "supersede":
            _need(wish.text, "Say the new text.")
            return Supersede(
                chosen(wish.fact, facts).id,
                wish.text,
                "user" if stated else "agent",
                1.0 if stated else INFERRED,
                evidence,
                _sources(wish, facts),
                proposed=not stated,
            )
        case "retract":
            fact = chosen(wish.fact, facts)
            own = fact.status == "proposed" and fact.author == "agent"
            if not (own or (said is not None and len(said.quote.strip()) >= QUOTE_CHARS)):
                raise BadFact(NOT_YOURS.format(fact_id=fact.id[-6:].lower()))
            return Retract(fact.id)


def supports(quote: str, text: str) -> bool:
    """Whether a quote says what a text says: at least half of the words that mean something are its own."""
    if len(quote.strip()) < QUOTE_CHARS:
        return False
    said = {form for word in words.content(quote) for form in word.forms}
    meant = words.content(text)
    return bool(meant) and 2 * sum(not said.isdisjoint(word.forms) for word in meant) >= len(meant)


def _remember(
    wish: Wish, *, stated: bool, evidence: tuple[Evidence, ...], facts: Mapping[str, Fact]
) -> Remember:
    _need(wish.text, "Say the text to remember.")
    if wish.kind is None:
        raise BadFact("Say the kind: preference, environment, code-fact, decision, procedure or pitfall.")
    return Remember(
        wish.kind,
        wish.text,
        wish.key or "",
        "user" if stated else "agent",
        wish.reach,
        1.0 if stated else INFERRED,
        evidence,
        _sources(wish, facts),
        proposed=not stated,
    )


def _sources(wish: Wish, facts: Mapping[str, Fact]) -> tuple[str, ...]:
    return tuple(chosen(typed, facts).id for typed in wish.sources)


def _need(text: str, sentence: str) -> None:
    if not text.strip():
        raise BadFact(sentence)
