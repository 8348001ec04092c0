"""Byte streams of a connection: our standard input and output, or a socket."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import Protocol

READ_SIZE = 256 * 1024
HIGH_WATER = 4 * 1024 * 1024
"""Unsent bytes from which writers wait."""


class Streams(Protocol):
    """Where a connection's bytes come from and go to."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        ...

    def write(self, data: bytes) -> None:
        """Send; never waits. After the other side is gone, does nothing."""
        ...

    async def drain(self) -> None:
        """Wait until little is unsent."""
        ...

    async def close(self) -> None:
        """Send what can be sent without waiting for a stuck reader, then close."""
        ...


@dataclass(frozen=True, slots=True)
class AsyncioStreams:
    """Pipes and sockets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        """The next bytes; empty at the end or when the other side vanished."""
        try:
            return await self.reader.read(READ_SIZE)
        except (ConnectionError, OSError):
            return b""

    def write(self, data: bytes) -> None:
        """Send what the pipe takes now and buffer the rest."""
        if not self.writer.transport.is_closing():
            self.writer.write(data)

    async def drain(self) -> None:
        """Wait while more than `HIGH_WATER` bytes are unsent."""
        try:
            await self.writer.drain()
        except ConnectionError:
            return

    async def close(self) -> None:
        """Flush for at most a moment, then close."""
        self.writer.close()
        try:
            async with asyncio.timeout(0.2):
                await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()


@dataclass(frozen=True, slots=True)
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
