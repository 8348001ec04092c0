"""The process with litellm in it, as the operating system and a provider see it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from hermes_acp.content import TextBlock
from hermes_acp.llm.base import FinishPart, Part, Request, StreamCut, TextPart, UserMessage
from hermes_acp.llm.litellm_model import LitellmModel
from hermes_acp.llm.litellm_process import Worker
from hermes_acp.llm.route import Dialect, Route
from tests.model_server import ModelServer, answer, streamed, text

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

KEY = "sk-secret"
NAME = "litellm/openai/m"
REQUEST = Request("", (UserMessage((TextBlock("hi"),)),))

LONGEST_STALL = 0.25
"""Seconds of CPU that this process may spend between two turns of its event loop."""

STARTS_A_WORKER = """
import asyncio, os, json, sys
from hermes_acp.llm.litellm_model import LitellmModel
from hermes_acp.llm.litellm_process import Worker
from hermes_acp.llm.base import Request, UserMessage
from hermes_acp.content import TextBlock
from hermes_acp.llm.route import Dialect, Route

async def main(base_url):
    worker = Worker(dict(os.environ))
    model = LitellmModel(Route("m", "openai/m", Dialect("m"), base_url, key="k"), worker)
    async for part in model.stream(Request("", (UserMessage((TextBlock("hi"),)),))):
        print(json.dumps([worker.pid, "litellm" in sys.modules]), flush=True)

asyncio.run(main(sys.argv[1]))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    shared = Worker({"OPENAI_API_KEY": KEY})
    shared.use()
    yield shared
    await shared.release()


def model_at(server: ModelServer, worker: Worker) -> LitellmModel:
    return LitellmModel(Route(NAME, "openai/m", Dialect(NAME), server.base_url, key=KEY), worker)


async def parts(model: LitellmModel) -> list[Part]:
    return [part async for part in model.stream(REQUEST)]


async def test_the_event_loop_goes_on_while_litellm_is_loaded(worker: Worker) -> None:
    async with ModelServer([answer("hello")]) as server, asyncio.TaskGroup() as group:
        asking = group.create_task(parts(model_at(server, worker)))
        stalls: list[float] = []
        last = psutil.Process().cpu_times()
        while not asking.done():
            await asyncio.sleep(0.001)
            now = psutil.Process().cpu_times()
            stalls.append(now.user + now.system - last.user - last.system)
            last = now
    assert TextPart("hello") in asking.result()
    assert max(stalls) <= LONGEST_STALL


async def test_ten_answers_at_once_do_not_mix(worker: Worker) -> None:
    async with ModelServer([streamed(text("word ", repeat=50), text("end"))]) as server:
        model = model_at(server, worker)
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(parts(model)) for _ in range(10)]
        assert len(server.requests) == 10
    texts = ["".join(part.text for part in each.result() if isinstance(part, TextPart)) for each in answers]
    assert texts == ["word " * 50 + "end"] * 10


async def test_a_reader_that_pauses_loses_nothing(worker: Worker) -> None:
    async with ModelServer([streamed(text("word ", repeat=1500))]) as server:
        stream = model_at(server, worker).stream(REQUEST)
        first = await anext(stream)
        # Another answer passes the one that nobody reads.
        assert TextPart("word ") in await parts(model_at(server, worker))
        rest = [part async for part in stream]
    assert [first, *rest] == [*[TextPart("word ")] * 1500, FinishPart("stop")]


async def test_no_key_is_on_the_command_line(worker: Worker) -> None:
    async with ModelServer([answer("hello")]) as server:
        await parts(model_at(server, worker))
    assert KEY not in " ".join(psutil.Process(worker.pid).cmdline())


async def test_a_worker_that_is_killed_cuts_the_answer_and_comes_back(worker: Worker) -> None:
    behaviours = [{"steps": [text("a"), {"stall": True}]}, answer("hello")]
    async with ModelServer(behaviours) as server:
        model = model_at(server, worker)
        stream = model.stream(REQUEST)
        assert await anext(stream) == TextPart("a")
        psutil.Process(worker.pid).kill()
        with pytest.raises(StreamCut, match=r"killed by signal 9\. It is started again"):
            await anext(stream)
        assert TextPart("hello") in await parts(model)


async def test_a_killed_server_leaves_no_worker_and_no_open_request() -> None:
    async with ModelServer([{"steps": [text("a"), {"stall": True}]}]) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STARTS_A_WORKER, server.base_url, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        pid, has_litellm = json.loads(await child.stdout.readline())
        assert not has_litellm
        of_worker = psutil.Process(pid)
        child.kill()
        await child.wait()
        async with asyncio.timeout(60):
            await server.requests[0].left.wait()
            while _lives(of_worker):  # noqa: ASYNC110 (the processes of others send us no event)
                await asyncio.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_the_folder_of_the_server_is_not_imported_from(tmp_path: Path) -> None:
    trap = tmp_path / "litellm.py"
    await asyncio.to_thread(trap.write_text, "raise SystemExit('imported from the current folder')")
    async with ModelServer([answer("hello")]) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-c", STARTS_A_WORKER, server.base_url),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": ""},
        )
        assert await child.wait() == 0
        assert len(server.requests) == 1
