"""What a server keeps in memory: bounded, whatever windows do, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from hermes_acp.agent.session import Session
from hermes_acp.agent.sessions import UNUSED_BOUND, UNUSED_SECONDS, superfluous
from hermes_acp.events import TextDelta, TurnEnded
from hermes_acp.server import streams
from hermes_acp.server.streams import AsyncioStreams
from tests.agent.editors import editing, eventually
from tests.agent.server import Desk, act, consenting, holding, serving

pytestmark = pytest.mark.programs

MEBI = 1024 * 1024
CHUNKS = 100_000
WORD = "word "
SCRIPT = [
    act({"text": WORD, "repeat": CHUNKS}, when={"user": "talk"}),
    act({"text": WORD, "repeat": CHUNKS // 10}, when={"user": "chat"}),
    act({"text": WORD, "repeat": 1_000_000, "delay": 0.02}, when={"user": "work"}),
    act({"text": "short"}, when={"user": ""}),
]


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return psutil.Process().memory_info().rss


@asynccontextmanager
async def silent(
    desk: Desk, *requests: dict[str, object]
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A client that writes these requests, and reads only what the test reads."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1)
    channel = AsyncioStreams(*await asyncio.open_unix_connection(sock=theirs))
    serving_it = desk.tasks.create_task(desk.server.serve(channel, "acp", desk.origin))
    for number, request in enumerate(requests):
        writer.write(json.dumps({"jsonrpc": "2.0", "id": number, **request}).encode() + b"\n")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.wait([serving_it])


def hello(session_id: str, folder: Path) -> tuple[dict[str, object], ...]:
    """What a client says to follow a session."""
    opening = {"sessionId": session_id, "cwd": str(folder), "mcpServers": []}
    return (
        {"method": "initialize", "params": {"protocolVersion": 1}},
        {"method": "session/load", "params": opening},
    )


# --- slow windows --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_window_that_does_not_read_costs_the_others_neither_time_nor_memory(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        reading = await stack.enter_async_context(editing(desk, "reading", kept=100))
        await reading.new(desk)
        assert await reading.prompt("talk") == "end_turn"
        session_id = await reading.new(desk)
        await stack.enter_async_context(silent(desk, *hello(session_id, desk.folder)))
        session = desk.server.sessions.get(session_id)
        assert session is not None
        await eventually(lambda: session.hub.answerers == 2)
        before = memory()
        assert await reading.prompt("talk") == "end_turn"
        grown = memory() - before
        assert grown < 8 * MEBI, f"{grown / MEBI:.1f} MiB for a text of {len(WORD) * CHUNKS / MEBI:.1f} MiB"


async def test_a_client_that_reads_again_gets_its_answer_whatever_it_did_meanwhile(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        session = (await desk.new()).session
        target = {"sessionId": session.session_id}
        first, load = hello(session.session_id, desk.folder)
        words: dict[str, object] = {**target, "prompt": [{"type": "text", "text": "chat"}]}
        ask: dict[str, object] = {"method": "session/prompt", "params": words}
        async with silent(desk, first, load, ask) as (reader, writer):
            await eventually(lambda: session.busy)
            await eventually(lambda: not session.busy)
            writer.write(json.dumps({"jsonrpc": "2.0", "id": 3, **load}).encode() + b"\n")
            answers: dict[int, object] = {}
            rest = b""
            while len(answers) < 4:
                *lines, rest = (rest + await reader.read(MEBI)).split(b"\n")
                found = [json.loads(line) for line in lines]
                answers |= {item["id"]: item.get("result") for item in found if "result" in item}
            assert answers[2] == {"stopReason": "end_turn"}


@pytest.mark.slow
async def test_a_client_that_asks_and_never_reads_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        deep = desk.folder.joinpath(*["long" * 50] * 10)
        deep.mkdir(parents=True)
        for _ in range(50):
            await desk.server.sessions.create(desk.opening(deep))
        asked = b'{"jsonrpc":"2.0","id":"%d","method":"session/list","params":{}}\n'
        async with silent(desk, *hello("none", desk.folder)) as (_, writer):
            number = 0
            async with asyncio.timeout(300):
                while not writer.transport.is_closing():
                    number += 1
                    writer.write(asked % number)
                    await asyncio.sleep(0)
            assert number * 50 * len(str(deep)) > streams.UNSENT_BOUND


# --- unused sessions -----------------------------------------------------------------------------


def test_the_longest_unused_sessions_leave_first_and_none_stays_for_ever() -> None:
    now = 10_000.0
    recent = {f"s{number}": now - number for number in range(UNUSED_BOUND)}
    assert superfluous({}, now) == []
    assert superfluous(recent, now) == []
    assert superfluous({**recent, "old": now - 100, "older": now - 200}, now) == ["older", "old"]
    assert superfluous({"s": now - UNUSED_SECONDS, "t": now - UNUSED_SECONDS + 1}, now) == ["s"]


async def test_unused_sessions_leave_memory_and_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        first = await desk.new()
        await first.prompt("hello")
        first.leave()
        for _ in range(2 * UNUSED_BOUND):
            (await desk.new()).leave()
        await eventually(lambda: desk.server.sessions.opened <= UNUSED_BOUND + 1)
        assert desk.server.sessions.get(first.session.session_id) is None
        again = await desk.open(first.session.session_id)
        assert again.seen == first.durable
        assert await again.prompt("more") == TurnEnded("end_turn")


async def test_sessions_that_work_or_are_watched_stay(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        watched = await desk.new()
        working = await desk.new(holding)
        working.begin("work")
        await working.see(TextDelta)
        working.leave()
        for _ in range(2 * UNUSED_BOUND):
            (await desk.new()).leave()
        await eventually(lambda: desk.server.sessions.opened <= UNUSED_BOUND + 3)
        sessions = desk.server.sessions
        assert sessions.get(watched.session.session_id) is watched.session
        assert sessions.get(working.session.session_id) is working.session
        assert sessions.running == 1


async def test_an_unused_session_is_started_anew_for_a_window_from_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        window.leave()
        same = await desk.open(window.session.session_id)
        assert same.session is window.session
        same.leave()
        desk.origin = await desk.server.origins.of(desk.env | {"LC_ALL": "C"}, str(desk.folder))
        other = await desk.open(window.session.session_id)
        assert other.session is not window.session
        desk.origin = await desk.server.origins.of(desk.env, str(desk.folder))
        assert (await desk.open(window.session.session_id)).session is other.session


@pytest.mark.slow
async def test_many_visits_leave_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        process = psutil.Process()

        async def visit() -> None:
            async with editing(desk, "visitor") as editor:
                await editor.new(desk)
                assert await editor.prompt("hello") == "end_turn"

        for _ in range(UNUSED_BOUND + 4):
            await visit()
        await eventually(lambda: desk.server.sessions.opened <= UNUSED_BOUND + 1)
        descriptors, before = process.num_fds(), memory()
        for _ in range(UNUSED_BOUND):
            await visit()
        await eventually(lambda: desk.server.sessions.opened <= UNUSED_BOUND + 1)
        assert process.num_fds() <= descriptors + 2
        assert memory() - before < 8 * MEBI
        alive = [item for item in gc.get_objects() if isinstance(item, Session)]
        assert len(alive) <= UNUSED_BOUND + 2


# --- many at once --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_sessions_are_listed_at_once_while_a_hundred_turns_run(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, editing(desk, "lister") as editor:
        windows = [await desk.new(consenting) for _ in range(100)]
        for window in windows:
            window.begin("work")
        for window in windows:
            await window.see(TextDelta)
        assert desk.server.sessions.running == 100
        assert editor.agent is not None
        for _ in range(60):
            listing = await editor.agent.call("session/list", {})
            assert len(listing["sessions"]) == 50
        # How soon it is answered, a benchmark measures; here it is before any of them has ended.
        assert desk.server.sessions.running == 100
