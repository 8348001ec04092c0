"""Reading a database that others write."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.sessions import SessionTable
from tests.cli.sessions_home import row

FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder%3f" / "sessions.db"


async def test_where_nothing_was_stored_there_is_no_database_and_none_is_made(path: Path) -> None:
    assert await ReadOnlyDatabase.existing(path) is None
    assert not path.parent.exists()


async def test_what_a_writer_has_committed_is_read_at_once_and_never_in_his_way(path: Path) -> None:
    writer = await Database.open(path)
    await SessionTable(writer).create(row(1))
    reading = await ReadOnlyDatabase.existing(path)
    assert reading is not None
    assert await SessionTable(reading).get("s1") == row(1)
    started, written = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_slowly(connection: sqlite3.Connection) -> int:
        """A reading during which the writer commits."""
        rows = connection.execute("SELECT session_id FROM sessions")
        found = len(rows.fetchmany(1))
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result(10)
        return found + len(rows.fetchall())

    async with asyncio.TaskGroup() as group:
        slow = group.create_task(reading.read(read_slowly))
        await started.wait()
        await SessionTable(writer).create(row(2))
        written.set()
    assert slow.result() == 1
    assert await SessionTable(reading).get("s2") == row(2)
    await writer.close()


async def test_nothing_can_be_written(path: Path) -> None:
    await (await Database.open(path)).close()
    reading = await ReadOnlyDatabase.existing(path)
    assert reading is not None
    with pytest.raises(StorageError, match="reading only"):
        await SessionTable(reading).create(row(1))
    with pytest.raises(StorageError, match="readonly"):
        await reading.fetch("DELETE FROM sessions")


async def test_a_cancelled_reading_ends(path: Path) -> None:
    await (await Database.open(path)).close()
    reading = await ReadOnlyDatabase.existing(path)
    assert reading is not None
    started, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_forever(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        try:
            connection.execute(FOREVER).fetchall()
        finally:
            loop.call_soon_threadsafe(ended.set)

    task = loop.create_task(reading.read(read_forever))
    async with asyncio.timeout(60):
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        await ended.wait()
    assert task.cancelled()


async def test_files_that_are_not_ours_are_refused_in_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as stranger:
        stranger.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StorageError, match="database of another program"):
        await ReadOnlyDatabase.existing(path)
