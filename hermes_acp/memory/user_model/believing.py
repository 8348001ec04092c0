"""Claims about the user in words: a line for each, with how far it is believed and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hermes_acp.memory.facts.names import short
from hermes_acp.memory.user_model.claims import ENOUGH, PREFIX, SESSIONS, Standing, State

NOTHING = "Nothing is known about you yet: it comes from your sessions, with time."
STATES: Mapping[State, str] = {
    "holds": "sessions are told",
    "collecting": f"not told: needs {SESSIONS} sessions and {ENOUGH:.0%}",
    "faded": "not told any more",
    "replaced": "not told: another answer holds",
    "settled": "told: you said so",
    "retracted": "never told: you took it back",
}


def table(standings: Iterable[Standing]) -> str:
    """A line for each claim."""
    return "\n".join(map(line, standings)) or NOTHING


def line(item: Standing) -> str:
    """A claim: its id, how far it is believed, what speaks for and against it, and what becomes of it."""
    fact = item.fact
    votes = f"{item.backed:>2} for, {item.against:>2} against"
    return f"{short(fact.id)}  {item.confidence:>4.0%}  {votes}  {fact.text} ({STATES[item.state]})"


def member(item: Standing) -> dict[str, object]:
    """The same for programs; `last` is when a session spoke for it, in seconds since the epoch."""
    fact = item.fact
    return {
        "id": fact.id,
        "question": fact.key.removeprefix(PREFIX),
        "text": fact.text,
        "state": item.state,
        "confidence": item.confidence,
        "for": item.backed,
        "against": item.against,
        "last": max((evidence.at for evidence in fact.evidence), default=None),
    }
