"""The connection to the worker process, with a worker that does as it is told."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hermes_acp.llm.lines import MAX_AHEAD
from hermes_acp.llm.litellm_process import GRANT, Worker, WorkerLost

pytestmark = pytest.mark.programs

OBEDIENT = Path(__file__).parent / "obedient_worker.py"
PATIENCE = 60.0

Working = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "received"


@pytest.fixture
def working(log: Path) -> Working:
    """A worker in use; afterwards no process is left of it."""

    @asynccontextmanager
    async def used(**options: Any) -> AsyncIterator[Worker]:
        worker = Worker({}, command=(sys.executable, str(OBEDIENT), str(log)), **options)
        worker.use()
        try:
            yield worker
        finally:
            pid = worker.pid
            await worker.release()
            assert worker.pid is None
            assert pid is None or not psutil.pid_exists(pid)

    return used


async def all_of(worker: Worker, then: str = "end", chunks: int = 0) -> list[dict[str, object]]:
    return [message async for message in worker.call({"ask": {"chunks": chunks, "then": then}})]


async def loss_of(worker: Worker, then: str, chunks: int = 0) -> str:
    with pytest.raises(WorkerLost) as caught:
        await all_of(worker, then, chunks)
    return str(caught.value)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (the processes of others send us no event)
            await asyncio.sleep(0.005)


def received(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_a_call_gets_its_answer_and_the_process_stays(working: Working) -> None:
    async with working() as worker:
        assert worker.pid is None
        assert await all_of(worker, chunks=2) == [
            {"id": 1, "chunk": {"n": 0}},
            {"id": 1, "chunk": {"n": 1}},
            {"id": 1, "end": "whole"},
        ]
        pid = worker.pid
        assert await all_of(worker) == [{"id": 2, "end": "whole"}]
        assert worker.pid == pid


async def test_ten_calls_at_once_share_one_process(working: Working) -> None:
    async with working() as worker:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(all_of(worker, chunks=5)) for _ in range(10)]
        chunks = [[message.get("chunk") for message in call.result()] for call in calls]
        assert chunks == [[*({"n": n} for n in range(5)), None]] * 10
        ids = [{message["id"] for message in call.result()} for call in calls]
        assert sorted(map(sorted, ids)) == [[number] for number in range(1, 11)]


async def test_a_reader_that_leaves_stops_the_call(working: Working, log: Path) -> None:
    async with working() as worker:
        call = worker.call({"ask": {"chunks": 1, "then": "wait"}})
        assert await anext(call) == {"id": 1, "chunk": {"n": 0}}
        await call.aclose()
        assert await all_of(worker) == [{"id": 2, "end": "whole"}]
    assert received(log) == [
        {"id": 1, "ask": {"chunks": 1, "then": "wait"}},
        {"id": 1, "stop": True},
        {"id": 2, "ask": {"chunks": 0, "then": "end"}},
    ]


async def test_a_reader_that_is_cancelled_stops_the_call(working: Working, log: Path) -> None:
    async with working() as worker:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(all_of(worker, "wait"))
            await until(log.exists)
            reading.cancel()
        await until(lambda: {"id": 1, "stop": True} in received(log))


async def test_reading_on_is_told_to_the_worker(working: Working, log: Path) -> None:
    async with working() as worker:
        await all_of(worker, chunks=MAX_AHEAD)
        await all_of(worker)
    assert received(log)[1:3] == [{"id": 1, "more": GRANT}] * 2


@pytest.mark.parametrize(
    ("then", "chunks", "how"),
    [
        ("babble", 1, "sent something that is not an answer"),
        ("end", 2 * MAX_AHEAD, "sent something that is not an answer"),
        ("exit", 1, "ended with exit code 3"),
    ],
    ids=["nonsense", "more than it may", "its end"],
)
async def test_a_worker_that_fails_fails_its_calls_and_is_started_again(
    working: Working, then: str, chunks: int, how: str
) -> None:
    async with working() as worker:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(loss_of(worker, "wait"))
            await until(lambda: worker.pid)
            first = worker.pid
            assert how in await loss_of(worker, then, chunks)
        assert how in waiting.result()
        assert await all_of(worker) == [{"id": 1, "end": "whole"}]
        assert worker.pid != first


async def test_a_killed_worker_is_said_to_be_killed(working: Working) -> None:
    async with working() as worker:
        call = worker.call({"ask": {"chunks": 1, "then": "wait"}})
        await anext(call)
        assert worker.pid is not None
        psutil.Process(worker.pid).kill()
        with pytest.raises(WorkerLost, match="was killed by signal 9"):
            await anext(call)


async def test_a_worker_that_cannot_be_started_is_explained(tmp_path: Path) -> None:
    worker = Worker({}, command=(str(tmp_path / "missing"),))
    worker.use()
    for _ in range(2):
        with pytest.raises(WorkerLost, match=r"cannot be started .*missing"):
            await all_of(worker)
    await worker.release()


async def test_an_environment_that_no_process_can_have_is_explained() -> None:
    worker = Worker({"BAD": "nul\0"})
    worker.use()
    with pytest.raises(WorkerLost, match="cannot be started"):
        await all_of(worker)
    await worker.release()


async def test_an_idle_worker_ends_and_a_busy_one_does_not(working: Working) -> None:
    async with working(idle=0.05) as worker:
        call = worker.call({"ask": {"chunks": 1, "then": "wait"}})
        await anext(call)
        pid = worker.pid
        assert pid is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # longer than it may idle
                await anext(call)
        assert worker.pid == pid
        await until(lambda: not psutil.pid_exists(pid))
        assert await all_of(worker) == [{"id": 1, "end": "whole"}]


async def test_a_start_that_nobody_waits_for_leaves_nothing(working: Working) -> None:
    before = {child.pid for child in psutil.Process().children()}
    async with working() as worker, asyncio.TaskGroup() as group:
        calling = group.create_task(all_of(worker))
        await asyncio.sleep(0)
        calling.cancel()
    assert {child.pid for child in psutil.Process().children()} <= before
