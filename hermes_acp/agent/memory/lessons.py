"""What turns have taught goes with them: taken back with `/undo`, brought back with `/redo`.

What is owed stands in the journal: which turns count, and which changes of facts were made because turns
did not count any more. So it can be made up for at any later time, when something came between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from hermes_acp.agent.history import taken_back
from hermes_acp.agent.memory.notebook import Notebook
from hermes_acp.events import Envelope, MemoryChanged
from hermes_acp.memory.facts import undoing
from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.fact import BadFact, Fact
from hermes_acp.memory.facts.store import Applied
from hermes_acp.memory.facts.undoing import Void
from hermes_acp.records import record


@record
class Owed:
    """A turn whose lessons are to be taken back, or which is to get back those that the change `by` took.

    `changes` are what was learned in it, in order.
    """

    turn_id: str
    events: frozenset[int] = frozenset()
    changes: tuple[MemoryChanged, ...] = ()
    by: str = ""

    @property
    def retracted(self) -> frozenset[str]:
        """The facts that the agent took back in it."""
        notes = (note for change in self.changes if change.by == "agent" for note in change.facts)
        return frozenset(note.fact_id for note in notes if note.status == "retracted")

    def changes_of(self, facts: Collection[Fact]) -> tuple[str, ...]:
        """The changes that concern some of these facts."""
        ids = {fact.id for fact in facts}
        return tuple(
            change.change_id
            for change in self.changes
            if not ids.isdisjoint(note.fact_id for note in change.facts)
        )


def owed(envelopes: Sequence[Envelope]) -> list[Owed]:
    """What is still to be done, in order: the last turn first where they are taken back."""
    gone = taken_back(envelopes)
    events: dict[str, set[int]] = {}
    changes: dict[str, list[MemoryChanged]] = {}
    done: dict[str, str] = {}
    for envelope in envelopes:
        event, turn_id = envelope.event, envelope.turn_id
        if turn_id:
            events.setdefault(turn_id, set()).add(envelope.seq or 0)
        if isinstance(event, MemoryChanged) and event.turn:
            # They take turns: taken back, brought back, taken back.
            done[event.turn] = "" if done.get(event.turn) else event.change_id
        elif isinstance(event, MemoryChanged) and event.by != "user":
            changes.setdefault(turn_id, []).append(event)
    back = [Owed(turn_id, by=by) for turn_id, by in done.items() if by and turn_id not in gone]
    taken = [
        Owed(turn_id, frozenset(seqs), tuple(changes.get(turn_id, ())))
        for turn_id, seqs in reversed(events.items())
        if turn_id in gone and not done.get(turn_id)
    ]
    return [*reversed(back), *taken]


def owned(envelopes: Iterable[Envelope], facts: Iterable[Fact]) -> frozenset[str]:
    """The facts that this session has learned and somebody has changed since: the owner."""
    learned: dict[str, float] = {}
    for envelope in envelopes:
        event = envelope.event
        if isinstance(event, MemoryChanged) and (event.by != "user" or event.turn):
            learned |= {note.fact_id: envelope.at for note in event.facts}
    return frozenset(fact.id for fact in facts if fact.updated > learned.get(fact.id, fact.updated))


async def gone(book: Notebook) -> frozenset[int]:
    """The numbers of the events of turns that are taken back. Raises `StorageError`."""
    envelopes = await book.journal.read(book.session_id)
    turns = taken_back(envelopes)
    return frozenset(item.seq for item in envelopes if item.seq is not None and item.turn_id in turns)


async def settle(book: Notebook, cwd: str) -> str:
    """Do what is owed: what the user should know of it, empty when nothing. Raises `StorageError`.

    Raises `RepositoryError`, too, where a history has to be read that cannot be.
    """
    async with book.settling:
        return await _settle(book, cwd)


async def _settle(book: Notebook, cwd: str) -> str:
    envelopes = await book.journal.read(book.session_id)
    waiting = owed(envelopes)
    if not waiting:
        return ""
    place = (await book.grounds.at(cwd, book.session_id)).place
    known = (await book.grounds.facts.here(place)).values()
    own = owned(envelopes, known)
    back = taken = 0
    for item in waiting:
        if item.by:
            try:
                applied = await book.grounds.facts.revert(place, item.by, book.session_id)
            except BadFact:
                # Its history was forgotten, and there is nothing to bring back.
                continue
            back += _told(book, item, applied)
            continue
        void = Void(book.session_id, item.events, own, item.retracted)
        touched = [fact for fact in known if void.touches(fact)]
        if void.retracted or touched:
            # Their words may be of this turn; the history, which is slow, is read for no other.
            reworded = item.changes_of([fact for fact in touched if undoing.stays(fact, void)])
            taken += _told(book, item, await book.grounds.facts.unlearn(place, void, reworded))
    return _sentence(taken, "taken back") or _sentence(back, "brought back")


def _told(book: Notebook, item: Owed, applied: Applied) -> int:
    """Note what was done for a turn: how many facts came, went or got other words, replaced ones aside."""
    news = tuple(
        edit for edit in applied.edits if _status(edit.before) != edit.after.status or _is_reworded(edit)
    )
    if applied.edits:
        book.tell(replace(applied, edits=news), "user", item.turn_id)
    return sum(
        "retracted" in (_status(edit.before), edit.after.status) or _is_reworded(edit) for edit in news
    )


def _is_reworded(edit: Edit) -> bool:
    return edit.before is not None and edit.before.text != edit.after.text


def _status(fact: Fact | None) -> str:
    return fact.status if fact is not None else ""


def _sentence(count: int, what: str) -> str:
    if not count:
        return ""
    return f"1 lesson was {what}." if count == 1 else f"{count} lessons were {what}."
