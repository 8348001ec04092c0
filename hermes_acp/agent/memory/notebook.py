"""The memory of one session: what its model is told, and what it may write down.

Loaded when the first session wants it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from hermes_acp.agent import prompts
from hermes_acp.agent.history import taken_back
from hermes_acp.agent.memory import anchors, offers
from hermes_acp.agent.memory.grounds import Ground, Grounds, Unsure
from hermes_acp.agent.memory.signals import said
from hermes_acp.agent.models import Models
from hermes_acp.content import Block
from hermes_acp.events import (
    Event,
    FactNote,
    FactsShown,
    MemoryChanged,
    Notice,
    QuestionAnswered,
    Steered,
    TurnStarted,
)
from hermes_acp.memory import views
from hermes_acp.memory.facts import screen, telling, wishes
from hermes_acp.memory.facts.changes import Change
from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.evidence import stands_in
from hermes_acp.memory.facts.fact import BadFact, Evidence, Fact
from hermes_acp.memory.facts.names import chosen
from hermes_acp.memory.facts.store import Applied
from hermes_acp.memory.facts.undoing import derived
from hermes_acp.memory.facts.wishes import Wish
from hermes_acp.memory.scopes import USER
from hermes_acp.memory.user_model import believing, claims
from hermes_acp.records import record
from hermes_acp.storage.journal import Journal

if TYPE_CHECKING:
    from hermes_acp.agent.memory.outside import Outside

By: TypeAlias = Literal["agent", "reflection", "user"]

LISTED_CHARS = 12_000
"""Characters of a list; what does not fit is counted."""
KEPT = "A fact that you edited by hand has changed"
NOT_SAID = (
    "The quote stands in no message of the user in this session, so this is only a proposal: quote what they "
    "wrote, word by word."
)
PROPOSED = "It waits for the user, who sees it with `/memory review`; do not act on it as if it were so."


@record
class Thinking:
    """The model that words lessons; without a name none is asked."""

    models: Models
    model: str = ""


@dataclass(slots=True)
class Notebook:
    """What one session knows and learns; `publish` tells its windows. See `tools.memory.Notebook`."""

    session_id: str
    journal: Journal
    grounds: Grounds
    publish: Callable[[Event], None]
    thinking: Thinking
    shown: frozenset[str] = frozenset()
    """The facts that the model has seen in this session."""
    exhausted: int = -1
    """The version of the facts at which the model had seen all that hold here."""
    observed: frozenset[str] = frozenset()
    """The claims about the user that this session has spoken for."""
    settled: bool = False
    """Whether the facts have followed all turns that were taken back."""
    settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while they follow: what is owed is done once."""
    outside: Outside | None = None
    """The memory services of the user, where there are some."""
    told: FactsShown | None = None
    """What stands in the instructions of the model, until the journal has it."""

    async def page(self, cwd: str) -> str:
        """What the model is told of a folder before the conversation; empty when nothing is known."""
        ground = await self.grounds.at(cwd, self.session_id)
        facts = await self.grounds.facts.visible(ground.place)
        if not facts:
            return ""
        uses: dict[str, int] = {}
        for store in filter(None, (ground.place.project, USER)):
            uses |= await self.grounds.facts.uses(store)
        project, user = await asyncio.to_thread(_pages, facts, uses, ground.root)
        lines = (*project.lines, *user.lines)
        self.shown |= {line.fact.id for line in lines}
        self.told = FactsShown(tuple(note(line.fact, text="") for line in lines), "start")
        return prompts.render("memory", pages="\n".join(filter(None, (project.text, user.text))).strip())

    async def offer(self, cwd: str, prompt: tuple[Block, ...]) -> None:
        """Show the model the facts that fit what the user says now, and note which facts this turn sees."""
        if self.told is not None:
            self.publish(self.told)
            self.told = None
        # Most memories fit into the instructions: then there is nothing to look for before every prompt.
        if (version := await self.grounds.facts.version()) == self.exhausted:
            return
        ground = await self.grounds.at(cwd, self.session_id)
        for file in await self.grounds.facts.kept_edits(ground.place):
            self.publish(Notice("warning", KEPT, telling.kept(file)))
        facts = [fact for fact in await self.grounds.facts.visible(ground.place) if fact.id not in self.shown]
        if not facts:
            self.exhausted = version
        found = await asyncio.to_thread(offers.fitting, said(prompt), facts) if facts else []
        if not found:
            return
        self.shown |= {offer.fact.id for offer in found}
        self.publish(FactsShown(tuple(note(offer.fact, why=offer.why) for offer in found), "turn"))
        for store in filter(None, (ground.place.project, USER)):
            if used := [offer.fact.id for offer in found if (offer.fact.scope == USER) == (store == USER)]:
                await self.grounds.facts.note_uses(store, used)

    # --- what the tool does ------------------------------------------------------------------------

    async def listing(self, cwd: str, about: str = "") -> str:
        """What is known in a folder, and what waits to be confirmed."""
        ground = await self.grounds.at(cwd, self.session_id)
        facts = await self.grounds.facts.visible(ground.place)
        waiting = [review.proposal for review in await self.grounds.facts.review(ground.place)]
        every = [*telling.ordered(facts), *waiting]
        if about.strip():
            every = [
                offer.fact for offer in await asyncio.to_thread(offers.fitting, about, every, offers.ALL)
            ]
        return _bounded(every)

    async def profile(self) -> str:
        """What is believed about the user."""
        facts = await self.grounds.facts.all(USER)
        return believing.table(claims.standings(facts.values(), time.time()))

    async def why(self, cwd: str, typed: str) -> str:
        """Where a fact comes from. Raises `BadFact`."""
        ground = await self.grounds.at(cwd, self.session_id)
        facts = await self.grounds.near(ground.place)
        fact = chosen(typed, facts)
        return telling.why(fact, facts, sorted(derived(facts, (fact.id,))))

    async def grant(self, cwd: str, wish: Wish, quote: str) -> str:
        """Do what the agent wants, as far as it may: what was done. Raises `BadFact`."""
        try:
            ground = await self.grounds.at(cwd, self.session_id, writing=True)
        except Unsure as error:
            raise BadFact(str(error)) from error
        stated = await self._said(quote, ground) if quote.strip() else None
        seq = await self.journal.last_seq(self.session_id)
        anchor = await asyncio.to_thread(anchors.anchor, ground.root, cwd, wish.file) if wish.file else ""
        here = Evidence(self.session_id, seq, "", ground.commit, anchor)
        stated = replace(stated, anchor=anchor) if stated is not None else None
        facts = await self.grounds.near(ground.place)
        change = await asyncio.to_thread(wishes.change, wish, stated, facts, here)
        applied = await self.apply(ground, (change,), "agent")
        lines = [telling.edit(edit) for edit in applied.edits] or ["Nothing changed."]
        lines += applied.notes
        if quote.strip() and stated is None:
            lines.append(NOT_SAID)
        if any(edit.after.status == "proposed" for edit in applied.edits):
            lines.append(PROPOSED)
        return "\n".join(lines)

    async def apply(self, ground: Ground, changes: Sequence[Change], by: By) -> Applied:
        """Make changes that were screened, and tell the windows. Raises `BadFact`."""
        await asyncio.to_thread(screen.check, changes)
        applied = await self.grounds.facts.apply(ground.place, changes, self.session_id)
        self.tell(applied, by)
        return applied

    def tell(self, applied: Applied, by: By, turn: str = "") -> None:
        """Tell the windows what was done to facts, and note it for a `turn` that they went or came with."""
        # The conversation itself has them.
        self.shown |= {edit.after.id for edit in applied.edits}
        notes = tuple(note(edit.after) for edit in applied.edits if _is_news(edit))
        if notes or turn:
            self.publish(MemoryChanged(applied.change_id, notes, by, turn))

    async def _said(self, quote: str, ground: Ground) -> Evidence | None:
        """Where the user said this in the session, the last time; not in what was taken back."""
        envelopes = await self.journal.read(self.session_id)
        gone = taken_back(envelopes)
        for envelope in reversed(envelopes):
            text = "" if envelope.turn_id in gone else _words(envelope.event)
            if text and await asyncio.to_thread(stands_in, quote, text):
                return Evidence(self.session_id, envelope.seq or 0, quote.strip(), ground.commit)
        return None


def note(fact: Fact, *, why: str = "", text: str | None = None) -> FactNote:
    """A fact as events have it."""
    return FactNote(fact.id, fact.kind, fact.status, fact.text if text is None else text, why)


def _words(event: Event) -> str:
    """What the user said in an event."""
    match event:
        case TurnStarted(aside=False) | Steered():
            return said(event.content)
        case QuestionAnswered(outcome="answered"):
            return event.values or ""
        case _:
            return ""


def _is_news(edit: Edit) -> bool:
    """Whether a person wants to hear of it: not of what was only replaced by something that is told, too."""
    return edit.after.status != "superseded" or (
        edit.before is not None and edit.before.text != edit.after.text
    )


def _pages(facts: Sequence[Fact], uses: Mapping[str, int], root: str) -> tuple[views.View, views.View]:
    own = [fact for fact in facts if fact.scope != USER]
    users = [fact for fact in facts if fact.scope == USER]
    return (
        views.render("project", own, views.PROJECT_CHARS, uses, anchors.changed(own, root)),
        views.render("user", users, views.USER_CHARS, uses),
    )


def _bounded(facts: Sequence[Fact]) -> str:
    lines: list[str] = []
    room = LISTED_CHARS
    for fact in facts:
        line = telling.line(fact)
        room -= len(line) + 1
        if room < 0:
            lines.append(f"({len(facts) - len(lines):,} more: ask for what you want to know)")
            break
        lines.append(line)
    return "\n".join(lines) or telling.NOTHING
