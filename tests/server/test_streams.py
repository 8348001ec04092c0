"""What is written in one pass of the event loop goes out at once; who reads nothing is given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from hermes_acp.server.streams import HIGH_WATER, UNSENT_BOUND, AsyncioStreams


@dataclass
class Line:
    """Streams, and the socket at their other end."""

    streams: AsyncioStreams
    other: socket.socket

    async def received(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.other, 1024)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    ours, other = socket.socketpair()
    other.setblocking(False)
    streams = AsyncioStreams(*await asyncio.open_unix_connection(sock=ours))
    yield Line(streams, other)
    await streams.close()
    other.close()


async def test_what_writers_write_goes_out_with_what_was_written_before(line: Line) -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        line.streams.write(text.encode())

    line.streams.write(b"first ")
    line.streams.soon(lambda: write("second "))
    line.streams.soon(lambda: write("third"))
    assert await line.received() == b"first second third"
    line.streams.soon(lambda: line.streams.soon(lambda: write("next pass")))
    assert await line.received() == b"next pass"
    assert written == ["second ", "third", "next pass"]


async def test_nothing_is_sent_where_writers_have_nothing_to_say(line: Line) -> None:
    line.streams.soon(lambda: None)
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        line.other.recv(1)


async def test_a_side_that_does_not_read_is_given_up_at_the_bound() -> None:
    ours, other = socket.socketpair()
    streams = AsyncioStreams(*await asyncio.open_unix_connection(sock=ours))
    assert not streams.full
    streams.write(bytes(HIGH_WATER * 2))
    assert streams.full
    for _ in range(UNSENT_BOUND // HIGH_WATER):
        streams.write(bytes(HIGH_WATER))
    assert streams.writer.transport.is_closing()
    assert await streams.read() == b""
    await streams.close()
    other.close()
