"""The database file: private, migrated once and atomically, written by one process at a time."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_acp.storage import database as module
from hermes_acp.storage.database import Database, StorageError

MIGRATIONS = ["0001_sessions.sql", "0002_rules.sql"]

OPEN = """
import asyncio, sys
from pathlib import Path
from hermes_acp.storage.database import Database

async def main():
    database = await Database.open(Path(sys.argv[1]))
    rows = await database.fetch("SELECT name FROM migrations ORDER BY name")
    print(*(row[0] for row in rows), flush=True)
    await database.close()

asyncio.run(main())
"""

WRITE = """
import asyncio, sys
from pathlib import Path
from hermes_acp.storage.database import Database

async def main():
    database = await Database.open(Path(sys.argv[1]))
    for number in range(100):
        await database.write(
            "INSERT INTO rules VALUES (?, 'allow', 'write', ?, '', 'project', 1.0, '', '', '', '')",
            (f"{sys.argv[2]}-{number}", f"{sys.argv[2]}-{number}"),
        )
    await database.close()

asyncio.run(main())
"""

HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def start(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def tables(path: Path) -> set[str]:
    """What another program finds in the file."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return {name for (name,) in rows}


async def test_a_new_file_is_private_durable_and_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sessions.db"
    database = await Database.open(path)
    assert await database.fetch("SELECT name FROM migrations ORDER BY name") == [
        (name,) for name in MIGRATIONS
    ]
    settings = [
        await database.fetch(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert settings == [[("wal",)], [(2,)], [(1,)]]
    modes = {item.name: item.stat().st_mode & 0o777 for item in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await database.close()


async def test_migrations_run_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first = await Database.open(path)
    before = await first.fetch("SELECT * FROM migrations")
    await first.close()
    again = await Database.open(path)
    assert await again.fetch("SELECT * FROM migrations") == before
    await again.close()


async def test_a_migration_that_fails_leaves_nothing_and_runs_when_it_can(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (mine TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="table events already exists"):
        await Database.open(path)
    assert tables(path) == {"events", "migrations"}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (0,)
        connection.execute("DROP TABLE events")
    connection.close()
    database = await Database.open(path)
    assert len(await database.fetch("SELECT * FROM migrations")) == len(MIGRATIONS)
    await database.close()


async def test_an_earlier_migration_stays_when_a_later_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rules (mine TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="rules"):
        await Database.open(path)
    assert tables(path) == {"rules", "migrations", "sessions", "events"}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM migrations").fetchall() == [(MIGRATIONS[0],)]
    connection.close()


def test_processes_that_open_a_new_file_at_once_all_find_it_whole(tmp_path: Path) -> None:
    processes = [start(OPEN, str(tmp_path / "x.db")) for _ in range(4)]
    answers = [process.communicate()[0].split() for process in processes]
    assert answers == [MIGRATIONS] * 4


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    await (await Database.open(path)).close()
    writers = [start(WRITE, str(path), name) for name in "ab"]
    for writer in writers:
        await asyncio.to_thread(writer.communicate)
        assert writer.returncode == 0
    database = await Database.open(path)
    assert await database.fetch("SELECT count(*) FROM rules") == [(200,)]
    await database.close()


@pytest.mark.slow
async def test_a_writer_that_does_not_let_go_is_an_error_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    database = await Database.open(path)
    holder = start(HOLD, f"{path}.writer")
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == "locked\n"
    with pytest.raises(StorageError, match=f"writing .* for {module.WRITER_WAIT:.0f} seconds"):
        await database.write("DELETE FROM rules")
    assert await database.fetch("SELECT count(*) FROM rules") == [(0,)]
    await asyncio.to_thread(holder.communicate)
    assert await database.write("DELETE FROM rules") == 0
    await database.close()


async def test_the_first_uses_at_once_open_the_file_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    answers = await asyncio.gather(*(database.fetch("SELECT count(*) FROM sessions") for _ in range(8)))
    assert answers == [[(0,)]] * 8
    await database.close()


async def test_an_opening_that_is_cancelled_leaves_the_file_usable(tmp_path: Path) -> None:
    for moments in range(12):
        database = Database(tmp_path / f"{moments}.db")
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(database.fetch("SELECT 1"))
            for _ in range(moments):
                await asyncio.sleep(0)
            opening.cancel()
        assert await database.fetch("SELECT count(*) FROM sessions") == [(0,)]
        await database.close()


async def test_a_statement_that_fails_says_why_and_the_next_one_works(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    with pytest.raises(StorageError, match="no such table"):
        await database.write("DELETE FROM elsewhere")
    with pytest.raises(StorageError, match="no such column"):
        await database.fetch("SELECT missing FROM sessions")
    assert await database.write("DELETE FROM sessions") == 0
    await database.close()
    await database.close()


async def test_a_folder_that_cannot_be_made_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 5000)
    with pytest.raises(StorageError, match=r"file/x\.db cannot be used"):
        await Database.open(tmp_path / "file" / "x.db")
    with pytest.raises(StorageError, match="file is damaged"):
        await Database.open(tmp_path / "file")
    with pytest.raises(StorageError):
        await Database.open(tmp_path)
