"""The memory services of one session: asked behind a prompt and by the model, told what was said.

What leaves has no secrets and is only what the user and the agent said. What comes is the text of
strangers, screened as the output of a tool is. A failure is told once for each service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hermes_acp.agent.memory.grounds import Grounds, Unsure
from hermes_acp.agent.memory.notebook import Notebook
from hermes_acp.agent.memory.signals import said
from hermes_acp.agent.turn import Turn
from hermes_acp.content import Block
from hermes_acp.events import (
    Envelope,
    Event,
    MessageCompleted,
    Notice,
    PassagesShown,
    Steered,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.memory.providers.base import ProviderError, SaidTurn
from hermes_acp.memory.providers.guarded import Guarded
from hermes_acp.policy.masking import Masks
from hermes_acp.policy.rules.rules import visible
from hermes_acp.storage.journal import Journal
from hermes_acp.tools.base import ToolResult

FAILED = "The memory service {name} cannot be used now"
GOES_ON = "{error}. Sessions go on without it, and it is tried again later."

T = TypeVar("T")

logger = logging.getLogger(__name__)


def opened(book: Notebook, services: Sequence[Guarded], secrets: Sequence[str]) -> Outside:
    """The services of the user for the session of a notebook; `secrets` are never told."""
    return Outside(book.session_id, book.journal, book.grounds, book.publish, services, Masks(secrets))


@dataclass(slots=True)
class Outside:
    """The services of a session. Methods raise `StorageError`; `ask` raises `ProviderError`, too."""

    session_id: str
    journal: Journal
    grounds: Grounds
    publish: Callable[[Event], None]
    services: Sequence[Guarded]
    masks: Masks
    """Hides once more what the journal should not have."""
    bank: str = ""
    """The memory of the project, once a turn was handed over."""
    told: set[str] = field(default_factory=set[str])

    async def offer(self, turn: Turn, prompt: tuple[Block, ...]) -> None:
        """Show the model what the services have that fits a prompt."""
        query = said(prompt).strip()
        bank = await self._bank(turn.place.cwd) if query else ""
        if not bank:
            return
        query = await asyncio.to_thread(self.masks.hide, query)
        for service, passages in await self._each(lambda item: item.prefetch(bank, query)):
            if passages:
                result = ToolResult("\n\n".join(passages))
                screened = await turn.screen.result(service.name, "other", result, turn.publish)
                turn.publish(PassagesShown(service.name, screened.text))

    async def warm(self) -> None:
        """Load the clients of the services."""
        await self._each(lambda item: item.warm())

    async def ask(self, service: str, tool: str, cwd: str, query: str) -> Sequence[str]:
        """The passages that answer a question of the model's, put to the service of that name."""
        bank = await self._bank(cwd)
        asked = next(item for item in self.services if item.name == service)
        return await asked.ask(tool, bank, await asyncio.to_thread(self.masks.hide, query)) if bank else ()

    async def sync(self, cwd: str, after: int, until: int) -> None:
        """Hand over the turns that ended behind the event `after`, up to `until`."""
        events = [
            item for item in await self.journal.read(self.session_id, after) if (item.seq or 0) <= until
        ]
        turns = await asyncio.to_thread(self._turns, events)
        if not turns:
            return
        try:
            bank = await self._bank(cwd, writing=True)
        except Unsure as error:
            logger.warning("session %s: its memory services were told nothing: %s", self.session_id, error)
            return
        for turn in turns:
            await self._each(lambda item, turn=turn: item.sync_turn(bank, turn))

    async def end(self) -> None:
        """Tell the services that the session has ended, if they know of it."""
        if self.bank:
            await self._each(lambda item: item.on_session_end(self.bank, self.session_id))

    async def _bank(self, cwd: str, *, writing: bool = False) -> str:
        """The memory of a folder's project; empty where there is none yet. Raises `Unsure` for writing."""
        if not self.bank:
            ground = await self.grounds.at(cwd, self.session_id, writing=writing)
            self.bank = f"hermes-{ground.place.project}" if ground.place.project else ""
        return self.bank

    async def _each(self, ask: Callable[[Guarded], Awaitable[T]]) -> list[tuple[Guarded, T]]:
        """The answers of all services, asked at once; those that fail are left out, and told of."""
        async with asyncio.TaskGroup() as group:
            asked = [(service, group.create_task(self._one(service, ask))) for service in self.services]
        return [(service, answer[0]) for service, task in asked if (answer := task.result())]

    async def _one(self, service: Guarded, ask: Callable[[Guarded], Awaitable[T]]) -> tuple[T, ...]:
        try:
            return (await ask(service),)
        except ProviderError as error:
            self._tell(service, str(error))
            return ()

    def _tell(self, service: Guarded, error: str) -> None:
        if service.name not in self.told:
            self.told.add(service.name)
            why = GOES_ON.format(error=visible(error))
            self.publish(Notice("warning", FAILED.format(name=service.name), why))

    def _turns(self, events: Sequence[Envelope]) -> list[SaidTurn]:
        """The turns that were answered, without secrets."""
        turns: dict[str, list[Envelope]] = {}
        for envelope in events:
            turns.setdefault(envelope.turn_id, []).append(envelope)
        told = (self._turn(turn_id, turn) for turn_id, turn in turns.items() if turn_id)
        return [turn for turn in told if turn is not None]

    def _turn(self, turn_id: str, events: Sequence[Envelope]) -> SaidTurn | None:
        user, agent, ended = list[str](), list[str](), False
        for envelope in events:
            match envelope.event:
                case TurnStarted(aside=True):
                    return None
                case TurnStarted() | Steered() as message:
                    user.append(said(message.content))
                case MessageCompleted(text=text):
                    agent.append(text)
                case TurnEnded(stop_reason="end_turn"):
                    ended = True
                case _:
                    pass
        words = ["\n\n".join(filter(None, part)) for part in (user, agent)]
        if not (ended and all(words)):
            return None
        asked, answered = map(self.masks.hide, words)
        return SaidTurn(self.session_id, turn_id, events[0].at, asked, answered)
