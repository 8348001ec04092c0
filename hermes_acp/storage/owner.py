"""The one server that writes a data folder: a lock that it holds for life and that dies with it.

SQLite before 3.51.3 can lose what was written when several processes write one file and restart its
log at the wrong moments; the lock file names the version in use, for whoever has to find that out.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from hermes_acp import __version__
from hermes_acp.records import record
from hermes_acp.storage import locks
from hermes_acp.storage.errors import StorageError, explain

CLAIM_WAIT = 0.2
"""Seconds in which the lock may come free: whoever asks for its holder has it for a moment."""
ATTEMPTS = 8
"""How often a lock file that was removed below us is opened anew."""


class DataFolderInUse(StorageError):
    """Another server owns the data folder; `str()` says which one, and what to do."""


@record
class Holder:
    """Who owns a data folder, as the owner wrote it down: a process, its version and its SQLite."""

    pid: int
    version: str
    sqlite: str


class Owner:
    """The ownership of a data folder. All methods block, but not for long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "owner.lock"
        self._lock = -1

    def claim(self) -> None:
        """Own the folder from now on. Raises `DataFolderInUse`, and `StorageError` for other trouble."""
        if self._lock >= 0:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(explain(self._folder, error)) from error
        self._lock = self._claim()
        locks.note(self._lock, f"{os.getpid()} {__version__} {sqlite3.sqlite_version}\n")

    def release(self) -> None:
        """Let the next server have it: what this one still writes is safe under the lock of writers."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def holder(self) -> Holder | None:
        """Who owns the folder now, be it ourselves; None when nobody does, or who is not known."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return None if locks.lock(descriptor, self._path) else _holder(locks.noted(descriptor))
        finally:
            os.close(descriptor)

    def _claim(self) -> int:
        for _ in range(ATTEMPTS):
            descriptor = locks.open_lock(self._path)
            try:
                if not locks.wait(descriptor, self._path, CLAIM_WAIT):
                    raise self._in_use(_holder(locks.noted(descriptor)))
                if _is_still(descriptor, self._path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise StorageError(f"{self._path} is removed again and again. Find out what does so.")

    def _in_use(self, holder: Holder | None) -> DataFolderInUse:
        number = holder.pid if holder else "unknown"
        return DataFolderInUse(
            f"{self._folder} is used by another hermes-editor server (process {number}). Start the agent "
            "without --standalone to share it, or stop it with `hermes-editor server stop`."
        )


def _holder(noted: str) -> Holder | None:
    match noted.split():
        case [pid, version, sqlite] if pid.isdecimal():
            return Holder(int(pid), version, sqlite)
        case _:
            return None


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file that we locked is the one that others find."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
