"""One SQLite file: opened with full durability, migrated, and written by one process at a time.

Several processes may hold the file open (a server, the one that takes over from it, commands), so
every write happens under an advisory lock beside the file. That keeps the promise "one writer" that
SQLite versions before 3.51.3 need to be safe, and gives waiting writers a bound and a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from hermes_acp.storage import commits, locks
from hermes_acp.storage.commits import GROUP, REFUSED, Statement, Value
from hermes_acp.storage.connection import Connection
from hermes_acp.storage.errors import StorageError, explain, is_busy
from hermes_acp.storage.handle import WRITER_WAIT, Handle, busy

Row: TypeAlias = tuple[Any, ...]


class Database:
    """A database file, opened at its first use. All methods raise `StorageError`.

    With `repair`, which is for servers, a file that was not closed in order is checked when it is
    opened, and a damaged one is set aside and rebuilt then, or as soon as the damage is met; without,
    damage is an error. A server also gives its `claim` on the folder, which is made before the file
    is opened.
    """

    def __init__(self, path: Path, *, repair: bool = False, claim: Callable[[], None] | None = None) -> None:
        self.path = path
        self._repair = repair
        self._claim = claim
        self._connection: Connection | None = None
        self._notice: str | None = None
        self._opening = asyncio.Lock()
        self._waiting: deque[Statement] = deque()
        self._coming: asyncio.Event | None = None
        """A commit that was asked for and takes along what waits when it begins; set when it has ended."""

    @classmethod
    async def open(cls, path: Path, *, repair: bool = False) -> Database:
        """Open or create the file (mode 0600) now and bring it to the newest schema."""
        database = cls(path, repair=repair)
        await database._ready()
        return database

    @property
    def notice(self) -> str | None:
        """What the user should know: that the file was damaged, what was kept, where the rest lies.

        It may appear at any use of a database with `repair`, and stays.
        """
        return self._connection.notice if self._connection is not None else self._notice

    def doubt(self) -> None:
        """Have the file examined thoroughly at its next use, because its contents make no sense."""
        if self._connection is not None:
            self._connection.doubt()

    async def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query."""
        connection = await self._ready()
        deadline = time.monotonic() + WRITER_WAIT
        while True:
            try:
                return await connection.run(
                    lambda opened: cast("list[Row]", opened.connection.execute(sql, args).fetchall())
                )
            except (*REFUSED, OSError, StorageError) as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise StorageError(explain(self.path, error)) from error
            await asyncio.sleep(locks.POLL)

    async def write(self, sql: str, args: Sequence[Value] = ()) -> int:
        """One statement, on disk when it returns: the number of changed rows.

        Statements run in the order of the calls, those that wait at the same time in one transaction;
        each fails for itself alone. A cancelled write still happens: it is in the hands of SQLite.
        """
        return await asyncio.shield(self._write(Statement(sql, args)))

    async def close(self) -> None:
        """Close; what was written is already on disk. The next use opens the file again."""
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(StorageError, sqlite3.Error, OSError):
            # What is left are cancelled writes behind another process: their patience has an end.
            while self._waiting:
                if not await connection.run(self._commit):
                    await asyncio.sleep(locks.POLL)
        self._connection, self._notice = None, connection.notice
        with contextlib.suppress(StorageError, sqlite3.Error, OSError):
            await connection.shut()

    async def _write(self, statement: Statement) -> int:
        connection = await self._ready()
        self._waiting.append(statement)
        deadline = time.monotonic() + WRITER_WAIT
        while statement.outcome is None:
            try:
                free = await self._share(connection)
            except (sqlite3.Error, OSError, StorageError) as error:
                if self._withdraw(statement):
                    raise StorageError(explain(self.path, error)) from error
            else:
                if not free and time.monotonic() > deadline and self._withdraw(statement):
                    raise StorageError(busy(self.path))
                if not free:
                    await asyncio.sleep(locks.POLL)
        if isinstance(statement.outcome, Exception):
            connection.note(statement.outcome)
            raise StorageError(explain(self.path, statement.outcome)) from statement.outcome
        return statement.outcome

    async def _share(self, connection: Connection) -> bool:
        """Have what waits committed, with others who want the same now; False when a writer is in the way.

        Only who asked hears of errors and of that writer: the others look at their statement.
        """
        if (coming := self._coming) is not None:
            await coming.wait()
            return True
        self._coming = coming = asyncio.Event()
        try:
            return await connection.run(self._commit)
        finally:
            if self._coming is coming:
                # The thread did not come so far.
                self._coming = None
            coming.set()

    def _commit(self, opened: Handle) -> bool:
        """In the thread: commit what waits; False when another writer is in the way."""
        # Who comes from now on may be too late for this one.
        self._coming = None
        if not self._waiting:
            return True
        if not locks.lock(opened.writer, opened.path):
            return False
        group = self._take()
        try:
            free = commits.commit(opened.connection, group)
            opened.note_writing()
        finally:
            locks.unlock(opened.writer)
            self._waiting.extendleft(item for item in reversed(group) if item.outcome is None)
        return free

    def _take(self) -> list[Statement]:
        group: list[Statement] = []
        # A writer may withdraw its statement at the same moment.
        with contextlib.suppress(IndexError):
            while len(group) < GROUP:
                group.append(self._waiting.popleft())
        return group

    def _withdraw(self, statement: Statement) -> bool:
        """Whether the statement was still waiting; if so, it does not happen."""
        try:
            self._waiting.remove(statement)
        except ValueError:
            return False
        return True

    async def _ready(self) -> Connection:
        if self._connection is None:
            # To its end even when the caller goes away, so that nothing is left half open.
            await asyncio.shield(self._open())
        assert self._connection is not None
        return self._connection

    async def _open(self) -> None:
        async with self._opening:
            if self._connection is not None:
                return
            if self._claim is not None:
                await asyncio.to_thread(self._claim)
            connection = Connection(self.path, repair=self._repair)
            try:
                await connection.begin()
            except (sqlite3.Error, OSError) as error:
                raise StorageError(explain(self.path, error)) from error
            self._connection = connection
