"""Editors in this process: real ACP clients on sockets of a server, which keep all they are shown."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.cli.acp_client import Agent, Unanswered, speaking
from hermes_acp.server.messages import Json
from hermes_acp.server.streams import AsyncioStreams
from tests.agent.server import PATIENCE, Desk

Serve = Callable[[Json], "Json | Awaitable[Json]"]


@dataclass(eq=False)
class Asked:
    """A request of the agent that waits for the test, until it is answered or withdrawn."""

    method: str
    params: Json
    reply: asyncio.Future[Json]
    withdrawn: bool = False

    def choose(self, option_id: str) -> None:
        """Answer a permission request."""
        self.reply.set_result({"outcome": {"outcome": "selected", "optionId": option_id}})

    def dismiss(self) -> None:
        """Answer a permission request without a choice."""
        self.reply.set_result({"outcome": {"outcome": "cancelled"}})


@dataclass(eq=False)
class Editor:
    """One window: `serves` answers requests at once, `holds` are left to the test."""

    name: str
    serves: dict[str, Serve] = field(default_factory=dict)
    holds: tuple[str, ...] = ("session/request_permission", "elicitation/create")
    updates: deque[Json] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    session_id: str = ""
    agent: Agent | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _leave: asyncio.Event = field(default_factory=asyncio.Event)
    _writer: asyncio.StreamWriter | None = None

    # --- what the client calls -------------------------------------------------------------------

    def show(self, session_id: str, update: Json) -> None:
        """Keep an update."""
        self.updates.append(update)
        self._news.set()

    async def answer(self, method: str, params: Json) -> Json:
        """Serve a request of the agent."""
        self.calls.append((method, params))
        if method in self.serves:
            served = self.serves[method](params)
            return await served if inspect.isawaitable(served) else served
        if method not in self.holds:
            raise Unanswered(f"{self.name} does not serve {method}")
        asked = Asked(method, params, asyncio.get_running_loop().create_future())
        self.asked.append(asked)
        self._news.set()
        try:
            return await asked.reply
        except asyncio.CancelledError:
            asked.withdrawn = True
            self._news.set()
            raise

    # --- what tests call -------------------------------------------------------------------------

    async def call(self, method: str, **params: object) -> Json:
        """A call about the session. Raises `AgentError`."""
        assert self.agent is not None
        return await self.agent.call(method, {"sessionId": self.session_id, **params})

    async def new(self, desk: Desk) -> str:
        """Open a new session."""
        opening = await self.call("session/new", cwd=str(desk.folder), mcpServers=[])
        self.session_id = str(opening["sessionId"])
        return self.session_id

    async def join(self, desk: Desk, session_id: str, how: str = "load") -> None:
        """Open an existing session."""
        self.session_id = session_id
        await self.call(f"session/{how}", cwd=str(desk.folder), mcpServers=[])

    async def prompt(self, text: str) -> str:
        """Prompt, and wait for the stop reason."""
        answer = await self.call("session/prompt", prompt=[{"type": "text", "text": text}])
        return str(answer["stopReason"])

    def cancel(self) -> None:
        """Cancel what runs."""
        assert self.agent is not None
        self.agent.notify("session/cancel", {"sessionId": self.session_id})

    def vanish(self) -> None:
        """The editor is killed."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def question(self, number: int = 1) -> Asked:
        """Wait for the request number `number` that the test has to answer."""
        await self.until(lambda: len(self.asked) >= number, f"question {number}")
        return self.asked[number - 1]

    async def until(self, found: Callable[[], object], what: str) -> None:
        """Wait until something is there, looking at every news."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not found():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.name}: {what} did not come; seen: {list(self.updates)[-6:]}"
            ) from None

    async def end_of_turn(self, number: int = 1) -> Json:
        """Wait until that many turns ended: how the last one did."""
        await self.until(lambda: len(self.ends) >= number, f"the end of turn {number}")
        return self.ends[number - 1]

    def of(self, *kinds: str) -> list[Json]:
        """The updates of some kinds."""
        return [update for update in self.updates if update["sessionUpdate"] in kinds]

    def text(self, kind: str = "agent_message_chunk") -> str:
        """What the chunks of a kind add up to."""
        return "".join(str(update["content"]["text"]) for update in self.of(kind))

    @property
    def ends(self) -> list[Json]:
        """How the turns ended."""
        metas = [update["_meta"]["hermes"] for update in self.of("session_info_update") if "_meta" in update]
        return [meta for meta in metas if "stopReason" in meta]


@asynccontextmanager
async def editing(
    desk: Desk,
    name: str,
    serves: dict[str, Serve] | None = None,
    *,
    kept: int | None = None,
    **capabilities: object,
) -> AsyncGenerator[Editor, None]:
    """An editor that is connected and has been through `initialize`; it keeps the last updates."""
    editor = Editor(name, serves or {}, updates=deque(maxlen=kept))
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    streams = AsyncioStreams(*await asyncio.open_unix_connection(sock=theirs))
    serving = desk.tasks.create_task(desk.server.serve(streams, "acp", desk.origin))
    try:
        async with speaking(reader, writer, editor) as agent:
            editor.agent, editor._writer = agent, writer
            await agent.initialize(name, dict(capabilities))
            yield editor
    finally:
        writer.close()
        await asyncio.wait([serving])


def buffers(texts: dict[str, str]) -> dict[str, Serve]:
    """The two methods of an editor that keeps these texts in memory only."""

    def write(params: Json) -> Json:
        texts[str(params["path"])] = str(params["content"])
        return {}

    return {
        "fs/read_text_file": lambda params: {"content": texts.get(str(params["path"]), "")},
        "fs/write_text_file": write,
    }


def saved(path: Path) -> str | None:
    """What is on the disk."""
    return path.read_text() if path.exists() else None


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for something of which nobody is told."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.002)
