"""How a window reaches the shared server, and what is said first: standard library only.

The server listens in a folder that is ours alone; the name carries the version of the conversation
below and the data folder. A client begins with a hello and gets one line back; from then on the
bytes are those of the editor's protocol.

    hello:  MAGIC, length (4 bytes, big-endian), fields NUL-separated: `name=value` …, an empty
            one, then the environment, `NAME=value` …
    reply:  `ok PID`, `outdated` (a newer program connects: that one starts its own) or
            `refused REASON`, and a line feed
"""

# pathlib and dataclasses take longer to import than all of the shim: os.path serves here.

from __future__ import annotations

import binascii
import os
import socket
import time
from importlib import import_module

from hermes_acp import local_socket
from hermes_acp.folders import Folders
from hermes_acp.private_folder import PrivateFolder
from hermes_acp.private_folder import Untrusted as Untrusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CONVERSATION = 1
"""The version of hello and reply."""
MAGIC = b"hermes-editor hello\n"
HELLO_LIMIT = 8 * 1024 * 1024
"""Bytes of a hello; the environment of a process is smaller."""
REPLY_LIMIT = 4_096
"""Bytes of a reply; the reason of a refusal is cut to fit."""
CONTROL = "control"
"""The protocol of those who look after the server; they never take it over."""
START_SECONDS = 20.0
"""How long a server may take to start."""
START_POLL = 0.01
"""Seconds between two looks whether the server that another client starts is there."""
REPLY_SECONDS = 20.0
"""How long a server may take to answer a hello."""


class Refused(Exception):
    """The server said no; `str()` says why."""


class NotStarted(Exception):
    """No server could be started; `str()` says where to look."""


class Hello:
    """Who connects: the protocol (empty: the first byte decides), and where it comes from."""

    __slots__ = ("cwd", "data", "env", "pid", "protocol", "version", "words")

    def __init__(
        self, protocol: str, version: str, cwd: str, data: str, words: list[str], env: Mapping[str, str]
    ) -> None:
        self.protocol = protocol
        self.version = version
        self.cwd = cwd
        self.data = data
        """The data folder: a server serves one only."""
        self.pid = os.getpid()
        self.words = words
        """The command line behind the program's name."""
        self.env = env


def encode(hello: Hello) -> bytes:
    """The hello as bytes."""
    fields = [
        f"protocol={hello.protocol}",
        f"version={hello.version}",
        f"cwd={hello.cwd}",
        f"data={hello.data}",
        f"pid={hello.pid}",
        *(f"word={word}" for word in hello.words),
        "",
        *(f"{name}={value}" for name, value in hello.env.items()),
    ]
    body = os.fsencode("\0".join(fields))
    return MAGIC + len(body).to_bytes(4, "big") + body


def decode(body: bytes) -> Hello:
    """A hello from the bytes behind its length. Raises `Refused`."""
    head, _, tail = os.fsdecode(body).partition("\0\0")
    pairs = [_pair(field) for field in head.split("\0")]
    fields = dict(pairs)
    env = dict(_pair(entry) for entry in tail.split("\0") if entry)
    try:
        words = [value for name, value in pairs if name == "word"]
        hello = Hello(fields["protocol"], fields["version"], fields["cwd"], fields["data"], words, env)
        hello.pid = int(fields["pid"])
    except (KeyError, ValueError) as error:
        raise Refused("The hello is not complete.") from error
    return hello


def _pair(field: str) -> tuple[str, str]:
    key, _, value = field.partition("=")
    return key, value


def name(data: str) -> str:
    """What the files of the server for this data folder are called, without an ending."""
    return f"server-{CONVERSATION}-{binascii.crc32(os.fsencode(os.path.realpath(data))):08x}"


# --- the client ----------------------------------------------------------------------------------


def reach(hello: Hello, folders: Folders) -> tuple[socket.socket, int]:
    """A greeted connection to the server, which is started when none runs, and its process id.

    Raises `Untrusted`, `Refused`, `NotStarted` and `OSError`.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = connect(folders)
        if connection is not None:
            pid = greet(connection, hello)
            if pid is not None:
                return connection, pid
        elif _start_alone(folders, hello.env):
            continue
        # Another client starts a server, or one that goes is not quite gone.
        time.sleep(START_POLL)
    raise NotStarted(f"No server answered within {START_SECONDS:.0f} seconds; see {folders.log}.")


def connect(folders: Folders) -> socket.socket | None:
    """A connection to the server, before its hello; None when nobody listens.

    Raises `Untrusted` and `OSError`.
    """
    with PrivateFolder(folders.runtime) as folder:
        if not folders.tcp:
            return local_socket.connect(folder, name(folders.data), REPLY_SECONDS)
        # Cryptography takes long to import, and most systems have sockets that need none.
        connection: socket.socket | None = import_module("hermes_acp.loopback").connect(
            folder, name(folders.data), REPLY_SECONDS
        )
        return connection


def greet(connection: socket.socket, hello: Hello) -> int | None:
    """Say hello: the server's process id; None when it is about to go, and the connection is closed.

    Raises `Refused`.
    """
    connection.settimeout(REPLY_SECONDS)
    reply = b""
    try:
        connection.sendall(encode(hello))
    except (ConnectionError, TimeoutError):
        # What it said before it closed the connection can still be read.
        pass
    try:
        # Byte by byte: what follows the line is the editor's.
        while not reply.endswith(b"\n") and len(reply) < REPLY_LIMIT and (data := connection.recv(1)):
            reply += data
    except (ConnectionError, TimeoutError):
        pass
    word, _, rest = reply.decode("utf-8", "replace").strip().partition(" ")
    if word == "ok" and rest.isascii() and rest.isdigit():
        connection.settimeout(None)
        return int(rest)
    connection.close()
    if word == "refused":
        raise Refused(rest)
    return None


def start(folders: Folders, env: Mapping[str, str]) -> None:
    """Start a server in the background and wait until it listens. Raises `NotStarted` and `OSError`."""
    # Only the first of many windows needs this.
    problem: str | None = import_module("hermes_acp.starting").start(folders, env, START_SECONDS)
    if problem is not None:
        said = f" It said: {problem}" if problem else ""
        raise NotStarted(f"The server could not be started; see {folders.log}.{said}")
    deadline = time.monotonic() + START_SECONDS
    while not _listens(folders):
        if time.monotonic() > deadline:
            raise NotStarted(f"The server did not answer within {START_SECONDS:.0f} s; see {folders.log}.")
        time.sleep(START_POLL)


def _start_alone(folders: Folders, env: Mapping[str, str]) -> bool:
    """See to it that a server runs; False when another client is about to start one.

    Raises `NotStarted`, `Untrusted` and `OSError`.
    """
    with PrivateFolder(folders.runtime) as folder:
        lock = folder.lock(f"{name(folders.data)}.start")
    if lock is None:
        return False
    try:
        if not _listens(folders):
            start(folders, env)
    except NotStarted:
        # One whose starter was killed may have come before ours, which then had to go.
        if not _listens(folders):
            raise
    finally:
        os.close(lock)
    return True


def _listens(folders: Folders) -> bool:
    connection = connect(folders)
    if connection is None:
        return False
    connection.close()
    return True
