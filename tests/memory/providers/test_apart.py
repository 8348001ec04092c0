"""Work in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable

import pytest

from hermes_acp.memory.providers.apart import Apart


async def test_work_is_done_in_the_other_thread_and_its_answers_and_errors_come_back() -> None:
    apart = Apart("test")

    async def where() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise OSError("no")

    assert await apart.run(where()) == "test"
    with pytest.raises(OSError, match="no"):
        await apart.run(fail())
    await apart.aclose()


async def refused(work: Awaitable[None]) -> str:
    """Why somebody who was not cancelled got no answer."""
    with pytest.raises(ConnectionError) as error:
        await work
    return str(error.value)


async def test_work_is_cancelled_with_whoever_waits_for_it_and_when_it_is_closed() -> None:
    apart = Apart("test")
    loop, begun, ended = asyncio.get_running_loop(), asyncio.Queue[int](), asyncio.Queue[int]()

    async def wait(number: int) -> None:
        loop.call_soon_threadsafe(begun.put_nowait, number)
        try:
            await asyncio.Event().wait()
        finally:
            loop.call_soon_threadsafe(ended.put_nowait, number)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(apart.run(wait(1)))
        assert await begun.get() == 1
        first.cancel()
        assert await ended.get() == 1
        second = group.create_task(refused(apart.run(wait(2))))
        assert await begun.get() == 2
        await apart.aclose()
        assert await ended.get() == 2
    assert first.cancelled()
    assert second.result() == "the connection was closed"
