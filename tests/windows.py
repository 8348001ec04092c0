"""Windows as editors start them, the homes of their shared servers, and a server that is a thread."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from hermes_acp import config, endpoint, folders
from hermes_acp.cli.server_control import opened, wait_for_end
from hermes_acp.endpoint import MAGIC, Hello
from hermes_acp.folders import Folders
from hermes_acp.server.listener import Listener
from tests.acp.harness import GUARD, is_alive

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that anything may take; a test that reaches it has failed."""
POLL = 0.005
PROGRAM = (sys.executable, "-m", "hermes_acp")


def until(condition: Callable[[], T], what: str) -> T:
    """Wait for something that becomes true; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(POLL)
    return found


class Home:
    """A user's folders, and everything that was started for them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.windows: list[Window] = []
        outside = config.environment()
        self.env = {
            "PATH": outside["PATH"],
            "HOME": str(root),
            "HERMES_EDITOR_HOME": str(root),
            "HERMES_EDITOR_ALLOW_REAL_MODELS": "0",
            "HERMES_EDITOR_SERVER_IDLE": "60",
        }

    @property
    def folders(self) -> Folders:
        """Where everything is."""
        return folders.find(self.env)

    @property
    def log(self) -> str:
        """What the shared servers had to say."""
        file = Path(self.folders.log)
        return file.read_text("utf-8", "replace") if file.is_file() else ""

    def start_server(self) -> int:
        """Start the shared server, which fails loudly when it blocks its event loop; its process."""
        endpoint.start(self.folders, self.env | {"PYTHONPATH": str(GUARD)})
        (server,) = self.servers()
        return server

    def window(self, *words: str, cwd: Path | str | None = None, **env: str) -> Window:
        """A window; what it needs to know beside the usual is in `env`."""
        self.root.mkdir(exist_ok=True)
        window = Window((*PROGRAM, *(words or ("acp",))), cwd or self.root, self.env | env)
        self.windows.append(window)
        return window

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            (*PROGRAM, *words),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def servers(self) -> list[int]:
        """The processes that are shared servers of this home."""
        found = {process.pid: process for process in psutil.process_iter() if self._serves(process)}
        return [pid for pid, process in found.items() if not _is_copy(process, found)]

    def _serves(self, process: psutil.Process) -> bool:
        try:
            return (
                {"server", "run"} <= set(process.cmdline())
                and process.environ().get("HERMES_EDITOR_HOME") == self.env["HERMES_EDITOR_HOME"]
                and is_alive(process)
            )
        except psutil.Error:
            return False

    def end(self) -> None:
        """End the windows and the server. A server that does not obey, or had a bug, is a failure."""
        for window in self.windows:
            window.kill()
        servers = self.servers()
        if servers:
            with opened(self.folders) as control:
                if control is not None:
                    control.stop(force=True, wait=False)
        outlived = [server for server in servers if not wait_for_end(server, PATIENCE)]
        for server in outlived:
            psutil.Process(server).kill()
        assert outlived == [], "servers that outlived the test"
        assert "Traceback" not in self.log, self.log


def _is_copy(process: psutil.Process, servers: Collection[int]) -> bool:
    """Whether it is the child of a server that is not yet the program that it is to become."""
    try:
        return process.ppid() in servers
    except psutil.Error:
        return True


@contextmanager
def home(root: Path) -> Iterator[Home]:
    """A home whose servers end with the context."""
    place = Home(root)
    try:
        yield place
    finally:
        place.end()


class Window:
    """A started command with pipes, as an editor holds it."""

    def __init__(self, command: tuple[str, ...], cwd: Path | str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stdin, self.stdout, self.stderr = (
            self.process.stdin,
            self.process.stdout,
            self.process.stderr,
        )
        self.seen: list[Json] = []
        """What came while an answer was waited for."""
        self._ids = itertools.count(1)
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        view = memoryview(data)
        while view:
            view = view[self.stdin.write(view) :]

    def ask(self, method: str, **params: object) -> int:
        """Send a request; its id."""
        number = next(self._ids)
        self.send(line(number, method, params))
        return number

    def tell(self, method: str, **params: object) -> None:
        """Send a notification."""
        self.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    def answer(self, number: int) -> Json:
        """The answer to a request; questions of the agent on the way are answered with "allow"."""
        while True:
            message = json.loads(self.read_line())
            if message.get("id") == number and "method" not in message:
                return message
            if message.get("method") == "session/request_permission":
                option = next(item for item in message["params"]["options"] if item["kind"] == "allow_once")
                outcome = {"outcome": {"outcome": "selected", "optionId": option["optionId"]}}
                self.send(
                    json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": outcome}).encode() + b"\n"
                )
            self.seen.append(message)

    def call(self, method: str, **params: object) -> Json:
        """The answer to a request, which must not be an error."""
        answer = self.answer(self.ask(method, **params))
        assert "result" in answer, answer
        return answer["result"]

    def initialize(self) -> Json:
        """The first request of every editor."""
        return self.call("initialize", protocolVersion=1, clientCapabilities={})

    def read_line(self) -> bytes:
        """The next line, within a bound."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.stdout], [], [], PATIENCE)
            assert ready, "no line came"
            data = os.read(self.stdout.fileno(), 1 << 16)
            assert data, f"the window ended: {self.stderr.read().decode()}"
            self._rest += data
        found, _, self._rest = self._rest.partition(b"\n")
        return found

    def ended(self) -> tuple[int, str]:
        """Wait for the end: the exit code, and what is on standard error."""
        code = self.process.wait(PATIENCE)
        return code, self.stderr.read().decode()

    def leave(self) -> tuple[int, str]:
        """Close the input, read to the end, and wait for it."""
        self.stdin.close()
        self.stdout.read()
        return self.ended()

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


def line(number: int, method: str, params: object) -> bytes:
    """A request of the Agent Client Protocol."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


class Counterpart:
    """A server that is a thread: greets each window as the real one does, then does what it is told."""

    def __init__(self, place: Home, talk: Callable[[socket.socket], None]) -> None:
        self.hellos: list[Hello] = []
        self._listener = Listener(place.folders)
        self._listener.socket.settimeout(PATIENCE)
        self._talk = talk
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has had its window."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.socket.accept()
        with connection:
            connection.settimeout(PATIENCE)
            head = _exactly(connection, len(MAGIC) + 4)
            self.hellos.append(endpoint.decode(_exactly(connection, int.from_bytes(head[-4:], "big"))))
            self._talk(connection)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part
        data += part
    return data
