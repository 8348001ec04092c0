"""The shared server where there are no Unix sockets: TCP on the loopback address, and a secret in a file.

Any process of the machine can listen on a port and connect to one. So the server writes its port and
a secret into a file that only its user can read, and before a client says its hello, which is full
of keys, each side proves to the other that it knows the secret, without telling it:

    client:  GREETING, 32 random bytes
    server:  32 random bytes, HMAC-SHA-256 over ("server", both)
    client:  HMAC-SHA-256 over ("client", both)
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import stat
import sys

from hermes_acp.private_folder import PrivateFolder, Untrusted, owner_problem

ADDRESS = "127.0.0.1"
GREETING = b"hermes-editor loopback 1\n"
SIZE = 32
"""Bytes of a random value, of a secret and of a proof."""
BACKLOG = 1_024
"""Connections that may wait to be accepted."""
FILE_LIMIT = 4_096
"""Bytes of the file that are read; ours are fewer."""
HIGHEST_PORT = 65_535
NONBLOCK = 0 if sys.platform == "win32" else os.O_NONBLOCK
"""Opening a file must not wait, whatever it is."""
PROOF_SECONDS = 2.0
"""How long the other side may take to prove itself: it has nothing else to do."""


class Note:
    """What the server writes for its clients."""

    __slots__ = ("port", "secret")

    def __init__(self, port: int, secret: bytes) -> None:
        self.port = port
        self.secret = secret

    def encode(self) -> bytes:
        """The text of the file."""
        return f"{self.port} {self.secret.hex()}\n".encode()


def connect(folder: PrivateFolder, name: str, seconds: float) -> socket.socket | None:
    """A connection to the server, which has proved that it is the one that wrote the file.

    None when it does not listen, whoever else may have its port. Raises `Untrusted` and `OSError`.
    """
    note = _read(folder, f"{name}.tcp")
    if note is None:
        return None
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(min(seconds, PROOF_SECONDS))
    try:
        connection.connect((ADDRESS, note.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        proved = _introduce(connection, note.secret)
    except (ConnectionError, TimeoutError):
        proved = False
    except BaseException:
        connection.close()
        raise
    if not proved:
        connection.close()
        return None
    connection.settimeout(seconds)
    return connection


def proof(secret: bytes, side: str, client: bytes, server: bytes) -> bytes:
    """What `side` sends to show that it knows the secret, for the random bytes of both."""
    return hmac.digest(secret, side.encode() + client + server, "sha256")


def is_proof(given: bytes, secret: bytes, side: str, client: bytes, server: bytes) -> bool:
    """Whether this is what `side` had to send."""
    return hmac.compare_digest(given, proof(secret, side, client, server))


def challenge() -> bytes:
    """Random bytes that nobody has seen."""
    return secrets.token_bytes(SIZE)


class Bound:
    """The listening socket. Whoever makes one holds the lock that lets him replace the file."""

    def __init__(self, folder: PrivateFolder, name: str) -> None:
        """Listen on a free port and write the file. Raises `OSError`."""
        self._folder = folder
        self._entry = f"{name}.tcp"
        self.secret = secrets.token_bytes(SIZE)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            if sys.platform == "win32":
                # Otherwise another process may share the port.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            self.socket.bind((ADDRESS, 0))
            self.socket.listen(BACKLOG)
            self._note = Note(self.socket.getsockname()[1], self.secret)
            self._write()
        except BaseException:
            self.socket.close()
            raise

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return f"{ADDRESS}:{self._note.port} ({os.path.join(self._folder.path, self._entry)})"

    @property
    def reachable(self) -> bool:
        """Whether a client that reads the file finds this server."""
        try:
            with PrivateFolder(self._folder.path) as folder:
                return self._is_written(folder)
        except (OSError, Untrusted):
            return False

    def admits(self, _connection: socket.socket) -> bool:
        """Any process may come in; it has to prove itself."""
        return True

    def close(self) -> None:
        """Stop listening."""
        if self._is_written(self._folder):
            self._folder.remove(self._entry)
        self.socket.close()

    def _is_written(self, folder: PrivateFolder) -> bool:
        note = _read(folder, self._entry)
        return note is not None and note.secret == self.secret

    def _write(self) -> None:
        draft = f"{self._entry}.new"
        if self._folder.find(draft) is not None:
            self._folder.remove(draft)
        file = self._folder.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            os.write(file, self._note.encode())
        finally:
            os.close(file)
        self._folder.rename(draft, self._entry)


def _read(folder: PrivateFolder, entry: str) -> Note | None:
    """What the file says; None when there is no usable one. Raises `Untrusted` and `OSError`."""
    try:
        file = folder.open(entry, os.O_RDONLY | NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file)
        problem = owner_problem(found)
        if not problem and sys.platform != "win32" and stat.S_IMODE(found.st_mode) & 0o077:
            problem = "can be read by others"
        if not stat.S_ISREG(found.st_mode):
            problem = "is not a plain file"
        if problem:
            raise Untrusted(f"{os.path.join(folder.path, entry)} {problem}: remove it.")
        port, _, secret = os.read(file, FILE_LIMIT).decode("ascii", "replace").partition(" ")
    finally:
        os.close(file)
    try:
        note = Note(int(port), bytes.fromhex(secret))
    except ValueError:
        return None
    return note if len(note.secret) == SIZE and 0 < note.port <= HIGHEST_PORT else None


def _introduce(connection: socket.socket, secret: bytes) -> bool:
    """Prove who we are to one that has proved who it is. Raises `ConnectionError`, `TimeoutError`."""
    ours = challenge()
    connection.sendall(GREETING + ours)
    answer = b""
    while len(answer) < 2 * SIZE and (data := connection.recv(2 * SIZE - len(answer))):
        answer += data
    theirs, given = answer[:SIZE], answer[SIZE:]
    if not is_proof(given, secret, "server", ours, theirs):
        return False
    connection.sendall(proof(secret, "client", ours, theirs))
    return True
