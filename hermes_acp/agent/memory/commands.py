"""`/memory` in any editor: look at what is known, ask why, take it back, answer proposals."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_acp.agent import ids
from hermes_acp.agent.approvals import Approvals, Asker
from hermes_acp.agent.memory.notebook import Notebook
from hermes_acp.agent.memory.remembering import Flush
from hermes_acp.content import Diff, Location, TextBlock
from hermes_acp.events import ApprovalRequested, Choice, ToolCallFinished, ToolCallStarted, ToolOutcome
from hermes_acp.memory.facts import telling, undoing
from hermes_acp.memory.facts.changes import Confirm, Retract
from hermes_acp.memory.facts.fact import BadFact, Fact
from hermes_acp.memory.facts.names import chosen, short
from hermes_acp.memory.facts.reading import Review
from hermes_acp.memory.scopes import Place, store_of
from hermes_acp.records import record
from hermes_acp.storage.fact_commits import RepositoryError

REVIEWED = 20
"""Proposals of one review; the others wait for the next."""
NAMED = 5
"""Sessions that are named; of others only that there are some."""
CHOICES = (
    Choice("confirm", "Remember it", "allow_once"),
    Choice("later", "Decide later", "reject_once"),
    Choice("reject", "Never mind", "reject_always"),
)
SAID = {"confirm": "It holds from now on.", "reject": "It is not remembered."}
LATER = "It waits."
USAGE = (
    "- `/memory`: what is known here\n"
    "- `/memory review`: answer what the agent proposes to remember\n"
    "- `/memory profile`: what is believed about you, and how far\n"
    "- `/memory why ID`: the words that a fact comes from\n"
    "- `/memory revert ID`: take a fact back, with what was concluded from it\n"
    "- `/memory forget ID`: remove it from the history, too, for good"
)


@record
class Desk:
    """What a command works on."""

    book: Notebook
    cwd: str
    approvals: Approvals
    flush: Flush

    async def place(self) -> Place:
        """Where the session stands."""
        return (await self.book.grounds.at(self.cwd, self.book.session_id)).place


async def run(desk: Desk, rest: str) -> str:
    """Do what was typed behind `/memory`: what was done, or why it was not. Raises `StorageError`."""
    word, typed = [*rest.split(maxsplit=1), "", ""][:2]
    try:
        match word:
            case "" | "list":
                return _fenced(await desk.book.listing(desk.cwd, typed))
            case "profile":
                return _fenced(await desk.book.profile())
            case "show" | "why":
                return await desk.book.why(desk.cwd, typed)
            case "revert" | "retract":
                return await _revert(desk, typed)
            case "forget":
                return await _forget(desk, typed)
            case "review":
                return await _review(desk)
            case _:
                return USAGE
    except (BadFact, RepositoryError) as error:
        return str(error)


async def _revert(desk: Desk, typed: str) -> str:
    place = await desk.place()
    facts = await desk.book.grounds.near(place)
    fact = chosen(typed, facts)
    changes = undoing.retraction(fact.id, facts)
    if not changes:
        return f"{short(fact.id)} was taken back already."
    applied = await desk.book.grounds.facts.apply(place, changes, desk.book.session_id)
    desk.book.tell(applied, "user")
    done = _fenced("\n".join(map(telling.edit, applied.edits)))
    return f"{done}\n\nSessions that are open keep what they were told at their start."


async def _forget(desk: Desk, typed: str) -> str:
    place = await desk.place()
    known = await desk.book.grounds.near(place)
    fact = chosen(typed, known)
    facts = desk.book.grounds.facts
    gone = await facts.forget(store_of(fact.scope, place.project), fact.id)
    left = await facts.tellers([known[fact_id] for fact_id in gone.ids if fact_id in known])
    return forgotten(gone.ids, left)


def forgotten(gone: Sequence[str], sessions: Sequence[str]) -> str:
    """What forgetting has removed, and what it cannot reach."""
    text = f"Removed {', '.join(map(short, gone))} from the memory, its history and its index."
    if sessions:
        listed = ", ".join(sessions[:NAMED]) + (" and others" if len(sessions) > NAMED else "")
        text += (
            f" The conversations in which it was said or shown still have it ({listed}): "
            "`hermes-editor sessions delete` removes them."
        )
    return f"{text} Copies in `backups/`, and what was published, stay as they are."


# --- proposals -----------------------------------------------------------------------------------


async def _review(desk: Desk) -> str:
    place = await desk.place()
    waiting = await desk.book.grounds.facts.review(place)
    if not waiting:
        return "Nothing waits: the agent proposes nothing to remember here."
    if not desk.approvals.answerers():
        return _fenced("\n".join(telling.line(item.proposal) for item in waiting))
    done = [await _decide(desk, place, item) for item in waiting[:REVIEWED]]
    more = f"\n{len(waiting) - REVIEWED} more wait." if len(waiting) > REVIEWED else ""
    return _fenced("\n".join(done)) + more


async def _decide(desk: Desk, place: Place, item: Review) -> str:
    """Ask about one proposal, as the diff that it is: what became of it."""
    fact, book = item.proposal, desk.book
    call_id, title = ids.call(), f"Remember this ({fact.kind}, {telling.reach(fact.scope)})?"
    path = str(book.grounds.file_of(fact, place))
    shown = (Diff(path, fact.text, "\n".join(old.text for old in item.instead_of) or None),)
    book.publish(ToolCallStarted(call_id, "memory_review", title, "other", "", (Location(path),)))
    ended: ToolOutcome = "cancelled"
    said = "Nobody answered: it waits."
    try:
        asker = Asker(call_id, title, book.publish, desk.flush)
        question = ApprovalRequested(ids.request(), call_id, title, _reason(fact), CHOICES, shown)
        answer, _client = await desk.approvals.choose(asker, question)
        option = answer.option_id if answer is not None else ""
        if option == "confirm":
            applied = await book.grounds.facts.apply(place, (Confirm(fact.id),), book.session_id)
            book.tell(applied, "user")
        elif option == "reject":
            await book.grounds.facts.apply(place, (Retract(fact.id),), book.session_id)
        if answer is not None:
            said = SAID.get(option, LATER)
        ended = "completed"
    finally:
        book.publish(ToolCallFinished(call_id, ended, said, (TextBlock(said),)))
    return f"{telling.line(fact)}\n  {said}"


def _reason(fact: Fact) -> str:
    quotes = [f"“{' '.join(item.quote.split())}”" for item in fact.evidence if item.quote]
    source = f"It comes from {', '.join(quotes)}." if quotes else "It is concluded, not quoted."
    return f"{source} If you agree, later sessions are told of it."


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"
