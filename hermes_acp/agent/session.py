"""A session: takes operations, runs one turn at a time, and owns everything that belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import commands, context, ids, loop, mentions
from hermes_acp.agent.approvals import Approvals, Question
from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.models import Models
from hermes_acp.agent.options import ISOLATIONS, BadOption, Choices
from hermes_acp.agent.origins import Origin
from hermes_acp.agent.recovery import closing_events
from hermes_acp.agent.turn import Place, Prepared, Turn
from hermes_acp.agent.windows import Windows
from hermes_acp.events import (
    Block,
    Envelope,
    Event,
    JournalFailed,
    LinkBlock,
    MessageCompleted,
    Notice,
    Option,
    OptionsChanged,
    PlaceChanged,
    PromptDropped,
    ResourceBlock,
    SessionEnded,
    SessionStarted,
    Steered,
    StopReason,
    TextBlock,
    TitleChanged,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.llm.base import Effort, LoginNeeded, ModelError
from hermes_acp.ops import Answer, Cancel, Op, Prompt, Steer
from hermes_acp.policy.effects import Mode
from hermes_acp.policy.paths import inside
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.tools.base import SessionTools
from hermes_acp.workspace.documents import Documents

if TYPE_CHECKING:
    from hermes_acp.agent.isolation import Isolation

QUEUE_BOUND = 32
"""Prompts that may wait behind the running turn."""
STEER_BOUND = 32
"""Messages that may wait for the next step."""
TITLE_LENGTH = 60
PREPARE_DELAY = 0.2
"""Seconds after which a session gets ready for its first prompt, if none came before."""

GONE = (
    "The folder {path} is gone, so nothing was done. Bring it back, or, when it was the session's worktree, "
    "set the session's isolation to in_place to go on in your own files."
)

logger = logging.getLogger(__name__)


class TooMany(Exception):
    """A queue of the session is full; `str()` says which and what to do."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a session needs beside its place."""

    journal: Journal
    table: SessionTable
    origin: Origin
    windows: Windows
    isolation: Callable[[], Awaitable[Isolation]]


class Session:
    """One conversation. `run` must be running for anything to happen."""

    def __init__(
        self,
        row: SessionRow,
        services: Services,
        place: Place,
        tools: Callable[[Place], Awaitable[SessionTools]],
        hub: Hub,
        approvals: Approvals,
    ) -> None:
        self.row = row
        self.place = place
        self.hub = hub
        # A project without git is a folder that holds the session's.
        has_git = not inside(row.real_cwd, (row.project,))
        isolations = ISOLATIONS if has_git else ISOLATIONS[:1]
        self.choices = Choices(row.mode, row.model, row.effort, row.isolation, isolations)
        self.title = row.title
        self.farewell = SessionEnded()
        """What the windows are told at the end."""
        self.ended = False
        """Whether it has left memory: nothing can be asked of it any more."""
        self.idle_since = asyncio.get_running_loop().time()
        """When the last turn ended or the last window left, by the clock of the event loop."""
        self._services = services
        self._open_tools = tools
        self._approvals = approvals
        self._conversation = Conversation()
        self._preparing: asyncio.Task[Prepared] | None = None
        self._needed = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []
        self._queue: deque[Prompt] = deque()
        self._wake = asyncio.Event()
        self._steering: deque[Steered] = deque()
        self._running: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled_by = ""
        self._ending = False
        self._loaded = False
        self._loading = asyncio.Lock()
        self._choosing = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()

    @property
    def session_id(self) -> str:
        """The id of this session."""
        return self.row.session_id

    @property
    def busy(self) -> bool:
        """Whether a turn is running or waiting."""
        return self._running is not None or bool(self._queue)

    @property
    def needed(self) -> bool:
        """Whether somebody watches or a turn is running or waiting."""
        return self.busy or self.hub.watched

    @property
    def windows(self) -> Windows:
        """Who holds the session."""
        return self._services.windows

    @property
    def models(self) -> Models:
        """The models of the window that opened the session."""
        return self._services.origin.models

    # --- operations ------------------------------------------------------------------------------

    def submit(self, op: Op) -> bool:
        """Take in an operation at once; False when there was nothing for it. Raises `TooMany`."""
        match op:
            case Prompt():
                return self._enqueue(op)
            case Steer():
                return self._steer(op)
            case Cancel():
                return self._cancel(op.turn_id, op.client)
            case Answer():
                return self._approvals.answer(op)

    def options(self) -> tuple[Option, ...]:
        """The options with their current values."""
        return self.choices.options(self.models.known(self.choices.model))

    async def set_option(self, option_id: str, value: str) -> None:
        """Set one option, from the next effect or turn on. Raises `BadOption` and `StorageError`."""
        async with self._choosing:
            models = self.models.known(self.choices.model)
            choices = self.choices.with_option(option_id, value, models)
            if choices.isolation != self.choices.isolation:
                await self._relocate(choices.isolation)
            await self._choose(choices)

    async def set_model(self, name: str) -> None:
        """Switch to any model. Raises `ModelError` when it cannot be opened."""
        await self.models.open(name)
        async with self._choosing:
            await self._choose(replace(self.choices, model=name))

    async def set_title(self, title: str) -> None:
        """Name the session, in one short line."""
        title = title_of((TextBlock(title),))
        await self._services.table.set_title(self.session_id, title)
        self.title = title
        self.hub.publish(TitleChanged(title))

    async def review(self, command: str, rest: str) -> str:
        """Do what `/diff`, `/apply`, `/merge` or `/discard` says: what was done, or why it was not."""
        worktrees = await self._services.isolation()
        said = await worktrees.review(replace(self.row, title=self.title), command, rest)
        if command == "discard" and self.row.worktree and not await _is_folder(self.row.worktree):
            await self._settle_in("in_place", "", self.row.real_cwd)
            await self._choose(replace(self.choices, isolation="in_place"))
        return said

    def open_questions(self) -> tuple[Question, ...]:
        """The approvals and questions that wait for an answer."""
        return self._approvals.open()

    def left(self, client: str) -> None:
        """A window went away. What runs goes on; questions that only it could answer end unanswered."""
        self.windows.leave(client)
        self._approvals.left(client)
        self.idle_since = asyncio.get_running_loop().time()

    async def withdraw(self, turn_ids: Iterable[str], client: str) -> None:
        """Cancel these prompts of a window, and wait until their ends were shown."""
        wanted = set(turn_ids)
        task = self._task if self._running in wanted else None
        for turn_id in wanted:
            self._cancel(turn_id, client)
        if task is not None:
            await asyncio.wait([task])
        await self.hub.settle()

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled; a running turn is then ended as cancelled."""
        async with self._tasks:
            writer = self._tasks.create_task(self.hub.run())
            self._preparing = self._tasks.create_task(self._prepare())
            try:
                while True:
                    await self._next_turn()
            finally:
                self._ending = True
                await self._stop()
                self.hub.stop()
                await asyncio.wait([writer])
                self.ended = True
                self.hub.publish(self.farewell)

    async def _prepare(self) -> Prepared:
        """Look around and get the tools, after the answer that opened the session went out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_DELAY):
                await self._needed.wait()
        tools = await self._open_tools(self.place)
        self._helpers = [
            self._tasks.create_task(tools.run()),
            self._tasks.create_task(self._report_problems(tools)),
        ]
        try:
            around = await context.survey(self.place.cwd, self.place.roots, self._services.origin.env)
        except BaseException:
            await tools.aclose()
            raise
        return Prepared(tools, around)

    async def _report_problems(self, tools: SessionTools) -> None:
        while True:
            self.hub.publish(await tools.next_problem())

    async def _stop(self) -> None:
        self._cancel(None, self.farewell.client)
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._put_tools_away()

    async def _put_tools_away(self) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait([self._preparing])
            if not self._preparing.cancelled() and self._preparing.exception() is None:
                await self._preparing.result().tools.aclose()
        for helper in self._helpers:
            helper.cancel()

    async def _next_turn(self) -> None:
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        prompt = self._queue.popleft()
        self._running = prompt.turn_id
        self._cancelled_by = ""
        self.windows.prompting = prompt.client
        self._task = self._tasks.create_task(self._turn(prompt))
        self._task.add_done_callback(lambda _: self._after_turn(prompt))
        await asyncio.wait([self._task])
        self.windows.prompting = ""
        self.idle_since = asyncio.get_running_loop().time()

    def _after_turn(self, prompt: Prompt) -> None:
        if self._running is not None:
            # Cancelled before its first step: the turn's own code never ran.
            self._running = None
            self._steering.clear()
            self.hub.publish(PromptDropped(), prompt.turn_id)

    # --- one turn --------------------------------------------------------------------------------

    async def _turn(self, prompt: Prompt) -> None:
        try:
            ended = await self._outcome(prompt)
            self._running = None
            for message in self._steering:
                self._publish(message, prompt.turn_id)
            self._publish(ended, prompt.turn_id)
            await self.hub.flush()
            self._steering.clear()
        except StorageError as error:
            logger.error("session %s: %s", self.session_id, error)
            self._running = None
            self._loaded = False
            self.hub.publish(JournalFailed(str(error)), prompt.turn_id)

    async def _outcome(self, prompt: Prompt) -> TurnEnded | PromptDropped:
        started = False
        try:
            if not self._loaded:
                await self.load()
            self._publish(TurnStarted(ids.message(), prompt.content, prompt.client), prompt.turn_id)
            started = True
            # No model is asked about a prompt that could still be lost.
            await self.hub.flush()
            return TurnEnded(await self._work(prompt))
        except asyncio.CancelledError:
            self._steering.clear()
            return TurnEnded("cancelled", client=self._cancelled_by) if started else PromptDropped()
        except LoginNeeded as error:
            return TurnEnded("error", str(error), needs_login=True)
        except ModelError as error:
            return TurnEnded("error", str(error))
        except StorageError:
            raise
        except Exception as bug:  # boundary: a bug ends the turn, never the session
            logger.exception("session %s: the turn failed", self.session_id)
            return TurnEnded("error", f"Internal error ({type(bug).__name__}: {bug}). The log has more.")

    async def _work(self, prompt: Prompt) -> StopReason:
        assert self._preparing is not None
        self._needed.set()
        command = commands.parse(prompt.content)
        if command is not None and (text := await commands.answer(self, command)) is not None:
            self._publish(MessageCompleted(ids.message(), text), prompt.turn_id)
            return "end_turn"
        if self.row.isolation == "worktree" and not await _is_folder(self.place.cwd):
            raise ModelError(GONE.format(path=self.place.cwd))
        model = await self.models.open(self.choices.model)
        if self.title is None and command is None:
            await self.set_title(title_of(prompt.content))
        turn = Turn(
            turn_id=prompt.turn_id,
            hub=self.hub,
            conversation=self._conversation,
            model=model,
            effort=cast("Effort", self.choices.effort),
            ready=await asyncio.shield(self._preparing),
            approvals=self._approvals,
            place=self.place,
            max_steps=self._services.origin.settings.max_steps,
            steering=self._steering,
        )
        if command is not None:
            return await commands.run(turn, command)
        await mentions.read(turn, prompt, self._services.origin.env)
        return await loop.run(turn)

    async def load(self) -> list[Envelope]:
        """Bring the conversation up from the journal, closing what a dead server left open.

        Gives everything that happened. Raises `StorageError`.
        """
        async with self._loading:
            if self._loaded:
                return await self._services.journal.read(self.session_id)
            envelopes = await self._take_up()
            self._loaded = True
            return envelopes

    async def _take_up(self) -> list[Envelope]:
        """Go on where the journal ends: all that it holds. Raises `StorageError`."""
        await self.hub.settle()
        envelopes = await self._services.journal.read(self.session_id)
        last_seq = (envelopes[-1].seq or 0) if envelopes else 0
        self.hub.recover(envelopes)
        self._conversation = Conversation(envelope.event for envelope in envelopes)
        if not envelopes:
            self._publish(SessionStarted(self.row.cwd, self.row.additional_directories), "")
        turn_id = envelopes[-1].turn_id if envelopes else ""
        drafts = await self.hub.unfinished(turn_id)
        for event in closing_events((envelope.event for envelope in envelopes), drafts):
            self._publish(event, turn_id)
        if self.hub.last_seq > last_seq:
            await self.hub.flush()
            envelopes += await self._services.journal.read(self.session_id, last_seq)
        return envelopes

    def _publish(self, event: Event, turn_id: str) -> None:
        self._conversation.apply(self.hub.publish(event, turn_id))

    # --- operations, one by one ------------------------------------------------------------------

    def _enqueue(self, prompt: Prompt) -> bool:
        if self._ending:
            self.hub.publish(PromptDropped(), prompt.turn_id)
            return False
        if len(self._queue) >= QUEUE_BOUND:
            raise TooMany(f"{QUEUE_BOUND} prompts are waiting already: let some finish or cancel.")
        self._queue.append(prompt)
        self._wake.set()
        return True

    def _steer(self, steer: Steer) -> bool:
        if self._running is None:
            return False
        if len(self._steering) >= STEER_BOUND:
            raise TooMany(f"{STEER_BOUND} messages wait for the next step already.")
        self._steering.append(Steered(ids.message(), steer.content, steer.client))
        return True

    def _cancel(self, turn_id: str | None, client: str) -> bool:
        dropped = [item for item in self._queue if turn_id in (None, item.turn_id)]
        for prompt in dropped:
            self._queue.remove(prompt)
            self.hub.publish(PromptDropped(), prompt.turn_id)
        if self._task is None or self._running is None or turn_id not in (None, self._running):
            return bool(dropped)
        if not self._task.cancelling():
            self._cancelled_by = client
            self._task.cancel()
        return True

    async def _relocate(self, isolation: str) -> None:
        """Go on in a worktree, or back in the user's own files. Raises `BadOption` and `StorageError`."""
        if self.busy:
            raise BadOption("A turn is running: change the isolation when it has ended.")
        if isolation == "in_place":
            await self._settle_in(isolation, self.row.worktree, self.row.real_cwd)
            return
        worktrees = await self._services.isolation()
        entered = await worktrees.enter(self.row, self.title or "session")
        await self._settle_in(isolation, entered.worktree, entered.cwd)
        for note in entered.notes:
            self.hub.publish(Notice("info", note))
        self._tasks.create_task(worktrees.prepare(self.row))

    async def _settle_in(self, isolation: str, worktree: str, cwd: str) -> None:
        await self._services.table.set_isolation(self.session_id, isolation, worktree)
        self.row = replace(self.row, isolation=isolation, worktree=worktree)
        await self._put_tools_away()
        self.place = workplace(self.row, (cwd, *self.place.roots[1:]), self.windows)
        self._approvals.roots = self.place.roots
        self._needed.clear()
        self._preparing = self._tasks.create_task(self._prepare())
        self.hub.publish(PlaceChanged(cwd))

    async def _choose(self, choices: Choices) -> None:
        await self._services.table.set_options(self.session_id, choices.mode, choices.model, choices.effort)
        self.choices = choices
        self._approvals.mode = cast("Mode", choices.mode)
        self.hub.publish(OptionsChanged(self.options()))


def workplace(row: SessionRow, roots: tuple[str, ...], windows: Windows) -> Place:
    """Where a session works: the first of `roots`. An editor's buffers are of its own tree only."""
    lender = windows.files if row.isolation == "in_place" else lambda: None
    return Place(roots[0], roots, Documents(roots, lender), windows)


async def _is_folder(path: str) -> bool:
    return await asyncio.to_thread(Path(path).is_dir)


def title_of(content: tuple[Block, ...]) -> str:
    """A short title for a conversation that begins with this message."""
    texts = [_said(block) for block in content]
    texts += [block.uri for block in content if isinstance(block, ResourceBlock)]
    line = " ".join(" ".join(texts).split())
    if not line:
        return "New conversation"
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _said(block: Block) -> str:
    match block:
        case TextBlock():
            return block.text
        case LinkBlock():
            return f"@{block.name}"
        case _:
            return ""
