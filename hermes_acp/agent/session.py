"""A session: takes operations, runs one turn at a time, and owns everything that belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import commands, context, history, ids, loop, mentions
from hermes_acp.agent.approvals import Approvals, Question
from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.history import History, title_of
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.memory.remembering import Remembering
from hermes_acp.agent.models import Models
from hermes_acp.agent.options import FULL_MODE, ISOLATIONS, BadOption, Choices
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.agent.recovery import closing_events
from hermes_acp.agent.screening import Screening
from hermes_acp.agent.services import Services
from hermes_acp.agent.turn import Place, Prepared, Turn, workplace
from hermes_acp.agent.turn_files import Recording
from hermes_acp.agent.windows import Windows
from hermes_acp.content import TextBlock
from hermes_acp.events import (
    Envelope,
    Event,
    JournalFailed,
    MessageCompleted,
    Notice,
    Option,
    OptionsChanged,
    PlaceChanged,
    PromptDropped,
    Rewound,
    SessionEnded,
    SessionStarted,
    Steered,
    StopReason,
    TitleChanged,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.llm.base import Effort, LoginNeeded, ModelError
from hermes_acp.ops import Answer, Cancel, Op, Prompt, Steer
from hermes_acp.policy.effects import Mode
from hermes_acp.policy.masking import Masks
from hermes_acp.policy.paths import inside
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.tools.base import SessionTools
from hermes_acp.workspace.project import checked_out

if TYPE_CHECKING:
    from hermes_acp.agent.trust import Trusting

QUEUE_BOUND = 32
"""Prompts that may wait behind the running turn."""
STEER_BOUND = 32
"""Messages that may wait for the next step."""
PREPARE_DELAY = 0.2
"""Seconds after which a session gets ready for its first prompt, if none came before."""

GONE = (
    "The folder {path} is gone, so nothing was done. Bring it back, or, when it was the session's worktree, "
    "set the session's isolation to in_place to go on in your own files."
)

logger = logging.getLogger(__name__)


class TooMany(Exception):
    """A queue of the session is full; `str()` says which and what to do."""


class Session:
    """One conversation. `run` must be running for anything to happen."""

    def __init__(
        self,
        row: SessionRow,
        services: Services,
        place: Place,
        tools: Callable[[Place, Remembering], Awaitable[SessionTools]],
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
        self._masks = Masks(services.origin.secrets)
        self._preparing: asyncio.Task[Prepared] | None = None
        self._needed = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []
        self._queue: deque[Prompt] = deque()
        self._wake = asyncio.Event()
        self._steering: deque[Steered] = deque()
        self._running: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._aside = False
        self._cancelled_by = ""
        self._ending = False
        self._loaded = False
        self._trusting: Trusting | None = None
        self._loading = asyncio.Lock()
        self._choosing = asyncio.Lock()
        self._told_mode = ""
        self._tasks = asyncio.TaskGroup()
        spawn = self._tasks.create_task
        self._recording = Recording(row.session_id, services.checkpointing, spawn)
        self._memory = Remembering(services.memory, self._tell, spawn, hub.last_seq)

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

    async def remember(self, rest: str) -> str:
        """Do what `/memory` says: what was done, or why it was not."""
        return await self._memory.command(self.place.cwd, rest, self._approvals, self.hub.flush)

    async def rewind(self, command: str, rest: str) -> str:
        """Do what `/undo`, `/redo` or `/rewind` says: what was done, or why it was not."""
        assert self._running is not None
        # Git's side of it takes a while to import.
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.rewind")
        turn_id = self._running
        situation = module.Situation(
            session_id=self.session_id,
            turn_id=turn_id,
            history=History(await self._services.journal.read(self.session_id)),
            checkpointing=await self._recording.checkpointing(),
            place=self.place,
            approvals=self._approvals,
            publish=partial(self._publish_of, turn_id),
            flush=self.hub.flush,
            lessons=partial(self._memory.follow, self.place.cwd),
        )
        return cast("str", await module.run(situation, command, rest))

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
        if self.row.isolation == "worktree":
            await (await self._services.isolation()).hold(self.row)
        tools = await self._open_tools(self.place, self._memory)
        self._helpers = [
            self._tasks.create_task(tools.run()),
            self._tasks.create_task(self._report_problems(tools)),
        ]
        try:
            cwd, env = self.place.cwd, self._services.origin.env
            async with self._services.surveying:
                around = await context.survey(cwd, self.place.roots, env, self._memory.page)
        except BaseException:  # a cancellation, too: undone here and passed on
            await tools.aclose()
            raise
        # This also reads the tables of secrets, before any text has to wait for them.
        return Prepared(tools, await asyncio.to_thread(around.without_secrets, self._masks))

    async def _report_problems(self, tools: SessionTools) -> None:
        while True:
            self.hub.publish(await tools.next_problem())

    async def _stop(self) -> None:
        self._cancel(None, self.farewell.client)
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._memory.end()
        await self._recording.stop()
        await self._put_tools_away()
        await self._leave_worktree()

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
        self._aside = commands.parse(prompt.content) is not None
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
        screen = Screening(self._masks)
        self._tell_mode()
        try:
            ended = await self._outcome(prompt, screen)
            self._running = None
            publish = partial(self._publish_of, prompt.turn_id)
            for message in tuple(self._steering):
                self._publish(await screen.steered(message, publish), prompt.turn_id)
            if isinstance(ended, TurnEnded) and ended.error:
                ended = replace(ended, error=await screen.text(ended.error))
            self._publish(ended, prompt.turn_id)
            # No answer and no cancel waits for what is recorded now; the next turn does.
            self._recording.end()
            await self.hub.flush()
            self._memory.reflect(self.place.cwd, self.hub.committed)
            self._steering.clear()
        except StorageError as error:
            logger.error("session %s: %s", self.session_id, error)
            self._running = None
            self._loaded = False
            self.hub.publish(JournalFailed(str(error)), prompt.turn_id)
        finally:
            self._recording.end()

    async def _outcome(self, prompt: Prompt, screen: Screening) -> TurnEnded | PromptDropped:
        started = False
        try:
            if not self._loaded:
                await self.load()
            await self._recording.settled()
            notices: list[Notice] = []
            prompt = replace(prompt, content=await screen.prompt(prompt.content, notices.append))
            at = await checked_out(self.place.cwd)
            said = TurnStarted(ids.message(), prompt.content, prompt.client, aside=self._aside)
            self._publish(replace(said, branch=at.head, worktree=at.root), prompt.turn_id)
            started = True
            for notice in notices:
                self._publish(notice, prompt.turn_id)
            # No model is asked about a prompt that could still be lost.
            await self.hub.flush()
            return TurnEnded(await self._work(prompt, screen))
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

    async def _work(self, prompt: Prompt, screen: Screening) -> StopReason:
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
        files = self._recording.begin(
            self.place.cwd, title_of(prompt.content), partial(self._publish_of, prompt.turn_id)
        )
        turn = Turn(
            turn_id=prompt.turn_id,
            hub=self.hub,
            conversation=self._conversation,
            model=model,
            effort=cast("Effort", self.choices.effort),
            ready=await asyncio.shield(self._preparing),
            approvals=self._approvals,
            place=replace(self.place, documents=self.place.documents.watched(files).masked(self._masks)),
            max_steps=self._services.origin.settings.max_steps,
            steering=self._steering,
            files=files,
            screen=screen,
        )
        await self._trust(turn)
        if command is not None:
            return await commands.run(turn, command)
        await mentions.read(turn, prompt, self._services.origin.env)
        await self._memory.offer(turn, prompt.content)
        reason = await loop.run(turn)
        if self._trusting is not None:
            await self._trusting.edited(turn)
        return reason

    async def _trust(self, turn: Turn) -> None:
        """Make of what the project brings along what the user thinks of it. Raises `StorageError`."""
        found = turn.ready.surroundings.instructions
        if found is None or not found.texts:
            return
        if self._trusting is None:
            self._trusting = await self._services.trusting()
        await self._trusting.settle(turn)

    async def load(self) -> list[Envelope]:
        """Bring the conversation up from the journal, closing what a dead server left open.

        Gives everything that happened. Raises `StorageError`.
        """
        async with self._loading:
            if self._loaded:
                return await self._services.journal.read(self.session_id)
            envelopes = await self._take_up()
            self._loaded = True
            last = history.tail(envelopes).last
            if last is not None and last.unsettled:
                self._recording.end_interrupted(self.place.cwd, last, partial(self._publish_of, ""))
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
        if (rewound := await self._rewound(envelopes)) is not None:
            self._publish(rewound, turn_id)
        if warning := await self._unapplied(envelopes):
            self._publish(Notice("warning", warning), turn_id)
        drafts = await self.hub.unfinished(turn_id)
        for event in closing_events((envelope.event for envelope in envelopes), drafts):
            self._publish(event, turn_id)
        if self.hub.last_seq > last_seq:
            await self.hub.flush()
            envelopes += await self._services.journal.read(self.session_id, last_seq)
        return envelopes

    async def _rewound(self, envelopes: list[Envelope]) -> Rewound | None:
        """What a command did to the files whose server died before it could say so."""
        command = history.tail(envelopes).open_aside
        if not command:
            return None
        try:
            checkpointing = await self._recording.checkpointing()
            await checkpointing.recover(self.place.cwd)
            return await checkpointing.rewound(self.place.cwd, self.session_id, command)
        except NotRecorded as error:
            logger.warning("session %s: nobody knows whether files were rewound: %s", self.session_id, error)
            return None

    async def _unapplied(self, envelopes: list[Envelope]) -> str:
        """Take back what an `/apply` left half done whose server died; what the user has to know of it."""
        if not (self.row.worktree and history.tail(envelopes).open_aside):
            return ""
        return await (await self._services.isolation()).recover(self.row)

    def _publish(self, event: Event, turn_id: str) -> None:
        self._conversation.apply(self.hub.publish(event, turn_id))

    def _tell(self, event: Event) -> None:
        """Publish something that belongs to the running turn, if there is one."""
        self._publish(event, self._running or "")

    def _publish_of(self, turn_id: str, event: Event) -> None:
        """Publish something of a turn, or behind it once it has ended."""
        self._publish(event, turn_id if self._running == turn_id else "")

    # --- operations, one by one ------------------------------------------------------------------

    def _enqueue(self, prompt: Prompt) -> bool:
        if self._ending:
            self.hub.publish(PromptDropped(), prompt.turn_id)
            return False
        if self.busy and commands.rewinds(prompt.content):
            raise TooMany("A turn is running: wait for its end or cancel it, then say that again.")
        if len(self._queue) >= QUEUE_BOUND:
            raise TooMany(f"{QUEUE_BOUND} prompts are waiting already: let some finish or cancel.")
        self._queue.append(prompt)
        self._wake.set()
        return True

    def _steer(self, steer: Steer) -> bool:
        if self._running is None or self._aside:
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
        await self._put_tools_away()
        await self._leave_worktree()
        self.row = replace(self.row, isolation=isolation, worktree=worktree)
        self.place = workplace(self.row, (cwd, *self.place.roots[1:]), self.windows)
        self._approvals.roots = self.place.roots
        self._needed.clear()
        self._preparing = self._tasks.create_task(self._prepare())
        self.hub.publish(PlaceChanged(cwd))

    async def _leave_worktree(self) -> None:
        """Let others remove the worktree, if nothing would be lost with it."""
        if self.row.isolation == "worktree":
            await (await self._services.isolation()).release(self.row)

    def _tell_mode(self) -> None:
        """Say once what it means that nothing is asked for, however the session came to it."""
        if (mode := self._approvals.mode) != self._told_mode and mode == "full":
            self.hub.publish(FULL_MODE)
        self._told_mode = mode

    async def _choose(self, choices: Choices) -> None:
        await self._services.table.set_options(self.session_id, choices.mode, choices.model, choices.effort)
        self.choices = choices
        self._approvals.mode = cast("Mode", choices.mode)
        self._tell_mode()
        self.hub.publish(OptionsChanged(self.options()))


async def _is_folder(path: str) -> bool:
    return await asyncio.to_thread(Path(path).is_dir)
