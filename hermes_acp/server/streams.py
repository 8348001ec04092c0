"""Byte streams of a connection: our standard input and output, or a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from dataclasses import dataclass, field
from typing import Protocol

from hermes_acp.records import record

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

    def write(self, data: bytes) -> None:
        """Send; never waits. After the other side is gone or given up, does nothing."""
        ...

    async def drain(self) -> None:
        """Wait until little is unsent."""
        ...

    async def close(self) -> None:
        """Send what can be sent without waiting for a stuck reader, then close."""
        ...


@dataclass(slots=True)
class AsyncioStreams:
    """Pipes and sockets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _given_up: bool = False
    _waiting: bytearray = field(default_factory=bytearray)
    """What sessions say in one pass of the event loop goes out at once: sending is what costs most."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end or when the other side vanished."""
        try:
            data = await self.reader.read(READ_SIZE)
        except (ConnectionError, OSError):
            return b""
        return b"" if self._given_up else data

    def write(self, data: bytes) -> None:
        """Send soon what the pipe takes, and buffer the rest, within a bound."""
        transport = self.writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > UNSENT_BOUND:
            logger.warning("a client is given up: it leaves more than %d bytes unread", UNSENT_BOUND)
            self._given_up = True
            transport.abort()
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting += data
        if len(self._waiting) > TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Send now what was written."""
        data = bytes(self._waiting)
        self._waiting.clear()
        if data and not self.writer.transport.is_closing():
            self.writer.write(data)

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
