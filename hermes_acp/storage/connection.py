"""SQLite's thread: runs functions on an open file one after the other, and opens it anew after a fault."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite

from hermes_acp.storage.errors import StorageError, is_damage, is_fault
from hermes_acp.storage.handle import Handle, open_handle

T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """A connection whose file is opened, replaced and closed in its thread.

    After damage the file is closed, repaired and opened; after a fault of the disk, or when the file
    was moved away, another handle is opened first and takes over when that works. Both happen before
    the next function runs.
    """

    def __init__(self, path: Path, *, repair: bool) -> None:
        super().__init__(self._open, iter_chunk_size=1)
        # A database that somebody forgot to close must not keep the process alive.
        self._thread.daemon = True
        self.notice: str | None = None
        """What the user should know about a repair."""
        self._path = path
        self._repair = repair
        self._handle: Handle | None = None
        self._damaged = False
        self._failed = False

    async def begin(self) -> None:
        """Open the file. Raises `StorageError`, `sqlite3.Error` and `OSError`, with the thread ended."""
        try:
            await self
        except (StorageError, sqlite3.Error, OSError):
            await asyncio.to_thread(self._thread.join)
            raise

    async def run(self, function: Callable[[Handle], T]) -> T:
        """The function's result. Raises what it raises, `StorageError`, `sqlite3.Error`, `OSError`."""
        return cast("T", await self._execute(self._run, function))  # pyright: ignore[reportUnknownMemberType]

    async def shut(self) -> None:
        """Close the file and end the thread, whatever the disk says about it."""
        try:
            await self._execute(self._close)  # pyright: ignore[reportUnknownMemberType]
        finally:
            stopped = cast("asyncio.Future[object]", self.stop())  # pyright: ignore[reportUnknownMemberType]
            await stopped

    def doubt(self) -> None:
        """Have the file examined thoroughly before it is used again; from any thread."""
        self._damaged = True

    def note(self, error: BaseException) -> None:
        """Draw the conclusions from an error that a function kept for itself; from any thread."""
        self._damaged |= is_damage(error)
        self._failed |= is_fault(error)

    def _open(self) -> sqlite3.Connection:
        return self._adopt(open_handle(self._path, repair=self._repair)).connection

    def _run(self, function: Callable[[Handle], T]) -> T:
        handle = self._usable()
        try:
            result = function(handle)
        except (sqlite3.Error, OSError) as error:
            self.note(error)
            raise
        return result

    def _usable(self) -> Handle:
        handle = self._handle
        if handle is None:
            return self._adopt(open_handle(self._path, repair=self._repair))
        if handle.moved:
            self._close(moved=True)
            return self._adopt(open_handle(self._path, repair=self._repair))
        if self._damaged:
            self._damaged = False
            handle.condemn()
            if self._repair and handle.is_alone():
                self._close()
                return self._adopt(open_handle(self._path, repair=True, thorough=True))
        if self._failed:
            return self._replace(handle)
        return handle

    def _replace(self, old: Handle) -> Handle:
        """A new handle in place of the old one; what still works with the old one goes on when not."""
        try:
            fresh = open_handle(self._path, repair=self._repair)
        except (StorageError, sqlite3.Error, OSError):
            return old
        self._failed = False
        with contextlib.suppress(StorageError, sqlite3.Error):
            old.close()
        return self._adopt(fresh)

    def _adopt(self, handle: Handle) -> Handle:
        self._handle = handle
        self._connection = handle.connection
        self.notice = handle.notice or self.notice
        return handle

    def _close(self, *, moved: bool = False) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(StorageError, sqlite3.Error):
                handle.let_go() if moved else handle.close()
