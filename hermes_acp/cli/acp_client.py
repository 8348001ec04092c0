"""A small ACP client: starts the agent as an editor does and speaks with it, one call at a time."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, cast

from hermes_acp import __version__
from hermes_acp.server import messages
from hermes_acp.server.framing import LineFramer
from hermes_acp.server.messages import Error, Json, Message, Notification, Request, Response

COMMAND = (sys.executable, "-m", "hermes_acp", "acp", "--standalone")
LINE_LIMIT = 256 * 1024 * 1024
"""Bytes of one line of the agent; longer ones are dropped."""
READ_SIZE = 256 * 1024
EXIT_SECONDS = 3.0
"""How long the agent may take to end after its input was closed; then it is killed."""
PROTOCOL_VERSION = 1


class Host(Protocol):
    """The editor's side: what it shows and what it answers."""

    def show(self, session_id: str, update: Json) -> None:
        """A `session/update`."""
        ...

    def answer(self, method: str, params: Json) -> Json:
        """The result of a request of the agent. Raises `Unanswered`."""
        ...


class Unanswered(Exception):
    """Nobody can answer the agent's request: it gets an error, which is not a "no" of a person."""


class AgentError(Exception):
    """The agent answered with an error; `str()` is its message."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.code = error.code


class AgentGone(Exception):
    """The agent ended without an answer; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The agent ended with exit code {code} before it answered.")
        self.code = code


class Agent:
    """A running agent. Updates and requests are served while a call waits for its answer."""

    def __init__(self, process: asyncio.subprocess.Process, host: Host) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._host = host
        self._framer = LineFramer(LINE_LIMIT)
        self._received: deque[Message] = deque()
        self._ids = itertools.count(1)

    async def call(self, method: str, params: Json) -> Json:
        """Send a request and wait for its result. Raises `AgentError` and `AgentGone`."""
        number = next(self._ids)
        self._stdin.write(messages.request(number, method, params))
        while True:
            match await self._next():
                case Response(id=found, error=error, result=result) if found == number:
                    if error is not None:
                        raise AgentError(error)
                    return _members(result)
                case Notification(method="session/update") as notification:
                    self._show(_members(notification.params))
                case Request() as request:
                    self._answer(request)
                case _:
                    continue

    def notify(self, method: str, params: Json) -> None:
        """Send a notification, also while a call waits."""
        self._stdin.write(messages.notification(method, params))

    async def initialize(self, name: str, capabilities: Json) -> Json:
        """Introduce the client; what the agent can do."""
        return await self.call(
            "initialize",
            {
                "protocolVersion": PROTOCOL_VERSION,
                "clientCapabilities": capabilities,
                "clientInfo": {"name": name, "version": __version__},
            },
        )

    async def close(self) -> int:
        """Close the agent's input and wait for its end, bounded: the exit code."""
        self._stdin.close()
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                # Read on: an agent that cannot write its last lines cannot end.
                while await self._stdout.read(READ_SIZE):
                    pass
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    async def _next(self) -> Message:
        while not self._received:
            data = await self._stdout.read(READ_SIZE)
            if not data:
                raise AgentGone(await self.close())
            frames = self._framer.feed(data)
            self._received.extend(messages.decode(frame) for frame in frames if isinstance(frame, bytes))
        return self._received.popleft()

    def _show(self, params: Json) -> None:
        session_id, update = params.get("sessionId"), params.get("update")
        if isinstance(session_id, str) and isinstance(update, dict):
            self._host.show(session_id, cast("Json", update))

    def _answer(self, request: Request) -> None:
        try:
            result = self._host.answer(request.method, _members(request.params))
            answer = messages.success(request.id, result)
        except Unanswered as error:
            answer = messages.failure(request.id, Error(messages.METHOD_NOT_FOUND, str(error)))
        self._stdin.write(answer)


def _members(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


@asynccontextmanager
async def start(host: Host, env: Mapping[str, str]) -> AsyncGenerator[Agent, None]:
    """Start the agent; it ends with the context.

    It gets a process group of its own, so that Ctrl-C reaches us alone and we can cancel the turn.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        process_group=0,
    )
    agent = Agent(process, host)
    try:
        yield agent
    finally:
        await asyncio.shield(agent.close())
