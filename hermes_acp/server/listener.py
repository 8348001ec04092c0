"""Where the shared server listens, the lock that makes it the only one, and who may come in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

from hermes_acp import endpoint, local_socket, loopback
from hermes_acp.endpoint import HELLO_LIMIT, MAGIC, Hello, Refused
from hermes_acp.folders import Folders
from hermes_acp.private_folder import PrivateFolder

LOCK_SECONDS = 2.0
"""How long a server that goes may take to let go of its lock."""
LOCK_POLL = 0.01
OWNER_LIMIT = 32
"""Bytes of a lock file that are read: it holds a process id."""


class AlreadyRunning(Exception):
    """Another server listens for this data folder; `str()` says which."""


class Listener:
    """The listening socket and the lock that proves that the place is ours to replace."""

    def __init__(self, folders: Folders) -> None:
        """Listen. Waits a moment for a server that goes.

        Raises `AlreadyRunning`, `Untrusted` and `OSError`.
        """
        self._name = endpoint.name(folders.data)
        self._folder = PrivateFolder(folders.runtime)
        try:
            self._lock = self._take_lock(folders)
        except BaseException:
            self._folder.close()
            raise
        try:
            if _somebody_listens(folders):
                raise AlreadyRunning("Another process listens in the place of the server.")
            self._bound = (loopback if folders.tcp else local_socket).Bound(self._folder, self._name)
        except BaseException:
            os.close(self._lock)
            self._folder.close()
            raise

    @property
    def socket(self) -> socket.socket:
        """The listening socket."""
        return self._bound.socket

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return self._bound.address

    @property
    def reachable(self) -> bool:
        """Whether a client that looks for the server still finds this one. Reads a file or two."""
        return self._bound.reachable

    def admits(self, connection: socket.socket) -> bool:
        """Whether the process at the other end may speak at all."""
        return self._bound.admits(connection)

    def close(self) -> None:
        """Stop listening and let another server do so."""
        if self.socket.fileno() < 0:
            return
        self._bound.close()
        os.close(self._lock)
        self._folder.close()

    async def hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Hello:
        """What a client says first. Raises `Refused`, `EOFError` and `ConnectionError`."""
        if self._bound.secret and not await _prove(reader, writer, self._bound.secret):
            raise ConnectionError("the client does not know the server's secret")
        head = await reader.readexactly(len(MAGIC) + 4)
        size = int.from_bytes(head[-4:], "big")
        if not head.startswith(MAGIC) or size > HELLO_LIMIT:
            raise Refused("This is not a hello.")
        return endpoint.decode(await reader.readexactly(size))

    def _take_lock(self, folders: Folders) -> int:
        deadline = time.monotonic() + LOCK_SECONDS
        entry = f"{self._name}.lock"
        while (lock := self._folder.lock(entry)) is None:
            if time.monotonic() > deadline or _somebody_listens(folders):
                raise AlreadyRunning(
                    f"A server runs already (process {self._owner(entry)}); "
                    "`hermes-editor server stop` ends it."
                )
            time.sleep(LOCK_POLL)
        # The number only makes the message above nicer: a full disk must not stop the server.
        with contextlib.suppress(OSError):
            os.ftruncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
        return lock

    def _owner(self, entry: str) -> str:
        file = self._folder.open(entry, os.O_RDONLY)
        try:
            return os.read(file, OWNER_LIMIT).decode("ascii", "replace").strip() or "unknown"
        finally:
            os.close(file)


def _somebody_listens(folders: Folders) -> bool:
    other = endpoint.connect(folders)
    if other is None:
        return False
    other.close()
    return True


async def _prove(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: bytes) -> bool:
    """Prove who we are, then let the client do so. Raises `EOFError`."""
    head = await reader.readexactly(len(loopback.GREETING) + loopback.SIZE)
    if not head.startswith(loopback.GREETING):
        return False
    theirs, ours = head[-loopback.SIZE :], loopback.challenge()
    writer.write(ours + loopback.proof(secret, "server", theirs, ours))
    given = await reader.readexactly(loopback.SIZE)
    return loopback.is_proof(given, secret, "client", theirs, ours)
