"""Owns the process in which litellm lives: starts it at first use, talks to it, ends it when it idles.

litellm takes 160 MiB, seconds to import, and holds the interpreter lock for long moments: in a process
of its own it can stall nobody, and its memory comes back when it ends.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import cast

import orjson

from hermes_acp.llm.encoding import encode
from hermes_acp.llm.lines import MAX_AHEAD, MAX_LINE_BYTES, Lines, LineTooLong
from hermes_acp.llm.loose_json import Json, as_count, as_object
from hermes_acp.records import record

IDLE_SECONDS = 900.0
"""How long the process is kept without an answer under way."""

EXIT_SECONDS = 2.0
"""How long a process that closed its socket may take to end; then it is killed."""

GRANT = MAX_AHEAD // 2
"""How many messages are read before the worker is told that it may send as many more."""

COMMAND = (sys.executable, "-P", "-m", "hermes_acp.llm.litellm_worker")
"""`-P`: the folder in which the server was started is no place to import from."""

SWITCHES: Mapping[str, str] = {
    # The packaged price list instead of a download.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # Otherwise litellm reads a `.env` file, which is not the user's word.
    "LITELLM_MODE": "PRODUCTION",
}

ANSWERS = frozenset({"chunk", "end", "refused"})
"""What a line of the worker holds one of."""

STANDARD_ERROR = 2


class WorkerLost(Exception):
    """The process ended, or could not be started; `str()` says how. The next use starts it again."""


class RequestTooLong(Exception):
    """A request is longer than `MAX_LINE_BYTES`."""


@record
class Child:
    """The started process and our end of its socket."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def end(self) -> str:
        """Wait until the process has ended, killing it if need be (blocking); how it ended, in words."""
        try:
            code = self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


class Worker:
    """The process, whether it runs or not; belongs to one event loop. Any number of calls at once."""

    def __init__(
        self, env: Mapping[str, str], *, command: Sequence[str] = COMMAND, idle: float = IDLE_SECONDS
    ) -> None:
        self._command = tuple(command)
        self._env = {**env, **SWITCHES}
        self._idle = idle
        self._users = 0
        self._connecting = asyncio.Lock()
        self._starting: asyncio.Future[Child] | None = None
        self._link: _Link | None = None

    @property
    def pid(self) -> int | None:
        """The running process; None when there is none."""
        return self._link.pid if self._link is not None and not self._link.closed else None

    def use(self) -> None:
        """Somebody may call from now on, until `release`."""
        self._users += 1

    async def release(self) -> None:
        """One user less; the last one ends the process and waits until it is gone."""
        self._users -= 1
        if self._users:
            return
        async with self._connecting:
            if self._starting is not None:
                with suppress(WorkerLost):
                    self._link = await self._connect(self._starting)
            if self._link is not None:
                self._link.close()
                await self._link.ended.wait()

    async def call(self, what: Json) -> AsyncGenerator[Json, None]:
        """Send a call and yield what comes back, its end included.

        Raises `WorkerLost` and `RequestTooLong`. Closing the generator, or cancelling its reader, tells
        the worker at once to stop.
        """
        link = await self._linked()
        async with aclosing(link.call(what)) as messages:
            async for message in messages:
                yield message

    async def _linked(self) -> _Link:
        async with self._connecting:
            if self._link is None or self._link.closed:
                if self._starting is None:
                    loop = asyncio.get_running_loop()
                    self._starting = loop.run_in_executor(None, _start, self._command, self._env)
                self._link = await self._connect(self._starting)
            return self._link

    async def _connect(self, starting: asyncio.Future[Child]) -> _Link:
        try:
            # A start that its caller abandons is taken up by the next one, or by `release`.
            child = await asyncio.shield(starting)
        except (OSError, ValueError) as error:
            self._starting = None
            raise WorkerLost(f"cannot be started ({error})") from error
        self._starting = None
        link = _Link(child, self._idle)
        await asyncio.get_running_loop().create_connection(lambda: link, sock=child.channel)
        return link


def _start(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start the process (blocking): its standard input is a socket, its output our standard error."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=STANDARD_ERROR, env=env, start_new_session=True
            )
        except (OSError, ValueError):
            ours.close()
            raise
    ours.setblocking(False)
    return Child(process, ours)


class _Link(asyncio.Protocol):
    """The connection to one run of the process, from its start to its end."""

    def __init__(self, child: Child, idle: float) -> None:
        self.pid = child.process.pid
        self.closed = False
        self.ended = asyncio.Event()
        self._child = child
        self._idle = idle
        self._lines = Lines()
        self._calls: dict[int, asyncio.Queue[Json | None]] = {}
        self._last = 0
        self._loss = ""

    async def call(self, what: Json) -> AsyncGenerator[Json, None]:
        """See `Worker.call`."""
        number, inbox = self._open(what)
        received = 0
        try:
            while (message := await inbox.get()) is not None:
                yield message
                if "chunk" not in message:
                    return
                received += 1
                if received % GRANT == 0:
                    self._send({"id": number, "more": GRANT})
            raise WorkerLost(self._loss)
        finally:
            if self._calls.pop(number, None) is not None:
                self._send({"id": number, "stop": True})
                self._rest()

    def close(self) -> None:
        """End the process at once: it has nothing to save, and may be busy loading litellm."""
        self.closed = True
        self._child.process.kill()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self._bedtime = asyncio.get_running_loop().call_later(self._idle, self.close)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            for line in self._lines.feed(data):
                self._take(line)
        except (orjson.JSONDecodeError, LineTooLong, _Nonsense):
            self._loss = "sent something that is not an answer, and was ended"
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Called by asyncio: the process has ended, or will within a moment."""
        self.closed = True
        self._bedtime.cancel()
        ending = asyncio.get_running_loop().run_in_executor(None, self._child.end)
        ending.add_done_callback(self._settle)

    def _open(self, what: Json) -> tuple[int, asyncio.Queue[Json | None]]:
        if self.ended.is_set():
            raise WorkerLost(self._loss)
        self._last += 1
        line = encode({"id": self._last, **what}) + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise RequestTooLong
        self._bedtime.cancel()
        inbox = self._calls[self._last] = asyncio.Queue()
        self._transport.write(line)
        return self._last, inbox

    def _take(self, line: bytes) -> None:
        message = as_object(orjson.loads(line))
        number = as_count(message.get("id"))
        if not 0 < number <= self._last or not message.keys() & ANSWERS:
            raise _Nonsense
        inbox = self._calls.get(number)
        if inbox is None:
            return  # it was stopped meanwhile
        if inbox.qsize() > MAX_AHEAD:
            raise _Nonsense
        if "chunk" not in message:
            del self._calls[number]
            self._rest()
        inbox.put_nowait(message)

    def _send(self, message: Json) -> None:
        if not self.closed:
            self._transport.write(encode(message) + b"\n")

    def _rest(self) -> None:
        """With nothing to do, wait for the end."""
        if not self._calls and not self.closed:
            self._bedtime.cancel()
            self._bedtime = asyncio.get_running_loop().call_later(self._idle, self.close)

    def _settle(self, ending: asyncio.Future[str]) -> None:
        self._loss = self._loss or ending.result()
        for inbox in self._calls.values():
            inbox.put_nowait(None)
        self.ended.set()


class _Nonsense(Exception):
    """The worker sent what no worker sends."""
