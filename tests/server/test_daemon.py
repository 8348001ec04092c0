"""The shared server over real sockets: who is let in, how it ends, and what it holds meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import resource
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp import __version__, endpoint
from hermes_acp.endpoint import CONTROL, HELLO_LIMIT, MAGIC, Hello, Refused
from hermes_acp.folders import Folders
from hermes_acp.private_folder import PrivateFolder
from hermes_acp.server.daemon import HELLO_SECONDS, AlreadyRunning, Daemon, Listener, Talk
from hermes_acp.server.streams import AsyncioStreams

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE = 60.0


@dataclass
class Work:
    """Says everything twice; as busy as the test wants it to be."""

    running: int = 0
    opened: int = 1
    handed_over: bool = False
    seen: list[Hello] = field(default_factory=list)

    async def open(self, hello: Hello) -> Talk:
        if hello.cwd == "/refused":
            raise Refused("This folder\nis not served.")
        self.seen.append(hello)
        return self._twice

    def hand_over(self) -> None:
        self.handed_over = True

    async def _twice(self, streams: AsyncioStreams) -> None:
        while (data := await streams.read()) and data != b"bye":
            streams.write(data + data)


class Hesitant(Work):
    """Lets the test hold up who asks for its sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answers = threading.Semaphore(0), threading.Semaphore(0)

    def _asked(self) -> int:
        self.asked.release()
        assert self.answers.acquire(timeout=PATIENCE)
        return 1

    opened = property(_asked, lambda self, value: None)


@dataclass
class Served:
    """A running server."""

    folders: Folders
    listener: Listener
    daemon: Daemon
    work: Work
    task: asyncio.Task[None]

    async def connect(self) -> Ends:
        connection = await asyncio.to_thread(endpoint.connect, self.folders)
        assert connection is not None
        connection.setblocking(False)
        return await asyncio.open_connection(sock=connection)

    async def say(self, data: bytes) -> bytes:
        """The one line that is said to the first words of a client, which then leaves."""
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            reply = await reader.readline()
        writer.close()
        return reply

    async def window(self) -> Ends:
        reader, writer = await self.connect()
        writer.write(greeting(self.folders))
        assert await reader.readline() == f"ok {os.getpid()}\n".encode()
        return reader, writer

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.task


def places(root: Path, *, tcp: bool = False) -> Folders:
    found = Folders(*(str(root / "home" / name) for name in ("config", "data", "state", "runtime")))
    found.tcp = tcp
    return found


def greeting(where: Folders, protocol: str = "acp", version: str = __version__, cwd: str = "/") -> bytes:
    return endpoint.encode(Hello(protocol, version, cwd, where.data, ["acp"], {"MARK": "here"}))


@asynccontextmanager
async def serving(where: Folders, idle: float = 60.0, work: Work | None = None) -> AsyncIterator[Served]:
    listener = await asyncio.to_thread(Listener, where)
    daemon, work = Daemon(listener, where.data, idle), work or Work()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(daemon.run(work))
        yield Served(where, listener, daemon, work, task)
        daemon.stop()


@pytest.fixture(params=[False, True], ids=["unix", "tcp"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(places(tmp_path, tcp=request.param)) as found:
        yield found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.005)


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# --- who comes in --------------------------------------------------------------------------------


async def test_windows_are_greeted_and_served(served: Served) -> None:
    windows = [await served.window() for _ in range(3)]
    for number, (reader, writer) in enumerate(windows):
        writer.write(b"%d" % number)
        assert await reader.read(2) == b"%d%d" % (number, number)
    assert [visitor.hello.cwd for visitor in served.daemon.visitors.values()] == ["/"] * 3
    assert served.work.seen[0].env == {"MARK": "here"}


async def test_the_half_close_of_a_window_is_answered_with_the_rest_and_an_end(served: Served) -> None:
    reader, writer = await served.window()
    writer.write(b"last words")
    writer.write_eof()
    assert await reader.read() == b"last wordslast words"
    await until(lambda: not served.daemon.visitors)


async def test_a_conversation_that_the_server_ends_leaves_the_other_direction_open(served: Served) -> None:
    reader, writer = await served.window()
    writer.write(b"bye")
    assert await reader.read() == b""
    # Whoever finds nobody here concludes that the server died.
    for _ in range(20):
        writer.write(b"\n")
        await writer.drain()


async def test_the_end_of_the_server_closes_both_directions(served: Served) -> None:
    reader, writer = await served.window()
    served.daemon.stop()
    await served.ended()
    assert await reader.read() == b""
    with pytest.raises(ConnectionError):
        for _ in range(1_000):
            writer.write(b"\n")
            await writer.drain()


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"refused This is not a hello.\n"),
        (MAGIC + (HELLO_LIMIT + 1).to_bytes(4, "big"), b"refused This is not a hello.\n"),
        (MAGIC + (3).to_bytes(4, "big") + b"a\0b", b"refused The hello is not complete.\n"),
        (MAGIC + (9).to_bytes(4, "big") + b"pid=other", b"refused The hello is not complete.\n"),
        (b"", b""),
    ],
)
async def test_what_is_not_a_hello_is_refused_and_hurts_nobody(
    served: Served, said: bytes, reply: bytes
) -> None:
    reader, writer = await served.connect()
    writer.write(said)
    writer.write_eof()
    assert await reader.readline() == reply
    writer.close()
    await served.window()


async def test_a_hello_may_come_byte_by_byte(served: Served) -> None:
    reader, writer = await served.connect()
    for byte in greeting(served.folders):
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.readline()).startswith(b"ok ")


@pytest.mark.slow
async def test_a_hello_that_does_not_come_is_not_waited_for_long(tmp_path: Path) -> None:
    async with serving(places(tmp_path)) as served:
        reader, writer = await served.connect()
        writer.write(greeting(served.folders)[:30])
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        assert time.monotonic() - began > HELLO_SECONDS / 2


async def test_a_hello_for_another_data_folder_is_refused_by_name(served: Served, tmp_path: Path) -> None:
    other = places(tmp_path / "other")
    reply = await served.say(greeting(other))
    assert reply == f"refused This server keeps {served.folders.data}, not {other.data}.\n".encode()


async def test_a_data_folder_may_have_two_names(served: Served, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "home").symlink_to(tmp_path / "home")
    named = places(tmp_path / "link")
    names = [await asyncio.to_thread(endpoint.name, where.data) for where in (named, served.folders)]
    assert names[0] == names[1]
    assert (await served.say(greeting(named))).startswith(b"ok ")


async def test_a_refusal_is_one_line(served: Served) -> None:
    reply = await served.say(greeting(served.folders, cwd="/refused"))
    assert reply == b"refused This folder is not served.\n"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
async def test_a_process_of_another_user_gets_no_word_though_every_door_is_open(tmp_path: Path) -> None:
    where = places(tmp_path)
    async with serving(where) as served:
        door = Path(served.listener.address)
        door.chmod(0o666)
        short = await asyncio.to_thread(_opened_to_all, door)
        child = os.fork()
        if child == 0:
            os._exit(_knock_as_nobody(short, greeting(where)))
        try:
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
        finally:
            shutil.rmtree(short.parent)
    assert os.waitstatus_to_exitcode(status) == 0
    assert served.work.seen == []


def _opened_to_all(door: Path) -> Path:
    """Another name of the socket, in a folder that anybody may enter."""
    ways = itertools.takewhile(lambda folder: folder.stat().st_mode & 0o001, reversed(door.parents))
    folder = Path(tempfile.mkdtemp(prefix="door-", dir=[*ways][-1]))
    folder.chmod(0o755)
    (folder / "sock").hardlink_to(door)
    return folder / "sock"


def _knock_as_nobody(door: Path, hello: bytes) -> int:
    os.setgroups([])
    os.setgid(65_534)
    os.setuid(65_534)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(door))
        try:
            connection.sendall(hello)
            return len(connection.recv(100))
        except ConnectionError:
            return 0


@pytest.mark.slow
async def test_a_thousand_windows_that_come_and_go_leave_no_descriptor(served: Served) -> None:
    await served.say(greeting(served.folders))
    await until(lambda: not served.daemon.visitors)
    before = descriptors()
    for _ in range(50):
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(served.say(greeting(served.folders)))
    await until(lambda: not served.daemon.visitors and descriptors() <= before)


async def test_a_window_that_breaks_off_is_forgotten(served: Served) -> None:
    _, writer = await served.window()
    raw = writer.get_extra_info("socket")
    if raw.family == socket.AF_INET:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await until(lambda: not served.daemon.visitors)


async def test_windows_that_come_when_there_is_no_descriptor_left_are_served_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with tempfile.TemporaryDirectory() as short:
        async with serving(places(Path(short))) as served:
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                for client in clients:
                    client.connect(served.listener.address)
                await until(lambda: "Too many open files" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in clients:
                client.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=client)
                writer.write(greeting(served.folders))
                assert (await reader.readline()).startswith(b"ok ")


# --- one server ----------------------------------------------------------------------------------


async def test_a_second_server_finds_the_first_and_leaves_it_alone(served: Served) -> None:
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        await asyncio.to_thread(Listener, served.folders)
    await served.window()


async def test_a_socket_whose_server_died_is_replaced(tmp_path: Path) -> None:
    where = places(tmp_path)
    child = os.fork()
    if child == 0:
        Listener(where)
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert len(list(Path(where.runtime).glob("*.sock"))) == 1
    assert await asyncio.to_thread(endpoint.connect, where) is None
    async with serving(where) as served:
        await served.window()


def test_a_server_that_is_about_to_let_go_is_waited_for(tmp_path: Path) -> None:
    where = places(tmp_path)
    with PrivateFolder(where.runtime) as folder, ThreadPoolExecutor(1) as pool:
        lock = folder.lock(f"{endpoint.name(where.data)}.lock")
        assert lock is not None
        successor = pool.submit(Listener, where)
        os.close(lock)
        successor.result(PATIENCE).close()


# --- its end -------------------------------------------------------------------------------------


async def test_a_server_that_nobody_needs_ends_and_takes_its_socket_along(tmp_path: Path) -> None:
    async with serving(places(tmp_path), idle=0.2) as served:
        _, writer = await served.window()
        assert not served.task.done()
        writer.close()
        await served.ended()
    assert sorted(path.suffix for path in Path(served.folders.runtime).iterdir()) == [".lock"]


async def test_a_running_turn_keeps_a_server_without_windows(tmp_path: Path) -> None:
    async with serving(places(tmp_path), idle=0.2) as served:
        served.work.running = 1
        _, still_there = await asyncio.wait([served.task], timeout=0.5)
        assert still_there
        served.work.running = 0
        await served.ended()


@pytest.mark.slow
async def test_who_comes_while_it_looks_whether_it_is_needed_is_served(tmp_path: Path) -> None:
    work = Hesitant()
    async with serving(places(tmp_path), 0.0, work) as served:
        assert await asyncio.to_thread(work.asked.acquire, timeout=PATIENCE)
        reader, writer = await served.window()
        work.answers.release()
        assert await asyncio.to_thread(work.asked.acquire, timeout=PATIENCE)
        work.answers.release(1_000)
        writer.write(b"here")
        assert await reader.readexactly(8) == b"herehere"
        writer.close()
        await served.ended()


async def test_a_server_that_nobody_can_find_any_more_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(places(tmp_path), idle=0.4) as served:
        shutil.rmtree(served.folders.runtime)
        await served.ended()
    assert "its place in the runtime folder is gone" in caplog.messages


async def test_a_server_that_is_cancelled_closes_its_place(tmp_path: Path) -> None:
    async with serving(places(tmp_path)) as served:
        reader, _ = await served.window()
        served.task.cancel()
        assert await reader.read() == b""
        await asyncio.wait([served.task])
    assert not list(Path(served.folders.runtime).glob("*.sock"))


# --- other versions ------------------------------------------------------------------------------


async def test_an_older_program_is_served(served: Served) -> None:
    assert (await served.say(greeting(served.folders, version="0.0.9"))).startswith(b"ok ")


async def test_a_newer_program_takes_over_while_a_turn_goes_on_to_its_end(served: Served) -> None:
    reader, writer = await served.window()
    served.work.running = 1
    assert await served.say(greeting(served.folders, version="99.0.0")) == b"outdated\n"
    await until(lambda: served.listener.socket.fileno() < 0)
    async with serving(served.folders) as successor:
        await successor.window()
        writer.write(b"old")
        assert await reader.read(6) == b"oldold"
        assert not served.task.done()
        served.work.running = 0
        assert await reader.read() == b""
        await served.ended()
        # The old one takes nothing of the new one along.
        await successor.window()


async def test_who_only_looks_after_the_server_does_not_take_it_over(served: Served) -> None:
    assert (await served.say(greeting(served.folders, CONTROL, "99.0.0"))).startswith(b"ok ")
    await served.window()


async def test_a_drain_is_cut_short_by_a_stop(served: Served) -> None:
    served.work.running = 1
    served.daemon.retire()
    await until(lambda: served.work.handed_over)
    served.daemon.stop()
    await served.ended()
