"""One SQLite file: opened with full durability, migrated, and written by one process at a time.

Several processes may hold the file open (each editor window may host its own server), so every
write happens under an advisory lock beside the file. That keeps the promise "one writer" that
SQLite versions before 3.51.3 need to be safe, and gives waiting writers a bound and a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, cast

import aiosqlite

WRITER_WAIT = 5.0
"""Seconds to wait for another process that is writing."""
WRITER_POLL = 0.002
BUSY_TIMEOUT_MS = 5_000

Value: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = tuple[Any, ...]

SETUP = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA foreign_keys = ON;
PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL);
"""


class StorageError(Exception):
    """The database cannot be read or written; `str()` says why and what to do."""


class Database:
    """A database file, opened at its first use. All methods raise `StorageError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: aiosqlite.Connection | None = None
        self._lock = -1
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or create the file (mode 0600) now and bring it to the newest schema."""
        database = cls(path)
        await database._ready()
        return database

    async def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query."""
        connection = await self._ready()
        try:
            return cast("list[Row]", await connection.execute_fetchall(sql, args))
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise StorageError(_explain(self.path, error)) from error

    async def write(self, sql: str, args: Sequence[Value] = ()) -> int:
        """One statement, one transaction, on disk when it returns: the number of changed rows.

        A cancelled write still happens: it is in the hands of SQLite's thread.
        """
        return await asyncio.shield(self._write(sql, args))

    async def close(self) -> None:
        """Close; what was written is already on disk."""
        if self._connection is None:
            return
        with contextlib.suppress(StorageError):
            async with self._writing():
                await self._connection.close()
        os.close(self._lock)
        self._connection = None

    async def _write(self, sql: str, args: Sequence[Value]) -> int:
        connection = await self._ready()
        async with self._writing():
            cursor = await connection.execute(sql, args)
            return cursor.rowcount

    async def _ready(self) -> aiosqlite.Connection:
        if self._connection is not None:
            return self._connection
        async with self._opening:
            if self._connection is None:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> aiosqlite.Connection:
        connection: aiosqlite.Connection | None = None
        try:
            self._lock = await asyncio.to_thread(_prepare, self.path)
            connection = await aiosqlite.connect(self.path, isolation_level=None)
            await self._migrate(connection)
        except BaseException as error:
            if connection is not None:
                await connection.close()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
            if isinstance(error, OSError | sqlite3.Error):
                raise StorageError(_explain(self.path, error)) from error
            raise
        return connection

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncGenerator[None, None]:
        try:
            async with self._turn:
                await _acquire(self._lock, self.path)
                try:
                    yield
                finally:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)
        except (OSError, sqlite3.Error, UnicodeEncodeError) as error:
            raise StorageError(_explain(self.path, error)) from error

    async def _migrate(self, connection: aiosqlite.Connection) -> None:
        async with self._writing():
            await connection.executescript(SETUP)
            rows = await connection.execute_fetchall("SELECT name FROM migrations")
            applied = frozenset(cast("str", row[0]) for row in rows)
            for name, sql in await asyncio.to_thread(_migrations, applied):
                record = f"INSERT INTO migrations VALUES ('{name}', {time.time()});"
                await connection.executescript(f"BEGIN IMMEDIATE;{record}{sql};COMMIT;")


def _migrations(applied: frozenset[str]) -> list[tuple[str, str]]:
    folder = resources.files("hermes_acp.storage.migrations")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(name, (folder / name).read_text("utf-8")) for name in names if name not in applied]


def _prepare(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    lock_path = path.with_name(f"{path.name}.writer")
    return os.open(lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


async def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + WRITER_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"Another process has been writing {path} for {WRITER_WAIT:.0f} seconds. "
                    "Close other editor windows that use hermes-editor, or try again."
                ) from None
            await asyncio.sleep(WRITER_POLL)
        else:
            return


def _explain(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "A name or text is not valid Unicode, so it cannot be stored. Rename it, or send other text."
    text = str(error)
    if "full" in text or "No space" in text:
        return f"The disk is full: {path} could not be written. Free some space and try again."
    if "readonly" in text or "Read-only" in text or "Permission" in text:
        return f"{path} cannot be written ({text}). Check the permissions of its folder."
    if "disk I/O" in text:
        return f"{path} could not be read or written ({text}). Check that the disk has space and works."
    if "malformed" in text or "not a database" in text:
        return f"{path} is damaged ({text}). Move it away to start with an empty history."
    return f"{path} cannot be used: {text}."
