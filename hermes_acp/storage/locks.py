"""Advisory locks on files of our own, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from hermes_acp.storage.errors import StorageError, explain

POLL = 0.002
"""Seconds between two attempts to get a lock."""


def open_lock(path: Path) -> int:
    """Open or create a lock file (mode 0600) and return its descriptor. Raises `StorageError`."""
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path} is a link, which a lock must not be. Remove it.") from error
        raise StorageError(explain(path, error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path} is not a plain file. Move it away.")
    return descriptor


def lock(descriptor: int, path: Path, *, shared: bool = False) -> bool:
    """Take the lock, or change its kind; False when somebody else has it. Raises `StorageError`."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"{path} cannot be locked: {error}. Put the data folder on a disk of this machine."
        ) from error
    return True


def wait(descriptor: int, path: Path, seconds: float, *, shared: bool = False) -> bool:
    """Take the lock within `seconds`, blocking the thread; False when it did not come free."""
    deadline = time.monotonic() + seconds
    while not lock(descriptor, path, shared=shared):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back and keep the file open."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def note(descriptor: int, text: str, *, durable: bool = False) -> None:
    """Replace what is written in the lock file; a disk that cannot take it changes nothing else."""
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, len(text.encode()))
        if durable:
            os.fsync(descriptor)


def noted(descriptor: int) -> str:
    """What is written in the lock file, at most a line."""
    with contextlib.suppress(OSError):
        return os.pread(descriptor, 256, 0).decode("utf-8", "replace").strip()
    return ""
