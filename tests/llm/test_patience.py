from __future__ import annotations

import asyncio

import pytest

from hermes_acp.llm.patience import Patience

LONG = 3600.0


class Pipe:
    """A body that a test feeds."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[bytes | BaseException] = asyncio.Queue()

    async def readany(self) -> bytes:
        item = await self._arrived.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def feed(self, data: bytes) -> None:
        self._arrived.put_nowait(data)

    def set_exception(self, exc: BaseException) -> None:
        self._arrived.put_nowait(exc)


async def test_what_arrives_is_read() -> None:
    pipe = Pipe()
    patience = Patience(pipe)
    pipe.feed(b"one")
    pipe.feed(b"")
    assert [await patience.read(LONG), await patience.read(LONG)] == [b"one", b""]
    patience.close()


async def test_a_wait_ends_when_nothing_arrives() -> None:
    with pytest.raises(TimeoutError):
        await Patience(Pipe()).read(0.01)


async def test_a_shorter_wait_is_not_as_long_as_the_one_before() -> None:
    pipe = Pipe()
    patience = Patience(pipe)
    pipe.feed(b"one")
    assert await patience.read(LONG) == b"one"
    with pytest.raises(TimeoutError):
        await patience.read(0.01)


async def test_each_piece_is_waited_for_anew() -> None:
    pipe = Pipe()
    patience = Patience(pipe)
    for _ in range(4):
        asyncio.get_running_loop().call_later(0.02, pipe.feed, b"piece")
        assert await patience.read(0.05) == b"piece"
    with pytest.raises(TimeoutError):
        await patience.read(0.02)


async def test_time_between_two_reads_does_not_count() -> None:
    pipe = Pipe()
    patience = Patience(pipe)
    pipe.feed(b"one")
    assert await patience.read(0.01) == b"one"
    await asyncio.sleep(0.03)
    pipe.feed(b"two")
    assert await patience.read(LONG) == b"two"
    patience.close()


async def test_a_wait_that_is_given_up_leaves_the_body_alone() -> None:
    pipe = Pipe()
    patience = Patience(pipe)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await patience.read(0.02)
    await asyncio.sleep(0.03)
    pipe.feed(b"late")
    assert await patience.read(LONG) == b"late"
    patience.close()
