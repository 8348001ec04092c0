"""The Unix socket of the shared server: mode 0600 in a private folder, and the peer's user checked."""

from __future__ import annotations

import os
import socket
import stat
import sys

from hermes_acp.private_folder import PrivateFolder, Untrusted, owner_problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 1_024
"""Connections that may wait to be accepted."""
LONGEST_PATH = 100
"""Bytes of a Unix socket's path that every system takes."""


def connect(folder: PrivateFolder, name: str, seconds: float) -> socket.socket | None:
    """A connection to whoever listens, which is a process of ours; None when nobody does.

    Raises `Untrusted` and `OSError`.
    """
    entry = f"{name}.sock"
    if not _is_there(folder, entry):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        _call_with_address(connection.connect, folder, entry)
        if _is_ours(connection):
            return connection
        raise Untrusted("The process that listens on the server's socket belongs to another user.")
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise


class Bound:
    """The listening socket. Whoever makes one holds the lock that lets him replace what is there."""

    secret = b""
    """Nothing has to be proved: the system names the user at the other end."""

    def __init__(self, folder: PrivateFolder, name: str) -> None:
        """Listen; a socket that is there is replaced. Raises `Untrusted` and `OSError`."""
        self._folder = folder
        self._entry = f"{name}.sock"
        if _is_there(folder, self._entry):
            folder.remove(self._entry)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            _call_with_address(self.socket.bind, folder, self._entry)
            os.chmod(self._entry, 0o600, dir_fd=folder.descriptor)
            self.socket.listen(BACKLOG)
        except BaseException:
            self.socket.close()
            raise
        self._made = self._identity()

    @property
    def address(self) -> str:
        """Where it listens, for people."""
        return os.path.join(self._folder.path, self._entry)

    @property
    def reachable(self) -> bool:
        """Whether a client that looks for the socket still finds this one."""
        try:
            there = os.stat(self.address, follow_symlinks=False)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == self._made

    def admits(self, connection: socket.socket) -> bool:
        """Whether the process at the other end may come in: one of the same user."""
        return _is_ours(connection)

    def close(self) -> None:
        """Stop listening."""
        if self._identity() == self._made:
            self._folder.remove(self._entry)
        self.socket.close()

    def _identity(self) -> tuple[int, int] | None:
        found = self._folder.find(self._entry)
        return None if found is None else (found.st_dev, found.st_ino)


def _is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user; yes where the system does not tell."""
    if sys.platform == "win32":
        return True
    if hasattr(socket, "SO_PEERCRED"):
        # struct ucred: pid, uid, gid
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    elif sys.platform == "darwin":
        # struct xucred: version, uid, …; SOL_LOCAL and LOCAL_PEERCRED have no names in Python
        found = connection.getsockopt(0, 1, 76)
    else:
        return True
    return int.from_bytes(found[4:8], sys.byteorder) == os.geteuid()


def _is_there(folder: PrivateFolder, entry: str) -> bool:
    """Whether the socket has been made. Raises `Untrusted` for anything else under its name."""
    found = folder.find(entry)
    if found is None:
        return False
    path = os.path.join(folder.path, entry)
    if not stat.S_ISSOCK(found.st_mode):
        raise Untrusted(f"{path} is not a socket: remove it.")
    if problem := owner_problem(found):
        raise Untrusted(f"{path} {problem}: remove it.")
    return True


def _call_with_address(use: Callable[[str], None], folder: PrivateFolder, entry: str) -> None:
    """Call `bind` or `connect` with a name for the socket that is short enough for the system."""
    full = os.path.join(folder.path, entry)
    if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
        use(f"/proc/self/fd/{folder.descriptor}/{entry}")
    elif len(os.fsencode(full)) <= LONGEST_PATH:
        use(full)
    else:
        back = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
        os.fchdir(folder.descriptor)
        try:
            use(entry)
        finally:
            os.fchdir(back)
            os.close(back)
