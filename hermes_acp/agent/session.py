"""A session: takes operations, runs one turn at a time, and owns everything that belongs to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import parts
from hermes_acp.agent.approvals import Approvals, Question
from hermes_acp.agent.choosing import Choosing
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.loading import Loading
from hermes_acp.agent.models import Models
from hermes_acp.agent.options import Choices
from hermes_acp.agent.services import Services
from hermes_acp.agent.turn import Place
from hermes_acp.agent.windows import Windows
from hermes_acp.agent.workbench import OpenTools, Workbench
from hermes_acp.events import Envelope, Option, SessionEnded
from hermes_acp.ops import Answer, Cancel, Op, Prompt, Steer
from hermes_acp.storage.sessions import SessionRow

if TYPE_CHECKING:
    from hermes_acp.agent.turn_run import Runner


class Session:
    """One conversation. `run` must be running for anything to happen."""

    def __init__(
        self,
        row: SessionRow,
        services: Services,
        place: Place,
        tools: OpenTools,
        hub: Hub,
        approvals: Approvals,
    ) -> None:
        self.hub = hub
        self.farewell = SessionEnded()
        """What the windows are told at the end."""
        self.ended = False
        """Whether it has left memory: nothing can be asked of it any more."""
        self.idle_since = asyncio.get_running_loop().time()
        """When the last turn ended or the last window left, by the clock of the event loop."""
        self._tasks = asyncio.TaskGroup()
        self._parts = parts.of_session(services, hub, approvals, self._tasks)
        self._workbench = Workbench(self._parts, row, place, tools)
        self._choosing = Choosing(self._parts, self._workbench)
        self._loading = Loading(self._parts, self._workbench)
        self._runner: Runner | None = None

    @property
    def session_id(self) -> str:
        """The id of this session."""
        return self.hub.session_id

    @property
    def row(self) -> SessionRow:
        """Where it belongs."""
        return self._workbench.row

    @property
    def place(self) -> Place:
        """Where it works."""
        return self._workbench.place

    @property
    def title(self) -> str | None:
        """Its name, None as long as nothing was said."""
        return self._choosing.title

    @property
    def choices(self) -> Choices:
        """What its user has chosen."""
        return self._choosing.choices

    @property
    def busy(self) -> bool:
        """Whether a turn is running or waiting."""
        return self._parts.inbox.busy

    @property
    def needed(self) -> bool:
        """Whether somebody watches or a turn is running or waiting."""
        return self.busy or self.hub.watched

    @property
    def windows(self) -> Windows:
        """Who holds the session."""
        return self._parts.services.windows

    @property
    def models(self) -> Models:
        """The models of the window that opened the session."""
        return self._parts.services.origin.models

    # --- operations ------------------------------------------------------------------------------

    def submit(self, op: Op) -> bool:
        """Take in an operation at once; False when there was nothing for it. Raises `TooMany`."""
        match op:
            case Prompt():
                return self._parts.inbox.enqueue(op)
            case Steer():
                return self._parts.inbox.steer(op)
            case Cancel():
                return self._parts.inbox.cancel(op.turn_id, op.client)
            case Answer():
                return self._parts.approvals.answer(op)

    def options(self) -> tuple[Option, ...]:
        """The options with their current values."""
        return self._choosing.options()

    async def set_option(self, option_id: str, value: str) -> None:
        """Set one option, from the next effect or turn on. Raises `BadOption` and `StorageError`."""
        await self._choosing.set_option(option_id, value)

    async def set_model(self, name: str) -> None:
        """Switch to any model. Raises `ModelError` when it cannot be opened, and `StorageError`."""
        await self._choosing.set_model(name)

    async def set_title(self, title: str) -> None:
        """Name the session, in one short line. Raises `StorageError`."""
        await self._choosing.set_title(title)

    def open_questions(self) -> tuple[Question, ...]:
        """The approvals and questions that wait for an answer."""
        return self._parts.approvals.open()

    def left(self, client: str) -> None:
        """A window went away. What runs goes on; questions that only it could answer end unanswered."""
        self.windows.leave(client)
        self._parts.approvals.left(client)
        self.idle_since = asyncio.get_running_loop().time()

    async def withdraw(self, turn_ids: Iterable[str], client: str) -> None:
        """Cancel these prompts of a window, and wait until their ends were shown."""
        await self._parts.inbox.withdraw(turn_ids, client)
        await self.hub.settle()

    async def load(self) -> list[Envelope]:
        """Bring the conversation up from the journal, closing what a dead server left open.

        Gives everything that happened. Raises `StorageError`.
        """
        return await self._loading.load()

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled; a running turn is then ended as cancelled."""
        async with self._tasks:
            writer = self._tasks.create_task(self.hub.run())
            self._workbench.prepare()
            try:
                while True:
                    await self._next_turn()
            finally:
                await self._stop()
                self.hub.stop()
                await asyncio.wait([writer])
                self.ended = True
                self.hub.publish(self.farewell)

    async def _next_turn(self) -> None:
        prompt = await self._parts.inbox.next()
        self.windows.prompting = prompt.client
        await self._parts.inbox.follow(prompt, self._tasks.create_task(self._turn(prompt)))
        self.windows.prompting = ""
        self.idle_since = asyncio.get_running_loop().time()

    async def _turn(self, prompt: Prompt) -> None:
        if self._runner is None:
            # A session is opened sooner without what only its turns need.
            turn_run = await asyncio.to_thread(import_module, "hermes_acp.agent.turn_run")
            made = turn_run.Runner(self._parts, self._workbench, self._choosing, self._loading)
            self._runner = cast("Runner", made)
        await self._runner.run(prompt)

    async def _stop(self) -> None:
        await self._parts.inbox.close(self.farewell.client)
        await self._parts.memory.end()
        await self._parts.recording.stop()
        await self._workbench.aclose()
