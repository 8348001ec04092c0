"""The shared server: greets the windows, and ends when nobody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import field
from pathlib import Path
from typing import Protocol

from hermes_acp import __version__
from hermes_acp.endpoint import CONTROL, REPLY_LIMIT, Hello, Refused
from hermes_acp.records import record
from hermes_acp.server.listener import AlreadyRunning as AlreadyRunning
from hermes_acp.server.listener import Listener as Listener
from hermes_acp.server.streams import HIGH_WATER, READ_SIZE, AsyncioStreams

CONNECTIONS = 1_024
"""Windows that may be connected at once."""
HELLO_SECONDS = 5.0
"""How long a client may take for its hello."""
ACCEPT_PAUSE = 0.1
"""Seconds to wait when the process has no descriptor left for one more connection."""
LOOK = 10.0
"""Seconds between two looks whether the server is still needed and can still be found."""
UNUSED_IDLE = 60.0
"""Seconds after which a server goes in which no session is left: starting one is cheap."""
SHORT_MEMORY = 0.25
"""Share of the machine's memory below which a server that nobody uses goes as if nothing was asked."""
DRAIN_SECONDS = 600.0
"""How long running turns may take to end after a newer program has taken over."""
DRAIN_POLL = 0.1
LAST_WORDS_SECONDS = 10.0
"""How long a window may take to read the last that it is told."""

logger = logging.getLogger(__name__)
# When it began and why it ended is worth a line whatever else is logged.
logger.setLevel(logging.INFO)


Talk = Callable[[AsyncioStreams], Awaitable[None]]
"""The conversation with one window, until it leaves."""


class Work(Protocol):
    """What the server does for its windows."""

    async def open(self, hello: Hello) -> Talk:
        """Get ready for a window. Raises `Refused`."""
        ...

    @property
    def opened(self) -> int:
        """How many sessions are in memory."""
        ...

    @property
    def running(self) -> int:
        """How many of them work on a turn."""
        ...

    def hand_over(self) -> None:
        """Let another process write the data folder; running turns go on to their end."""
        ...


@record
class Visitor:
    """A connected window."""

    hello: Hello
    since: float = field(default_factory=time.time)


class Daemon:
    """One server. `run` serves until it is told to stop, is idle for long, or is replaced."""

    def __init__(self, listener: Listener, data: str, idle: float) -> None:
        """`idle` is seconds; infinite for a server that waits for its windows for good."""
        self.started = time.time()
        self.visitors: dict[asyncio.Task[None], Visitor] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = listener
        self._data = data
        self._idle = idle
        self._needed_at = time.monotonic()
        self._over = asyncio.Event()
        self._retired = False

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return self._listener.address

    def stop(self) -> None:
        """End now: turns are cancelled, windows see the end of their connection."""
        self._retired = False
        self._over.set()

    def retire(self) -> None:
        """Let another server listen, and end when the running turns have ended, within a bound."""
        self._retired = not self._over.is_set()
        self._over.set()

    async def run(self, work: Work) -> None:
        """Serve. When it returns or is cancelled, nobody is connected any more."""
        logger.info("version %s serves %s at %s", __version__, self._data, self.address)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(work))
                try:
                    self._listen(work, group)
                    await self._over.wait()
                finally:
                    # Also for a pause that is not over yet.
                    self._over.set()
                    asyncio.get_running_loop().remove_reader(self._listener.socket)
                if self._retired:
                    work.hand_over()
                    await asyncio.to_thread(self._listener.close)
                    await self._drain(work)
                for task in (watching, *self._connections):
                    task.cancel()
        finally:
            await asyncio.to_thread(self._listener.close)
            logger.info("the server ends")

    # --- windows ---------------------------------------------------------------------------------

    def _listen(self, work: Work, group: asyncio.TaskGroup) -> None:
        # Not `loop.sock_accept`: when it is cancelled while somebody comes, it loses him and complains.
        if not self._over.is_set():
            asyncio.get_running_loop().add_reader(self._listener.socket, self._accept, work, group)

    def _accept(self, work: Work, group: asyncio.TaskGroup) -> None:
        try:
            connection, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            logger.error("no more connections for the moment: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listener.socket)
            loop.call_later(ACCEPT_PAUSE, self._listen, work, group)
            return
        if not self._listener.admits(connection):
            logger.warning("turned a process of another user away")
        elif len(self._connections) >= CONNECTIONS:
            logger.warning("turned a connection away: %d are open", CONNECTIONS)
        else:
            connection.setblocking(False)
            task = group.create_task(self._meet(work, connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            return
        connection.close()

    async def _meet(self, work: Work, connection: socket.socket) -> None:
        try:
            # A stream is a stream: this also takes Unix sockets.
            reader, writer = await asyncio.open_connection(sock=connection, limit=READ_SIZE)
            writer.transport.set_write_buffer_limits(high=HIGH_WATER)
            async with contextlib.aclosing(_Window(reader, writer)) as streams:
                await self._hear(work, streams)
        except Exception:  # boundary: a broken connection ends alone
            logger.exception("a connection ended")

    async def _hear(self, work: Work, streams: _Window) -> None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = await self._listener.hello(streams.reader, streams.writer)
            await self._visit(work, hello, streams)
        except Refused as error:
            # One line: the client reads no further.
            reason = " ".join(str(error).split()).encode("utf-8", "replace")
            streams.write(b"refused " + reason[: REPLY_LIMIT - 16] + b"\n")
        except (TimeoutError, EOFError, ConnectionError) as error:
            logger.debug("a client left without a hello: %s", error)

    async def _visit(self, work: Work, hello: Hello, streams: _Window) -> None:
        if hello.data != self._data and not await asyncio.to_thread(_is_same, hello.data, self._data):
            raise Refused(f"This server keeps {self._data}, not {hello.data}.")
        if hello.protocol != CONTROL and _is_newer(hello.version, __version__):
            logger.info("version %s takes over from %s", hello.version, __version__)
            self.retire()
        if self._over.is_set():
            streams.write(b"outdated\n")
            return
        talk = await work.open(hello)
        if self._over.is_set():
            streams.write(b"outdated\n")
            return
        task = asyncio.current_task()
        assert task is not None
        self.visitors[task] = Visitor(hello)
        streams.write(f"ok {os.getpid()}\n".encode())
        try:
            await talk(streams)
        finally:
            del self.visitors[task]
            self._needed_at = time.monotonic()

    # --- the end ---------------------------------------------------------------------------------

    async def _watch(self, work: Work) -> None:
        """Stop when nobody has needed the server for long, or nobody can find it any more."""
        while True:
            await asyncio.sleep(min(LOOK, self._idle / 4))
            reachable = await asyncio.to_thread(lambda: self._listener.reachable)
            patience = await asyncio.to_thread(self._patience, work)
            # Nothing is awaited from here on: who has been greeted is not sent away.
            if self._connections or work.running:
                self._needed_at = time.monotonic()
            elif not reachable:
                logger.info("its place in the runtime folder is gone")
                self.stop()
            elif time.monotonic() - self._needed_at >= patience:
                logger.info("nobody has needed it since %.0f seconds", time.monotonic() - self._needed_at)
                self.stop()

    def _patience(self, work: Work) -> float:
        """Seconds without windows and turns after which the server goes."""
        if self._idle == float("inf") or (work.opened and not _memory_is_short()):
            return self._idle
        return min(self._idle, UNUSED_IDLE)

    async def _drain(self, work: Work) -> None:
        """Let running turns end, within a bound; `stop` cuts it short."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while work.running and self._retired and time.monotonic() < deadline:  # noqa: ASYNC110 (once)
            await asyncio.sleep(DRAIN_POLL)


class _Window(AsyncioStreams):
    """A window's connection, which tells a regular end from the end of the server.

    A conversation that we end, as after `exit` of the language server protocol, ends with a closed
    output while we still read; when the server goes, both directions end at once.
    """

    async def aclose(self) -> None:
        """The same as `close`."""
        await self.close()

    async def close(self) -> None:
        """Send the last words to one who reads; at once when the server itself goes."""
        task = asyncio.current_task()
        transport = self.writer.transport
        if not transport.is_closing() and task is not None and not task.cancelling():
            self.flush()
            # `drain` then waits until everything is sent.
            transport.set_write_buffer_limits(0)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self.writer.drain()
                    self.writer.write_eof()
                    while await self.reader.read(READ_SIZE):
                        pass
        await super().close()


def _is_same(folder: str, other: str) -> bool:
    """Whether two paths lead to the same folder."""
    return os.path.realpath(folder) == os.path.realpath(other)


def _memory_is_short() -> bool:
    """Whether the machine needs its memory for others more than for a server that waits."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return kilobytes["MemAvailable"] < SHORT_MEMORY * kilobytes["MemTotal"]
    except (OSError, ValueError, LookupError):
        return False


def _is_newer(one: str, other: str) -> bool:
    """Whether a version is newer, by its numbers alone."""
    return _numbers(one) > _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
