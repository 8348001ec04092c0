import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from hermes_acp.llm.side_loop import MAX_AHEAD, SideLoop


def numbers(count: int, seen: list[int]) -> Callable[[], AsyncGenerator[int, None]]:
    async def make() -> AsyncGenerator[int, None]:
        for number in range(count):
            seen.append(number)
            yield number

    return make


async def test_items_arrive_in_order_from_another_thread() -> None:
    async def threads() -> AsyncGenerator[str, None]:
        yield threading.current_thread().name

    side = SideLoop("side")
    assert [item async for item in side.stream(threads)] == ["side"]
    assert [item async for item in side.stream(numbers(1000, []))] == list(range(1000))


async def test_an_error_is_raised_where_the_stream_is_read() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError("why")

    stream = SideLoop("side").stream(broken)
    assert await anext(stream) == 1
    with pytest.raises(KeyError, match="why"):
        await anext(stream)


async def test_a_library_that_blocks_holds_up_nobody() -> None:
    async def blocking() -> AsyncGenerator[int, None]:
        time.sleep(0.2)  # noqa: ASYNC251 (the point of the test)
        yield 1

    async def read() -> list[int]:
        return [item async for item in SideLoop("side").stream(blocking)]

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        longest, last = 0.0, time.perf_counter()
        while not reading.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert reading.result() == [1]
    assert longest < 0.15


async def test_a_reader_that_leaves_ends_the_stream() -> None:
    ended = threading.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.set()

    stream = SideLoop("side").stream(endless)
    assert await anext(stream) == 1
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 1)


async def test_a_slow_reader_bounds_the_stream() -> None:
    seen: list[int] = []
    side = SideLoop("side")
    stream = side.stream(numbers(10 * MAX_AHEAD, seen))
    assert await anext(stream) == 0
    assert [item async for item in side.stream(numbers(3, []))] == [0, 1, 2]
    assert len(seen) <= MAX_AHEAD + 2
    await stream.aclose()
