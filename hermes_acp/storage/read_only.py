"""The database for those who only look: nothing is created, migrated, locked or repaired."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from hermes_acp.storage import files, schema
from hermes_acp.storage.commits import REFUSED, Value
from hermes_acp.storage.database import Database, Row
from hermes_acp.storage.errors import StorageError, explain

LOOK = 10_000
"""Steps of SQLite between two looks whether the caller still waits: about a millisecond."""

T = TypeVar("T")


class ReadOnlyDatabase(Database):
    """A database that another process may be writing. Each reading opens the file for itself."""

    @classmethod
    async def existing(cls, path: Path) -> ReadOnlyDatabase | None:
        """The database; None where nothing was ever stored. Raises `StorageError`."""
        if not await asyncio.to_thread(path.exists):
            return None
        database = cls(path)
        missing = await database.read(lambda connection: schema.pending(connection, path))
        # Whoever makes the file has not come to the tables yet.
        return None if schema.names()[0] in missing else database

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """The function's result; it runs in a thread. Raises `StorageError`.

        When the caller is cancelled, the function's statement ends soon, with an error.
        """
        cancelled = threading.Event()

        def work() -> T:
            with files.reader(self.path) as connection:
                connection.set_progress_handler(cancelled.is_set, LOOK)
                return function(connection)

        try:
            return await asyncio.to_thread(work)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        except (*REFUSED, OSError) as error:
            raise StorageError(explain(self.path, error)) from error

    async def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query."""
        return await self.read(lambda connection: cast("list[Row]", connection.execute(sql, args).fetchall()))

    async def write(self, sql: str, args: Sequence[Value] = ()) -> int:  # noqa: ARG002 (the seam's signature)
        """Always raises `StorageError`."""
        raise StorageError(f"{self.path} was opened for reading only.")
