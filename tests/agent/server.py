"""A real server in this process, with scripted models and windows that keep all they see."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hermes_acp import app
from hermes_acp.agent import ids
from hermes_acp.agent.hub import Subscription
from hermes_acp.agent.opening import Opening
from hermes_acp.agent.origins import Origin
from hermes_acp.agent.session import Session
from hermes_acp.content import Block, TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    Envelope,
    Event,
    JournalFailed,
    MessageCompleted,
    PromptDropped,
    QuestionAsked,
    ToolCallFinished,
    TurnEnded,
)
from hermes_acp.llm.base import Message
from hermes_acp.ops import Answer, Cancel, Prompt, Steer
from hermes_acp.storage.database import StorageError

PATIENCE = 60.0
"""Seconds that something expected may take; a test that reaches it has failed."""

E = TypeVar("E")
Question = ApprovalRequested | QuestionAsked
Answering = Callable[[Question], Answer | None]
Script = Iterable[dict[str, object]]
Ended = TurnEnded | PromptDropped | JournalFailed


def choosing(option_id: str) -> Answering:
    """Give every permission request this answer."""
    return lambda question: Answer(question.request_id, option_id, client="test")


consenting = choosing("allow_once")


def holding(_question: Question) -> None:
    """Leave every question open."""


def say(text: str, **more: object) -> dict[str, object]:
    """An answer of the model that is only text."""
    return {"parts": [{"text": text, **more}]}


def call(name: str, **arguments: object) -> dict[str, object]:
    """A part of an answer: one tool call."""
    return {"tool": name, "arguments": arguments}


def act(*parts: dict[str, object], **more: object) -> dict[str, object]:
    """An answer of the model made of these parts."""
    return {"parts": list(parts), **more}


@dataclass(eq=False)
class Window:
    """One reader of one session, which keeps every envelope and answers what it is told to."""

    session: Session
    subscription: Subscription
    answering: Answering | None = None
    seen: list[Envelope] = field(default_factory=list)
    failed: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _pump: asyncio.Task[None] | None = None

    @property
    def events(self) -> list[Event]:
        """What was seen, without its place."""
        return [envelope.event for envelope in self.seen]

    @property
    def durable(self) -> list[Envelope]:
        """What was seen and has a number."""
        return [envelope for envelope in self.seen if envelope.seq is not None]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def results(self) -> list[tuple[str, str]]:
        """Outcome and words of every tool call that ended."""
        return [(event.outcome, event.result) for event in self.of(ToolCallFinished)]

    @property
    def texts(self) -> list[str]:
        """What the model said, message by message."""
        return [event.text for event in self.of(MessageCompleted)]

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                for envelope in await self.subscription.batch():
                    self._take(envelope)
                self._news.set()
        except StorageError as error:
            self.failed = str(error)
            self._news.set()

    def _take(self, envelope: Envelope) -> None:
        self.seen.append(envelope)
        if isinstance(envelope.event, Question) and self.answering is not None:
            answer = self.answering(envelope.event)
            if answer is not None:
                self.session.submit(answer)

    async def until(self, found: Callable[[], E | bool | None], what: str = "") -> E:
        """Wait until something is there, looking at every news."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (value := found()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what or found} did not come; seen: {self.events[-8:]}") from None
        return value

    async def see(self, kind: type[E], count: int = 1) -> E:
        """Wait for the event number `count` of this kind."""
        await self.until(lambda: len(self.of(kind)) >= count, f"{kind.__name__} number {count}")
        return self.of(kind)[count - 1]

    def begin(self, content: str | tuple[Block, ...]) -> str:
        """Submit a prompt: its turn id."""
        turn_id = ids.turn()
        blocks = (TextBlock(content),) if isinstance(content, str) else content
        self.session.submit(Prompt(turn_id, blocks, "test"))
        return turn_id

    async def end(self, turn_id: str) -> Ended:
        """Wait for the end of a turn."""

        def ended() -> Ended | None:
            return next(
                (
                    item.event
                    for item in self.seen
                    if item.turn_id == turn_id and isinstance(item.event, Ended)
                ),
                None,
            )

        return await self.until(ended, f"the end of {turn_id}")

    async def prompt(self, content: str | tuple[Block, ...]) -> Ended:
        """Submit a prompt and wait for its end."""
        return await self.end(self.begin(content))

    def steer(self, text: str) -> bool:
        """Submit a message for the running turn."""
        return self.session.submit(Steer((TextBlock(text),), "test"))

    def cancel(self, turn_id: str | None = None) -> bool:
        """Stop one turn or all."""
        return self.session.submit(Cancel(turn_id))

    def leave(self) -> None:
        """Go away, as a client does whose connection ended."""
        if self._pump is not None:
            self._pump.cancel()
        self.subscription.close()
        self.session.left("test")


def messages(session: Session) -> tuple[Message, ...]:
    """The live conversation; nothing but the model sees it, so there is no public way to it."""
    return session._parts.transcript.conversation.messages


@dataclass(eq=False)
class Desk:
    """A server, a folder to work in, and the windows that were opened."""

    server: app.Server
    origin: Origin
    folder: Path
    env: dict[str, str]
    tasks: asyncio.TaskGroup
    windows: list[Window] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The file with everything."""
        return Path(self.env["HERMES_EDITOR_HOME"], "data", "sessions.db")

    def opening(self, folder: Path | None = None, *more: Path) -> Opening:
        """How a window opens a session: in the desk's folder, or in another."""
        return Opening(self.origin, str(folder or self.folder), tuple(map(str, more)))

    async def new(self, answering: Answering | None = consenting) -> Window:
        """A new session with one window; None: nobody answers."""
        session = await self.server.sessions.create(self.opening())
        return self.watch(session, answering)

    async def open(self, session_id: str, answering: Answering | None = consenting) -> Window:
        """Open a session again and replay it, as `session/load` does."""
        session = await self.server.sessions.open(session_id, self.opening())
        window = self.watch(session, answering, reading=False)
        for envelope in await session.load():
            window.seen.append(envelope)
            window.subscription.seen(envelope)
        self.read(window)
        return window

    def watch(
        self, session: Session, answering: Answering | None = consenting, *, reading: bool = True
    ) -> Window:
        """One more window on a session."""
        window = Window(session, session.hub.subscribe(answers=answering is not None), answering)
        self.windows.append(window)
        if reading:
            self.read(window)
        return window

    def read(self, window: Window) -> None:
        """Let a window read from now on."""
        window._pump = self.tasks.create_task(window.run())

    def write_script(self, *answers: dict[str, object]) -> str:
        """A further script: the name of its model."""
        return write_script(self.folder.parent, f"script-{ids.request()}", answers)


def write_script(folder: Path, name: str, answers: Script) -> str:
    """Write a script file: the name of its model."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers), "utf-8")
    return f"scripted/{path}"


def environment(home: Path, **settings: object) -> dict[str, str]:
    """What the server is told: only its home and these settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    named = {f"HERMES_EDITOR_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "HERMES_EDITOR_HOME": str(home), "HERMES_EDITOR_ALLOW_REAL_MODELS": "0", **named}


@asynccontextmanager
async def serving(root: Path, script: Script = (), **settings: object) -> AsyncIterator[Desk]:
    """A server over the home below `root`, which a later one may open again."""
    folder = root / "project"
    folder.mkdir(exist_ok=True)
    if answers := list(script):
        settings.setdefault("model", write_script(root, "script", answers))
    env = environment(root / "home", **settings)
    async with app.running(env) as server, asyncio.TaskGroup() as tasks:
        origin = await server.origins.of(env, str(folder))
        desk = Desk(server, origin, folder, env, tasks)
        yield desk
        for window in desk.windows:
            if window._pump is not None:
                window._pump.cancel()
