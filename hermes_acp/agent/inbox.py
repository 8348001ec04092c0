"""What a session has still to do: the turn that runs, what joins it, and what waits behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from hermes_acp.agent import commands, ids
from hermes_acp.agent.hub import Hub
from hermes_acp.events import PromptDropped, Steered
from hermes_acp.ops import Prompt, Steer

QUEUE_BOUND = 32
"""Prompts that may wait behind the running turn."""
STEER_BOUND = 32
"""Messages that may wait for the next step."""


class TooMany(Exception):
    """A queue of the session is full; `str()` says which and what to do."""


class Inbox:
    """The prompts of one session, which become turns one at a time."""

    def __init__(self, hub: Hub) -> None:
        self.running: str | None = None
        """The turn that runs; None once its end is about to be told."""
        self.aside = False
        """Whether it is a command, which nothing can join."""
        self.cancelled_by = ""
        """The window that cancelled it."""
        self.steering: deque[Steered] = deque()
        """What the user said meanwhile, for its next step."""
        self._hub = hub
        self._queue: deque[Prompt] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a turn is running or waiting."""
        return self.running is not None or bool(self._queue)

    # --- what windows ask for --------------------------------------------------------------------

    def enqueue(self, prompt: Prompt) -> bool:
        """Have a prompt wait for its turn; False when the session ends. Raises `TooMany`."""
        if self._closed:
            self._drop(prompt)
            return False
        if self.busy and commands.rewinds(prompt.content):
            raise TooMany("A turn is running: wait for its end or cancel it, then say that again.")
        if len(self._queue) >= QUEUE_BOUND:
            raise TooMany(f"{QUEUE_BOUND} prompts are waiting already: let some finish or cancel.")
        self._queue.append(prompt)
        self._wake.set()
        return True

    def steer(self, steer: Steer) -> bool:
        """Have a message join the running turn; False when it cannot. Raises `TooMany`."""
        if self.running is None or self.aside:
            return False
        if len(self.steering) >= STEER_BOUND:
            raise TooMany(f"{STEER_BOUND} messages wait for the next step already.")
        self.steering.append(Steered(ids.message(), steer.content, steer.client))
        return True

    def cancel(self, turn_id: str | None, client: str) -> bool:
        """Cancel one turn, or all; False when there is none."""
        dropped = [item for item in self._queue if turn_id in (None, item.turn_id)]
        for prompt in dropped:
            self._queue.remove(prompt)
            self._drop(prompt)
        if self._task is None or self.running is None or turn_id not in (None, self.running):
            return bool(dropped)
        if not self._task.cancelling():
            self.cancelled_by = client
            self._task.cancel()
        return True

    async def withdraw(self, turn_ids: Iterable[str], client: str) -> None:
        """Cancel these turns, and wait until the running one has ended."""
        wanted = set(turn_ids)
        task = self._task if self.running in wanted else None
        for turn_id in wanted:
            self.cancel(turn_id, client)
        if task is not None:
            await asyncio.wait([task])

    # --- what the session does -------------------------------------------------------------------

    async def next(self) -> Prompt:
        """The prompt whose turn it is, as soon as there is one: it counts as running from now on."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        prompt = self._queue.popleft()
        self.running = prompt.turn_id
        self.aside = commands.parse(prompt.content) is not None
        self.cancelled_by = ""
        return prompt

    async def follow(self, prompt: Prompt, task: asyncio.Task[None]) -> None:
        """Wait for the end of the task that runs the turn, which can be cancelled from now on."""
        self._task = task
        task.add_done_callback(lambda _: self._after(prompt))
        await asyncio.wait([task])

    async def close(self, client: str) -> None:
        """Take in no more prompts; cancel all, and wait until the running one has ended."""
        self._closed = True
        self.cancel(None, client)
        if self._task is not None:
            await asyncio.wait([self._task])

    def _after(self, prompt: Prompt) -> None:
        if self.running is not None:
            # Cancelled before its first step: the turn's own code never ran.
            self.running = None
            self.steering.clear()
            self._drop(prompt)

    def _drop(self, prompt: Prompt) -> None:
        self._hub.publish(PromptDropped(), prompt.turn_id)
