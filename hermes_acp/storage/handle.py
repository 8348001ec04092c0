"""An open database file, as the one thread knows it that works on it: all calls here block."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator
from pathlib import Path

from hermes_acp.storage import files, integrity, locks, schema
from hermes_acp.storage.errors import Damaged, StorageError, is_damage
from hermes_acp.storage.users import Users

WRITER_WAIT = 5.0
"""Seconds to wait for another process that is writing."""
OPENING_TIMEOUT = 5.0
"""Seconds to wait for other programs when the file is opened."""
BUSY_TIMEOUT_MS = 5
"""Milliseconds to wait for them later: whoever met one comes again, and others do not wait behind."""

SETUP = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON;"


class Handle:
    """The connection, the lock of the writers and the place among the users of a file.

    Making one opens or creates the file and brings it up to date; with `repair` it is examined when
    it was not closed in order, or `thorough`ly whatever happened, and rebuilt when it is damaged.
    Raises `StorageError`, `sqlite3.Error` and `OSError`.
    """

    def __init__(self, path: Path, *, repair: bool, thorough: bool) -> None:
        self.path = Path(os.path.realpath(path))
        self.notice: str | None = None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            self._users = stack.enter_context(contextlib.closing(Users(self.path)))
            self._trusted = self._users.alone and self._users.left in ("", "clean")
            if self._users.alone:
                self.notice = integrity.finish(self.path)
            if repair and self._users.alone:
                repaired = integrity.ensure(self.path, self._users.left, thorough=thorough)
                self.notice = repaired or self.notice
                self._trusted = True
            self.writer = locks.open_lock(self.path.with_name(f"{self.path.name}.writer"))
            stack.callback(os.close, self.writer)
            self.connection = stack.enter_context(contextlib.closing(self._connect()))
            self._users.stay()
            self._condemned = self._users.left == "damaged" and not self._trusted
            self._noted = False
            self._identity = _identity(self.path)
            stack.pop_all()

    @property
    def moved(self) -> bool:
        """Whether somebody moved or removed the file below us: what we write would be lost."""
        return _identity(self.path) != self._identity

    def note_writing(self) -> None:
        """After a commit: note that the log is needed from now on.

        Not sooner: only the first commit makes sure that the log survives a power cut at all.
        """
        if not (self._noted or self._condemned):
            self._users.mark("open")
            self._noted = True

    def let_go(self) -> None:
        """Close a file that was moved, with everything that was written in it."""
        with contextlib.suppress(sqlite3.Error):
            # SQLite does not do so by itself: its log would stay, and be applied to the next file here.
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()

    def condemn(self) -> None:
        """Have the next opening examine the file thoroughly."""
        self._condemned = True
        self._users.mark("damaged")

    def is_alone(self) -> bool:
        """Whether nobody else has the file open; if so, nobody comes in before `close`."""
        return self._users.is_last()

    def close(self) -> None:
        """Close; what was written is already on disk. Raises `StorageError` and `sqlite3.Error`."""
        with contextlib.closing(self._users):
            left = "clean" if self._trusted else ""
            if self._users.is_last() and not self._condemned and self._users.now() != left:
                # Before the log is merged and removed: a crash in between is then examined in vain.
                self._users.mark(left, durable=True)
            try:
                with writing(self.writer, self.path):
                    self.connection.close()
            finally:
                os.close(self.writer)

    def _connect(self) -> sqlite3.Connection:
        if files.size(self.path) == 0 and files.size(files.beside(self.path, "-wal")):
            # SQLite would take it for a new file and remove the log.
            raise Damaged("it is empty, but its write-ahead log is not")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=OPENING_TIMEOUT)
        try:
            connection.executescript(SETUP)
            mode = connection.execute("PRAGMA journal_mode").fetchone()
            if schema.pending(connection, self.path) or mode != ("wal",):
                with writing(self.writer, self.path):
                    connection.execute("PRAGMA journal_mode = WAL")
                    schema.migrate(connection, self.path)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        except BaseException:
            connection.close()
            raise
        return connection


def open_handle(path: Path, *, repair: bool, thorough: bool = False) -> Handle:
    """A handle; with `repair` also on a file whose damage shows only when it is opened."""
    try:
        return Handle(path, repair=repair, thorough=thorough)
    except sqlite3.Error as error:
        if not (repair and is_damage(error)):
            raise
    return Handle(path, repair=True, thorough=True)


@contextlib.contextmanager
def writing(writer: int, path: Path) -> Generator[None, None, None]:
    """Hold the lock of the writers, blocking the thread. Raises `StorageError`."""
    if not locks.wait(writer, path, WRITER_WAIT):
        raise StorageError(busy(path))
    try:
        yield
    finally:
        locks.unlock(writer)


def busy(path: Path) -> str:
    """What to tell a writer whose patience is over."""
    return (
        f"Another process has been writing {path} for {WRITER_WAIT:.0f} seconds. "
        "Close other programs that use it, or try again."
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
