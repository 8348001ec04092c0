"""A small ACP client: starts the agent as an editor does, or takes over a stream, and speaks with it."""

from __future__ import annotations

import asyncio
import itertools
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import BinaryIO, Protocol, cast

from hermes_acp import __version__
from hermes_acp.server import messages
from hermes_acp.server.framing import LineFramer
from hermes_acp.server.messages import Error, Id, Json, Notification, Request, Response

SHARED = (sys.executable, "-P", "-m", "hermes_acp", "acp")
"""Speaks with the server that all windows share."""
STANDALONE = (*SHARED, "--standalone")
"""Hosts an agent of its own."""
LINE_LIMIT = 256 * 1024 * 1024
"""Bytes of one line of the agent; longer ones are dropped."""
READ_SIZE = 256 * 1024
EXIT_SECONDS = 3.0
"""How long the agent may take to end after its input was closed; then it is killed."""
QUESTIONS = 256
"""Requests of the agent that may wait for an answer at once; one more gets an error."""
PROTOCOL_VERSION = 1


class Host(Protocol):
    """The editor's side: what it shows and what it answers."""

    def show(self, session_id: str, update: Json) -> None:
        """A `session/update`."""
        ...

    async def answer(self, method: str, params: Json) -> Json:
        """The result of a request of the agent; cancelled when the agent withdraws it.

        Raises `Unanswered`. Further updates are shown while it waits.
        """
        ...


class Unanswered(Exception):
    """Nobody can answer the agent's request: it gets an error, which is not a "no" of a person."""


class AgentError(Exception):
    """The agent answered with an error; `str()` is its message."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.code = error.code


class AgentGone(Exception):
    """The agent ended; `code` is its exit code, None where there is no process."""

    def __init__(self, code: int | None = None) -> None:
        how = "" if code is None else f" with exit code {code}"
        super().__init__(f"The agent ended{how} before it answered.")
        self.code = code


class Agent:
    """An agent at the other end of a stream. Any number of calls may wait at once."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, host: Host) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host
        self._ids = itertools.count(1)
        self._calls: dict[Id, asyncio.Future[object]] = {}
        self._questions: dict[Id, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    async def call(self, method: str, params: Json) -> Json:
        """Send a request and wait for its result. Raises `AgentError` and `AgentGone`."""
        if self._ended.is_set():
            raise AgentGone
        number = next(self._ids)
        self._calls[number] = future = asyncio.get_running_loop().create_future()
        self._writer.write(messages.request(number, method, params))
        try:
            return _members(await future)
        finally:
            del self._calls[number]

    def notify(self, method: str, params: Json) -> None:
        """Send a notification, also while a call waits."""
        self._writer.write(messages.notification(method, params))

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

    @property
    def ended(self) -> bool:
        """Whether the agent has ended."""
        return self._ended.is_set()

    async def gone(self) -> None:
        """Wait until the agent has ended."""
        await self._ended.wait()

    async def listen(self) -> None:
        """Take in what the agent sends until it ends; then every waiting call raises `AgentGone`."""
        framer = LineFramer(LINE_LIMIT)
        try:
            async with asyncio.TaskGroup() as questions:
                while data := await self._read():
                    for frame in framer.feed(data):
                        if isinstance(frame, bytes) and self._take(frame, questions):
                            # Who waited goes on before what the agent sent behind the answer is shown.
                            await asyncio.sleep(0)
                for question in self._questions.values():
                    question.cancel()
        finally:
            self._ended.set()
            for future in self._calls.values():
                if not future.done():
                    future.set_exception(AgentGone())

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(READ_SIZE)
        except ConnectionError:
            return b""

    def _take(self, frame: bytes, questions: asyncio.TaskGroup) -> bool:
        """Take in a message; whether it was an answer."""
        match messages.decode(frame):
            case Response() as response:
                self._settle(response)
                return True
            case Notification(method="session/update", params=params):
                self._show(_members(params))
            case Notification(method="$/cancel_request", params=params):
                self._withdraw(_members(params).get("requestId"))
            case Request() as request:
                self._ask(request, questions)
            case _:
                pass
        return False

    def _settle(self, response: Response) -> None:
        future = self._calls.get(response.id)
        if future is None or future.done():
            return
        if response.error is not None:
            future.set_exception(AgentError(response.error))
        else:
            future.set_result(response.result)

    def _show(self, params: Json) -> None:
        session_id, update = params.get("sessionId"), params.get("update")
        if isinstance(session_id, str) and isinstance(update, dict):
            self._host.show(session_id, cast("Json", update))

    def _withdraw(self, request_id: object) -> None:
        question = self._questions.get(request_id) if isinstance(request_id, int | str) else None
        if question is not None:
            question.cancel()

    def _ask(self, request: Request, questions: asyncio.TaskGroup) -> None:
        if len(self._questions) >= QUESTIONS:
            error = Error(messages.INTERNAL_ERROR, f"{QUESTIONS} questions wait here: answer some first.")
            self._writer.write(messages.failure(request.id, error))
            return
        question = questions.create_task(self._answer(request))
        self._questions[request.id] = question
        question.add_done_callback(partial(self._asked, request.id))

    def _asked(self, request_id: Id, question: asyncio.Task[None]) -> None:
        if self._questions.get(request_id) is question:
            del self._questions[request_id]
        if question.cancelled() and not self._ended.is_set():
            error = Error(messages.CANCELLED, "The question was withdrawn.")
            self._writer.write(messages.failure(request_id, error))

    async def _answer(self, request: Request) -> None:
        try:
            result = await self._host.answer(request.method, _members(request.params))
            answer = messages.success(request.id, result)
        except Unanswered as error:
            answer = messages.failure(request.id, Error(messages.METHOD_NOT_FOUND, str(error)))
        self._writer.write(answer)


def _members(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


@asynccontextmanager
async def speaking(reader: StreamReader, writer: StreamWriter, host: Host) -> AsyncGenerator[Agent, None]:
    """Speak with the agent at the other end of a stream; the stream is left open."""
    agent = Agent(reader, writer, host)
    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(agent.listen())
            yield agent
            listening.cancel()
    except BaseExceptionGroup as group:
        # One cause is what the caller raised, or a bug of the host: it goes on as itself.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


@asynccontextmanager
async def start(
    host: Host,
    env: Mapping[str, str],
    *,
    command: tuple[str, ...] = SHARED,
    errors: BinaryIO | None = None,
) -> AsyncGenerator[Agent, None]:
    """Start the agent; it ends with the context. `errors` takes what it writes to standard error.

    It gets a process group of its own, so that Ctrl-C reaches us alone and we can cancel the turn.
    Raises `AgentGone` with the exit code when it ended while a call waited.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        process_group=0,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        async with speaking(process.stdout, process.stdin, host) as agent:
            yield agent
    except AgentGone as gone:
        raise AgentGone(await _end(process)) from gone
    finally:
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> int:
    """Close the agent's input and wait for its end, bounded: the exit code."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            # Read on: an agent that cannot write its last lines cannot end.
            while await process.stdout.read(READ_SIZE):
                pass
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
