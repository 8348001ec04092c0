"""What must not stop halfway does not."""

import asyncio

import pytest

from hermes_acp.workspace.finish import to_the_end


async def test_it_gives_what_comes_of_the_work_or_raises_what_went_wrong() -> None:
    async def fails() -> None:
        raise KeyError("why")

    assert await to_the_end(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(KeyError, match="why"):
        await to_the_end(fails())


async def test_cancels_are_passed_on_after_the_end() -> None:
    finish, steps = asyncio.Event(), []

    async def work() -> None:
        steps.append("begun")
        await finish.wait()
        steps.append("done")

    task = asyncio.ensure_future(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        assert task.cancel()
    await asyncio.sleep(0)
    assert (task.done(), steps) == (False, ["begun"])
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begun", "done"]


async def test_a_cancel_hides_what_went_wrong_meanwhile() -> None:
    finish = asyncio.Event()

    async def fails() -> None:
        await finish.wait()
        raise KeyError

    task = asyncio.ensure_future(to_the_end(fails()))
    await asyncio.sleep(0)
    task.cancel()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_limit_around_it_is_told_after_the_end() -> None:
    steps = []

    async def work() -> None:
        await asyncio.to_thread(steps.append, "done")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await to_the_end(work())
    assert steps == ["done"]
