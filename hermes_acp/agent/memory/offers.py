"""Which facts fit what was just said: by the words that they share, rare ones first. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from hermes_acp.memory import words
from hermes_acp.memory.facts.fact import Fact
from hermes_acp.records import record
from hermes_acp.storage import recall_words

BUDGET = 600 * 4
"""Characters of the facts that are offered to a turn: some 600 tokens."""
ALL = 1_000_000
"""No budget: somebody asked."""
ENOUGH = 2
"""Words that a fact must share with a message, unless the message has fewer."""
PROMPT_CHARS = 4_000
"""Of a longer message the beginning counts."""
NAMED = 4
"""Words that the reason names."""


@record
class Offer:
    """A fact, and the reason why it is offered."""

    fact: Fact
    why: str


def fitting(prompt: str, facts: Sequence[Fact], budget: int = BUDGET) -> list[Offer]:
    """The facts that fit a message, the best first, as many as the budget has room for.

    The first call reads tables: call it in a thread.
    """
    asked = words.content(prompt[:PROMPT_CHARS])
    wanted = frozenset(form for word in asked for form in word.forms)
    of_facts = {fact.id: _words(f"{fact.key} {fact.text}".casefold(), wanted) for fact in facts}
    common = Counter(form for forms in of_facts.values() for form in forms)
    scored: list[tuple[float, Offer]] = []
    for fact in facts:
        shared = [word for word in asked if not of_facts[fact.id].isdisjoint(word.forms)]
        if len(shared) >= min(ENOUGH, len(asked)) and shared:
            rarest = (max(common[form] for form in word.forms) for word in shared)
            score = sum(math.log(1 + len(facts) / max(1, count)) for count in rarest)
            scored.append((score, Offer(fact, _reason(word.text for word in shared))))
    scored.sort(key=lambda item: (-item[0], item[1].fact.id))
    chosen: list[Offer] = []
    for _, offer in scored:
        budget -= len(offer.fact.text)
        if budget < 0:
            break
        chosen.append(offer)
    return chosen


def _words(text: str, wanted: frozenset[str]) -> frozenset[str]:
    """Those of the words that a text has. Few texts have any, which is seen without taking them apart."""
    possible = frozenset(word for word in wanted if word in text)
    return possible.intersection(recall_words.words(text)) if possible else frozenset()


def _reason(shared: Iterable[str]) -> str:
    return f"the message says {', '.join(list(shared)[:NAMED])}"
