"""One ACP client: what it can do, which sessions it watches, and what it was asked."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import partial
from typing import cast

from hermes_acp.agent.commands import COMMANDS
from hermes_acp.agent.history import taken_back
from hermes_acp.agent.hub import Subscription
from hermes_acp.agent.origins import Origin
from hermes_acp.agent.session import Session
from hermes_acp.agent.sessions import Sessions
from hermes_acp.agent.windows import Loan
from hermes_acp.content import Block
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    CommandsChanged,
    Envelope,
    Event,
    JournalFailed,
    Notice,
    PromptDropped,
    QuestionAnswered,
    QuestionAsked,
    SessionEnded,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
)
from hermes_acp.ops import Answer, Cancel, Prompt
from hermes_acp.records import mutable
from hermes_acp.server import messages
from hermes_acp.server.acp import questions, schema
from hermes_acp.server.acp.editor import ClientFiles, ClientTerminals
from hermes_acp.server.acp.render.renderer import Abilities, Renderer
from hermes_acp.server.messages import Error, Id
from hermes_acp.server.rpc import Disconnected, Method, Peer, RemoteError
from hermes_acp.server.streams import Streams
from hermes_acp.storage.database import StorageError

LABEL_LENGTH = 40
"""Characters of the client's name in its label."""
SHOWN_AT_ONCE = 64
"""Envelopes that are shown before we look whether the client reads."""
ENDED_BOUND = 64
"""Ended sessions whose reason is remembered for the client's next call."""

logger = logging.getLogger(__name__)


@mutable
class Watch:
    """A session that the client follows."""

    session: Session
    subscription: Subscription
    renderer: Renderer
    prompts: dict[str, Id] = field(default_factory=dict[str, Id])
    asked: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    unshown: deque[Envelope] = field(default_factory=deque[Envelope])
    """What was taken from the subscription and waits for the client to read."""
    started: bool = False
    due: bool = False
    """Whether what is new is shown soon."""
    pump: asyncio.Task[None] | None = None
    """Shows what cannot be shown at once; one that failed stays, and nothing more is shown."""


class AcpClient:
    """The service behind one connection (`server.rpc.Service`)."""

    def __init__(
        self,
        sessions: Sessions,
        origin: Origin,
        streams: Streams,
        methods: Mapping[str, Method],
        notifications: Mapping[str, Method],
    ) -> None:
        self.sessions = sessions
        self.origin = origin
        self.methods = methods
        self.notifications = notifications
        self.capabilities = schema.ClientCapabilities.model_construct()
        self.label = "client"
        self.initialized = False
        self.peer = Peer(self, streams.write)
        self._streams = streams
        self._watches: dict[str, Watch] = {}
        self._told: str | None = None
        self._ended: dict[str, str] = {}

    # --- the service -----------------------------------------------------------------------------

    def lane(self, params: object) -> str:
        """Calls that name the same session are served in order."""
        session_id = cast("messages.Json", params).get("sessionId") if isinstance(params, dict) else None
        return session_id if isinstance(session_id, str) else ""

    def cancel_deferred(self, request_id: Id) -> None:
        """A prompt was withdrawn with `$/cancel_request`."""
        for watch in self._watches.values():
            for turn_id, prompt in watch.prompts.items():
                if (type(prompt), prompt) == (type(request_id), request_id):
                    watch.session.submit(Cancel(turn_id, self.label))

    # --- what handlers use -----------------------------------------------------------------------

    def introduce(self, params: schema.Initialize) -> None:
        """Remember who the client is and what it can do."""
        self.capabilities = params.client_capabilities
        if not self.initialized:
            name = params.client_info.name if params.client_info else "client"
            self.label = f"{name[:LABEL_LENGTH]}-{secrets.token_hex(4)}"
        self.initialized = True

    def _loan(self, session_id: str) -> Loan:
        """What this editor does for a session: its buffers and its terminals, where it offers them."""
        fs = self.capabilities.fs
        files = ClientFiles(self.peer, session_id, fs.read_text_file, fs.write_text_file)
        terminals = ClientTerminals(self.peer, session_id, self.label)
        return Loan(
            files if fs.read_text_file or fs.write_text_file else None,
            terminals if self.capabilities.terminal else None,
            lambda: self.peer.closed,
        )

    def watch(self, session: Session) -> Watch:
        """Follow a session; nothing is sent before `start`.

        A session that this client follows already keeps its open prompts and questions.
        """
        abilities = Abilities(
            self.capabilities.notices, self.capabilities.compaction, self.capabilities.terminal_output
        )
        old = self._watches.get(session.session_id)
        if old is not None and old.session is not session:
            self.finish(old)
            old = None
        if old is not None:
            self._show_rest(old)
        wake = partial(self._woken, session.session_id)
        subscription = session.hub.subscribe(answers=True, wake=wake)
        watch = Watch(session, subscription, Renderer(session.session_id, abilities))
        if old is not None:
            watch.prompts, watch.asked = old.prompts, old.asked
            old.subscription.close()
            if old.pump is not None:
                old.pump.cancel()
        self._watches[session.session_id] = watch
        self._ended.pop(session.session_id, None)
        session.windows.join(self.label, self._loan(session.session_id))
        return watch

    async def replay(self, watch: Watch) -> None:
        """Send the whole conversation so far. Raises `StorageError`."""
        envelopes = await watch.session.load()
        watch.renderer.taken_back = taken_back(envelopes)
        for start in range(0, len(envelopes), SHOWN_AT_ONCE):
            part = envelopes[start : start + SHOWN_AT_ONCE]
            self._streams.write(b"".join(map(watch.renderer.render, part)))
            await self._streams.drain()
            watch.subscription.seen(part[-1])
            # A long conversation is not read out to one window while all others wait.
            await asyncio.sleep(0)

    async def skip(self, watch: Watch) -> list[Envelope]:
        """Pass over the conversation so far: the calls that run in it. Raises `StorageError`."""
        running: dict[str, Envelope] = {}
        for envelope in await watch.session.load():
            watch.subscription.seen(envelope)
            match envelope.event:
                case ToolCallStarted(call_id=call_id):
                    running[call_id] = envelope
                case ToolCallFinished(call_id=call_id):
                    running.pop(call_id, None)
                case _:
                    pass
        return list(running.values())

    def start(self, watch: Watch, running: Iterable[Envelope] = ()) -> None:
        """Send what happens from now on, beginning with the commands, what runs, and the open questions."""
        news: list[Event] = [CommandsChanged(COMMANDS)]
        if (trouble := self.sessions.trouble) != self._told:
            self._told = trouble
            news.append(Notice("warning", "Stored conversations were damaged", trouble))
        session_id = watch.session.session_id
        for envelope in (*(Envelope(session_id, None, "", 0.0, event) for event in news), *running):
            self._streams.write(watch.renderer.render(envelope))
        for event in watch.session.open_questions():
            if event.request_id not in watch.asked:
                self._ask(watch, event)
        watch.started = True
        self._woken(session_id)

    def unwatch(self, session_id: str) -> None:
        """Stop following a session; its unanswered prompts of this client end as cancelled."""
        watch = self._watches.pop(session_id, None)
        if watch is None:
            return
        watch.subscription.close()
        if watch.pump is not None:
            watch.pump.cancel()
        self._withdraw_all(watch)
        for request_id in watch.prompts.values():
            self.peer.reply(request_id, {"stopReason": "cancelled"})
        watch.session.left(self.label)

    async def leave(self, watch: Watch) -> None:
        """Let go of a session. Its own prompts end as cancelled; the last window ends the session."""
        session = watch.session
        session.windows.leave(self.label)
        if session.windows.empty:
            await self.sessions.close(session.session_id)
        else:
            await session.withdraw(watch.prompts, self.label)
        self.finish(watch)

    def finish(self, watch: Watch) -> None:
        """Send what a session still had to say to this client, then stop following it."""
        self._show_rest(watch)
        if self._watches.get(watch.session.session_id) is watch:
            self.unwatch(watch.session.session_id)

    def watched(self, session_id: str) -> Watch | None:
        """The watch on a session that this client has open; one on an ended session ends now."""
        watch = self._watches.get(session_id)
        if watch is not None and watch.session.ended:
            self.finish(watch)
            return None
        return watch

    def why_ended(self, session_id: str) -> str | None:
        """Why a session that was open here is no more, where another window ended it."""
        return self._ended.get(session_id)

    def prompt(self, watch: Watch, turn_id: str, content: tuple[Block, ...], request_id: Id) -> None:
        """Submit a prompt whose answer is deferred to the end of its turn. Raises `TooMany`."""
        watch.session.submit(Prompt(turn_id, content, self.label))
        watch.prompts[turn_id] = request_id

    def close(self) -> None:
        """The connection is over."""
        for session_id in list(self._watches):
            self.unwatch(session_id)

    # --- events out ------------------------------------------------------------------------------

    def _woken(self, session_id: str) -> None:
        """Called by the hub for whatever is new: it is shown soon, together with that of other sessions."""
        watch = self._watches.get(session_id)
        if watch is not None and watch.started and not watch.due and watch.pump is None:
            watch.due = True
            self._streams.soon(partial(self._show_news, watch))

    def _show_news(self, watch: Watch) -> None:
        watch.due = False
        if self._watches.get(watch.session.session_id) is not watch or watch.pump is not None:
            return
        subscription = watch.subscription
        if subscription.behind or subscription.waiting > SHOWN_AT_ONCE or self._streams.full:
            watch.pump = self.peer.spawn(self._pump(watch))
            return
        try:
            self._show_rest(watch)
        except Exception:  # boundary: no task of the connection is running that could end it
            logger.exception("session %s cannot be shown", watch.session.session_id)
            self.peer.end()

    async def _pump(self, watch: Watch) -> None:
        subscription = watch.subscription
        try:
            while subscription.behind or subscription.waiting:
                watch.unshown.extend(await subscription.batch())
                while watch.unshown:
                    for _ in range(min(len(watch.unshown), SHOWN_AT_ONCE)):
                        self._show(watch, watch.unshown.popleft())
                    await self._streams.drain()
            watch.pump = None
        except StorageError as error:
            logger.error("session %s cannot be followed: %s", watch.session.session_id, error)
            for turn_id in list(watch.prompts):
                self._fail_prompt(watch, turn_id, Error(messages.INTERNAL_ERROR, str(error)))

    def _show_rest(self, watch: Watch) -> None:
        watch.unshown.extend(watch.subscription.take())
        while watch.unshown:
            self._show(watch, watch.unshown.popleft())

    def _show(self, watch: Watch, envelope: Envelope) -> None:
        if data := watch.renderer.render(envelope, label=self.label):
            self._streams.write(data)
        event = envelope.event
        match event:
            case ApprovalRequested() | QuestionAsked():
                self._ask(watch, event)
            case ApprovalResolved() | QuestionAnswered():
                if (task := watch.asked.pop(event.request_id, None)) is not None:
                    task.cancel()
            case TurnEnded():
                self._end_prompt(watch, envelope.turn_id, event)
            case PromptDropped():
                self._end_prompt(watch, envelope.turn_id, TurnEnded("cancelled"))
            case JournalFailed():
                error = Error(messages.INTERNAL_ERROR, event.message)
                self._fail_prompt(watch, envelope.turn_id, error)
                # What resolved them could not be written either.
                self._withdraw_all(watch)
            case SessionEnded():
                self._forget(watch, event)
            case _:
                pass

    def _withdraw_all(self, watch: Watch) -> None:
        for task in watch.asked.values():
            task.cancel()
        watch.asked.clear()

    def _forget(self, watch: Watch, event: SessionEnded) -> None:
        if self._watches.get(watch.session.session_id) is not watch:
            return
        self.unwatch(watch.session.session_id)
        if event.reason and event.client != self.label:
            self._ended[watch.session.session_id] = event.reason
            while len(self._ended) > ENDED_BOUND:
                del self._ended[next(iter(self._ended))]

    def _end_prompt(self, watch: Watch, turn_id: str, event: TurnEnded) -> None:
        if event.error is not None:
            code = messages.AUTH_REQUIRED if event.needs_login else messages.INTERNAL_ERROR
            self._fail_prompt(watch, turn_id, Error(code, event.error))
        elif turn_id in watch.prompts:
            self.peer.reply(watch.prompts.pop(turn_id), {"stopReason": event.stop_reason})

    def _fail_prompt(self, watch: Watch, turn_id: str, error: Error) -> None:
        if turn_id in watch.prompts:
            self.peer.fail(watch.prompts.pop(turn_id), error)

    # --- questions to the user -------------------------------------------------------------------

    def _ask(self, watch: Watch, event: ApprovalRequested | QuestionAsked) -> None:
        watch.asked[event.request_id] = self.peer.spawn(self._put(watch, event))

    async def _put(self, watch: Watch, event: ApprovalRequested | QuestionAsked) -> None:
        try:
            answer = await self._answer(watch.session.session_id, event)
        except (RemoteError, Disconnected) as error:
            logger.info("the client could not ask the user: %s", error)
            answer = Answer(event.request_id, client=self.label)
        watch.session.submit(answer)

    async def _answer(self, session_id: str, event: ApprovalRequested | QuestionAsked) -> Answer:
        """What the user said; an answer that decides nothing where the client cannot ask this."""
        method = "session/request_permission"
        match event:
            case ApprovalRequested():
                result = await self.peer.request(method, questions.permission(session_id, event))
                return questions.permission_answer(event.request_id, result, self.label)
            case QuestionAsked() if self.capabilities.forms:
                params = questions.elicitation(session_id, event)
                result = await self.peer.request("elicitation/create", params)
                return questions.elicitation_answer(event.request_id, result, self.label)
            case QuestionAsked() if questions.is_choice(event):
                result = await self.peer.request(method, questions.choice(session_id, event))
                return questions.choice_answer(event, result, self.label)
            case _:
                return Answer(event.request_id, client=self.label)
