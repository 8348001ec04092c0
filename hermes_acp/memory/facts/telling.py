"""Facts in words, for people and models: a line in a list, the answer to “why do you know this?”. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import PurePath

from hermes_acp.memory import scopes
from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.fact import Evidence, Fact
from hermes_acp.memory.facts.names import short

LINE_CHARS = 300
"""Characters of a fact's text in a list."""
AUTHORS = {"user": "said by the user", "agent": "inferred by the agent", "import": "taken in from elsewhere"}
KEPT = (
    "{file} was edited by hand, and its fact has changed since. The file stays as it is and is not read: "
    "`hermes-editor memory show {fact}` prints the fact, `memory edit {fact}` changes it. Delete the file to "
    "have it written anew with the next change."
)
NOTHING = "Nothing is remembered here yet."


def line(fact: Fact) -> str:
    """A fact in one line: its short id, what and where it is, and what it says."""
    state = "" if fact.status == "active" else f" ({fact.status})"
    return f"{short(fact.id)}  {fact.kind}, {reach(fact.scope)}{state}: {said(fact)}"


def kept(file: str) -> str:
    """What became of an edit of the owner's, and what to do about it."""
    return KEPT.format(file=file, fact=short(PurePath(file).stem))


def said(fact: Fact) -> str:
    """The text of a fact in one line, bounded."""
    text = " ".join(fact.text.split())
    return text if len(text) <= LINE_CHARS else f"{text[: LINE_CHARS - 1]}…"


def reach(scope: str) -> str:
    """Where a scope holds."""
    match scope.partition("/"):
        case ("user", _, _):
            return "in all projects"
        case ("project", _, _):
            return "in the project"
        case ("overlay", _, branch):
            return f"on {branch}"
        case ("archive", _, branch):
            return f"kept of the deleted branch {branch}"
        case _:
            return "at a commit without a branch"


def why(fact: Fact, facts: Mapping[str, Fact], derived: Iterable[str] = ()) -> str:
    """Everything about a fact: what it is, the words it comes from, what it replaced and what came of it."""
    lines = [
        fact.text,
        "",
        f"- id: {fact.id}",
        f"- {fact.kind}, {reach(fact.scope)}, {fact.status}{f', key “{fact.key}”' if fact.key else ''}",
        f"- {AUTHORS[fact.author]}, {when(fact.created)}, confidence {fact.confidence:.0%}",
        *map(_evidence, fact.evidence),
        *_links("replaces", fact.supersedes, facts),
        *_links("was concluded from", fact.derived_from, facts),
        *_links("was replaced by", _replacing(fact, facts), facts),
        *_links("led to", derived, facts),
    ]
    if not fact.evidence:
        lines.append("- no message is named as its source")
    return "\n".join(lines)


def edit(change: Edit) -> str:
    """What a change did to one fact, in one line."""
    before, after = change.before, change.after
    if before is None:
        return f"+ {line(after)}"
    if before.text != after.text:
        return f"~ {line(after)}\n  instead of: {said(before)}"
    if before.scope != after.scope:
        return f"> {line(after)}, before: {reach(before.scope)}"
    if before.status != after.status:
        return f"{'-' if after.status in ('retracted', 'superseded') else '+'} {line(after)}"
    return f"~ {line(after)}"


def member(fact: Fact) -> dict[str, object]:
    """A fact for programs."""
    return {
        "id": fact.id,
        "kind": fact.kind,
        "scope": fact.scope,
        "status": fact.status,
        "key": fact.key,
        "text": fact.text,
        "author": fact.author,
        "confidence": fact.confidence,
        "created": fact.created,
        "updated": fact.updated,
        "supersedes": list(fact.supersedes),
        "derived_from": list(fact.derived_from),
        "evidence": [asdict(item) for item in fact.evidence],
    }


def when(at: float) -> str:
    """A time as people read it, in their zone."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def ordered(facts: Iterable[Fact]) -> list[Fact]:
    """The facts as lists have them: the widest reach last, the newest first."""
    widths = {scopes.PROJECT: 1, scopes.USER: 2}
    return sorted(facts, key=lambda fact: (widths.get(fact.scope, 0), -fact.updated, fact.id))


def _evidence(item: Evidence) -> str:
    place = f"session {item.session}, event {item.seq}"
    more = "".join(
        f", {name} {value}" for name, value in (("commit", item.commit[:12]), ("file", item.anchor)) if value
    ) + (f", {when(item.at)}" if item.at else "")
    quote = f"“{' '.join(item.quote.split())}”" if item.quote else "no words are quoted"
    return f"- evidence: {quote} ({place}{more}{'' if item.found else '; the quote is not there'})"


def _links(word: str, ids: Iterable[str], facts: Mapping[str, Fact]) -> Sequence[str]:
    return [
        f"- {word} {short(fact_id)}" + (f": {said(facts[fact_id])}" if fact_id in facts else "")
        for fact_id in ids
    ]


def _replacing(fact: Fact, facts: Mapping[str, Fact]) -> list[str]:
    return [other.id for other in facts.values() if other.stands and fact.id in other.supersedes]
