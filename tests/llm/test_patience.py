from __future__ import annotations

import asyncio

import pytest

from hermes_acp.llm.patience import Patience
from tests.clock import Clock, on_a_clock

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


def test_each_piece_is_waited_for_anew() -> None:
    async def check(clock: Clock) -> None:
        pipe = Pipe()
        patience = Patience(pipe)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                reading = tasks.create_task(patience.read(5))
                await clock.pass_by(4)
                pipe.feed(b"piece")
                assert await reading == b"piece"
        with pytest.RaisesGroup(TimeoutError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(patience.read(5))
                await clock.pass_by(6)

    on_a_clock(check)


def test_time_between_two_reads_does_not_count() -> None:
    async def check(clock: Clock) -> None:
        pipe = Pipe()
        patience = Patience(pipe)
        pipe.feed(b"one")
        assert await patience.read(1) == b"one"
        await clock.pass_by(3)
        pipe.feed(b"two")
        assert await patience.read(LONG) == b"two"
        patience.close()

    on_a_clock(check)


def test_a_wait_that_is_given_up_leaves_the_body_alone() -> None:
    async def check(clock: Clock) -> None:
        pipe = Pipe()
        patience = Patience(pipe)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(patience.read(2))
            await clock.pass_by(1)
            reading.cancel()
            await clock.pass_by(2)
        pipe.feed(b"late")
        assert await patience.read(LONG) == b"late"
        patience.close()

    on_a_clock(check)
