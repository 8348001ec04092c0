"""Asks the running server about itself, and tells it to stop."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from hermes_acp import __version__, endpoint
from hermes_acp.endpoint import CONTROL, Hello
from hermes_acp.folders import Folders
from hermes_acp.server import messages
from hermes_acp.server.messages import Json, Response

ANSWER_SECONDS = 10.0
"""How long the server may take for an answer."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer: a thousand windows need a tenth of it."""
END_POLL = 0.02
"""Seconds between two looks whether a process has ended, where the system does not tell."""
PS_SECONDS = 5.0


class Window(BaseModel):
    """A connected window."""

    protocol: str
    pid: int
    cwd: str
    since: datetime


class Status(BaseModel):
    """What the server says about itself."""

    model_config = ConfigDict(alias_generator=to_camel)

    pid: int
    version: str
    since: datetime
    address: str
    windows: tuple[Window, ...]
    sessions: int
    running: int
    longest_stall: float
    """Seconds in which no window was looked at."""


class Stopping(BaseModel):
    """The answer to `stop`: how many turns ran then, and whether the server ends."""

    running: int
    stops: bool


class Control:
    """A connection to the running server, whose process id is `pid`."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._connection = connection

    def status(self) -> Status:
        """What it does. Raises `ConnectionError` and `TimeoutError`."""
        return Status.model_validate(self._call("status", {}))

    def stop(self, *, force: bool, wait: bool) -> Stopping:
        """Tell it to end, also when turns run: `force` cancels them, `wait` lets them end.

        Raises `ConnectionError` and `TimeoutError`.
        """
        return Stopping.model_validate(self._call("stop", {"force": force, "wait": wait}))

    def _call(self, method: str, params: Json) -> object:
        self._connection.settimeout(ANSWER_SECONDS)
        self._connection.sendall(messages.request(1, method, params))
        with self._connection.makefile("rb") as lines:
            line = lines.readline(ANSWER_LIMIT)
        answer = messages.decode(line.strip())
        if not isinstance(answer, Response) or answer.error is not None:
            raise ConnectionError(f"no usable answer to {method}")
        return answer.result


@contextmanager
def opened(folders: Folders) -> Generator[Control | None, None, None]:
    """The running server; None when there is none. Raises `Untrusted`, `Refused` and `OSError`."""
    connection = endpoint.connect(folders)
    pid = None
    if connection is not None:
        hello = Hello(CONTROL, __version__, "/", folders.data, [], {})
        pid = endpoint.greet(connection, hello)
    if connection is None or pid is None:
        yield None
        return
    with closing(connection):
        yield Control(connection, pid)


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until the process has ended; False when it has not within `seconds`."""
    if sys.platform == "linux":
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        except OSError:
            # A system that has no such descriptors after all.
            return _poll_for_end(pid, seconds)
        try:
            return bool(select.select([process], [], [], seconds)[0])
        finally:
            os.close(process)
    return _poll_for_end(pid, seconds)


def _poll_for_end(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(END_POLL)
    return False


def memory(pid: int) -> int | None:
    """The resident bytes of a process; None where the system does not tell."""
    try:
        if sys.platform == "linux":
            pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=PS_SECONDS,
            check=True,
        )
        return int(shown.stdout) * 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
