"""A folder that is ours alone, and the locks in it: the only module that knows how systems differ in this."""

# pathlib and dataclasses take longer to import than all of the shim: os.path serves here.

from __future__ import annotations

import os
import stat
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class Untrusted(Exception):
    """A place cannot be trusted; `str()` says why and what to do."""


class PrivateFolder:
    """A folder in which nobody else can have put something, made when it is missing.

    Everything in it is reached through a descriptor: the path may lead elsewhere later. On Windows,
    whose profile folders are private by their access lists, it is reached by its path.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str) -> None:
        """Raises `Untrusted` and `OSError`."""
        self.path = path
        self._descriptor: int | None = None
        try:
            os.makedirs(path, mode=0o700)
        except FileExistsError:
            pass
        if sys.platform != "win32":
            self._descriptor = _open_own(path)

    def __enter__(self) -> PrivateFolder:
        """Itself."""
        return self

    def __exit__(self, *_cause: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def descriptor(self) -> int:
        """The open folder, where the system has such a thing."""
        assert self._descriptor is not None
        return self._descriptor

    def open(self, entry: str, flags: int) -> int:
        """Open a file of ours (mode 0600 when it is made), never through a link. Raises `OSError`."""
        if sys.platform == "win32":
            return os.open(os.path.join(self.path, entry), flags | os.O_BINARY | os.O_NOINHERIT, 0o600)
        return os.open(entry, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)

    def find(self, entry: str) -> os.stat_result | None:
        """What is there under this name, links not followed; None when there is nothing."""
        try:
            if self._descriptor is None:
                return os.lstat(os.path.join(self.path, entry))
            return os.stat(entry, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def remove(self, entry: str) -> None:
        """Remove a file. Raises `OSError`."""
        if self._descriptor is None:
            os.unlink(os.path.join(self.path, entry))
        else:
            os.unlink(entry, dir_fd=self._descriptor)

    def rename(self, entry: str, name: str) -> None:
        """Let one file take another one's place. Raises `OSError`."""
        if self._descriptor is None:
            os.replace(os.path.join(self.path, entry), os.path.join(self.path, name))
        else:
            os.replace(entry, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def lock(self, entry: str) -> int | None:
        """Take a lock, which the returned descriptor keeps; None when another process has it.

        Raises `OSError`.
        """
        descriptor = self.open(entry, os.O_CREAT | os.O_RDWR)
        try:
            if sys.platform == "win32":
                # Far behind the text: what is locked cannot be read there.
                os.lseek(descriptor, 1 << 20, os.SEEK_SET)
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                os.lseek(descriptor, 0, os.SEEK_SET)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def owner_problem(found: os.stat_result) -> str:
    """Why a file is not ours alone; empty when it is."""
    if sys.platform == "win32":
        return ""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to you"
    return ""


def _open_own(path: str) -> int:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if not os.path.islink(path) and os.path.isdir(path):
            raise
        raise Untrusted(f"{path} is a link or a file, not a folder: remove it.") from error
    found = os.fstat(folder)
    if problem := owner_problem(found):
        os.close(folder)
        raise Untrusted(f"{path} {problem}: point XDG_RUNTIME_DIR at a folder of your own.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        try:
            os.fchmod(folder, 0o700)
        except BaseException:
            os.close(folder)
            raise
    return folder
