"""Byte streams of a connection: our standard input and output, or a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from hermes_acp.records import mutable, record

logger = logging.getLogger(__name__)

READ_SIZE = 256 * 1024
HIGH_WATER = 4 * 1024 * 1024
"""Unsent bytes from which writers wait."""
TOGETHER = 64 * 1024
"""Bytes from which what is said in one pass of the event loop is not held back to its end."""
UNSENT_BOUND = 32 * 1024 * 1024
"""Unsent bytes at which the other side is given up: what it was asked and answered does not wait."""


class Streams(Protocol):
    """Where a connection's bytes come from and go to."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        ...

    @property
    def full(self) -> bool:
        """Whether more is unsent than whoever can wait should add to: `drain` then waits."""
        ...

    def write(self, data: bytes) -> None:
        """Send; never waits. After the other side is gone or given up, does nothing."""
        ...

    def soon(self, writer: Callable[[], None]) -> None:
        """Have this called in the next pass of the event loop, once, to write what has come by then.

        It must not raise.
        """
        ...

    async def drain(self) -> None:
        """Wait until little is unsent."""
        ...

    async def close(self) -> None:
        """Send what can be sent without waiting for a stuck reader, then close."""
        ...


@mutable
class AsyncioStreams:
    """Pipes and sockets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _given_up: bool = False
    _waiting: bytearray = field(default_factory=bytearray)
    """What sessions say in one pass of the event loop goes out at once: sending is what costs most."""
    _writers: list[Callable[[], None]] = field(default_factory=list["Callable[[], None]"])
    _due: bool = False
    """Whether a pass is coming in which writers write and all is sent."""

    @property
    def full(self) -> bool:
        """Whether more than `HIGH_WATER` bytes are unsent."""
        return self.writer.transport.get_write_buffer_size() > HIGH_WATER

    async def read(self) -> bytes:
        """The next bytes; empty at the end or when the other side vanished."""
        try:
            data = await self.reader.read(READ_SIZE)
        except (ConnectionError, OSError):
            return b""
        return b"" if self._given_up else data

    def write(self, data: bytes) -> None:
        """Send soon what the pipe takes, and buffer the rest, within a bound."""
        self._waiting += data
        if len(self._waiting) > TOGETHER:
            self.flush()
        elif not self._due:
            self._come()

    def soon(self, writer: Callable[[], None]) -> None:
        """Have this called in the next pass of the event loop; all that is written there goes out at once."""
        self._writers.append(writer)
        if not self._due:
            self._come()

    def flush(self) -> None:
        """Send now what was written."""
        transport = self.writer.transport
        data = bytes(self._waiting)
        self._waiting.clear()
        if not data or transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNSENT_BOUND:
            logger.warning("a client is given up: it leaves more than %d bytes unread", UNSENT_BOUND)
            self._given_up = True
            transport.abort()
            return
        self.writer.write(data)

    def _come(self) -> None:
        self._due = True
        asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer()
        self.flush()
        self._due = False
        if self._writers:
            self._come()

    async def drain(self) -> None:
        """Wait while more than `HIGH_WATER` bytes are unsent."""
        try:
            await self.writer.drain()
        except ConnectionError:
            return

    async def close(self) -> None:
        """Flush for at most a moment, then close."""
        self.flush()
        self.writer.close()
        try:
            async with asyncio.timeout(0.2):
                await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()


@record
class FileStreams:
    """Regular files as input or output (`hermes-editor acp < script > answers`)."""

    source: int
    target: int

    async def read(self) -> bytes:
        """The next bytes."""
        return await asyncio.to_thread(os.read, self.source, READ_SIZE)

    def write(self, data: bytes) -> None:
        """Write at once: regular files do not block."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.target, view) :]

    @property
    def full(self) -> bool:
        """Nothing is ever unsent."""
        return False

    def soon(self, writer: Callable[[], None]) -> None:
        """Have this called in the next pass of the event loop."""
        asyncio.get_running_loop().call_soon(writer)

    async def drain(self) -> None:
        """Nothing is ever unsent."""

    async def close(self) -> None:
        """Nothing to close."""


async def from_descriptors(source: int, target: int) -> Streams:
    """Streams over two descriptors, whatever they are."""
    if _is_file(source) or _is_file(target):
        return FileStreams(source, target)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_SIZE)
    read_pipe = os.fdopen(source, "rb", buffering=0, closefd=False)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), read_pipe)
    write_pipe = os.fdopen(target, "wb", buffering=0, closefd=False)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), write_pipe
    )
    transport.set_write_buffer_limits(high=HIGH_WATER)
    return AsyncioStreams(reader, asyncio.StreamWriter(transport, protocol, None, loop))


def _is_file(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    # Nobody can wait for a device such as /dev/null: like a regular file it is always ready.
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor))
