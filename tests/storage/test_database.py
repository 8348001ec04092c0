"""The database file: private, migrated once and atomically, written by one process at a time."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_acp.storage import schema
from hermes_acp.storage.commits import GROUP
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.handle import WRITER_WAIT
from tests.storage import damage

MIGRATIONS = list(schema.names())
RULE = (
    "INSERT INTO rules VALUES (?, 'allow', 'write', ?, '', 'project', 1.0, '', '', '', '', 'exact', '', '')"
)

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
            "INSERT INTO rules VALUES"
            " (?, 'allow', 'write', ?, '', 'project', 1.0, '', '', '', '', 'exact', '', '')",
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


OURS = "CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL);"


def make(path: Path, script: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()


async def test_a_migration_that_fails_leaves_nothing_and_runs_when_it_can(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, OURS + "CREATE TABLE events (mine TEXT);")
    with pytest.raises(StorageError, match="table events already exists"):
        await Database.open(path)
    assert tables(path) == {"events", "migrations"}
    make(path, "DROP TABLE events")
    database = await Database.open(path)
    assert len(await database.fetch("SELECT * FROM migrations")) == len(MIGRATIONS)
    await database.close()


async def test_a_migration_that_fails_takes_the_earlier_ones_along(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, OURS + "CREATE TABLE rules (mine TEXT);")
    with pytest.raises(StorageError, match="rules"):
        await Database.open(path)
    assert tables(path) == {"rules", "migrations"}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM migrations").fetchall() == []
    connection.close()


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE TABLE moz_places (url TEXT)", "another program.* Move it away"),
        (
            OURS
            + "".join(f"INSERT INTO migrations VALUES ('{n}', 1);" for n in (*MIGRATIONS, "9999_new.sql")),
            "newer version.* Update",
        ),
    ],
)
async def test_a_stranger_and_a_newer_file_are_refused_and_not_touched(
    tmp_path: Path, script: str, reason: str, repair: bool
) -> None:
    path = tmp_path / "x.db"
    make(path, script + ";CREATE TABLE big (text TEXT); INSERT INTO big VALUES (zeroblob(20000))")
    whole = path.read_bytes()
    for contents in (whole, whole[: -damage.PAGE]):
        # Not even when it is damaged.
        path.write_bytes(contents)
        with pytest.raises(StorageError, match=reason if repair or contents is whole else "is damaged"):
            await Database.open(path, repair=repair)
        assert path.read_bytes() == contents
        assert {item.suffix for item in tmp_path.iterdir()} <= {".db", ".users", ".writer"}


@pytest.mark.programs
def test_processes_that_open_a_new_file_at_once_all_find_it_whole(tmp_path: Path) -> None:
    processes = [start(OPEN, str(tmp_path / "x.db")) for _ in range(4)]
    answers = [process.communicate()[0].split() for process in processes]
    assert answers == [MIGRATIONS] * 4


@pytest.mark.programs
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
    with pytest.raises(StorageError, match=f"writing .* for {WRITER_WAIT:.0f} seconds"):
        await database.write("DELETE FROM rules")
    assert await database.fetch("SELECT count(*) FROM rules") == [(0,)]
    await asyncio.to_thread(holder.communicate)
    # The one that was given up does not happen later.
    assert await database.write(RULE, ("r", "x")) == 1
    assert await database.fetch("SELECT count(*) FROM rules") == [(1,)]
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


async def test_statements_that_wait_together_are_written_together_and_in_order(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    writes = [database.write(RULE, (f"r{number:04}", f"{number}")) for number in range(3 * GROUP)]
    before = await database.fetch("PRAGMA data_version")
    assert await asyncio.gather(*writes) == [1] * 3 * GROUP
    rows = await database.fetch("SELECT rule_id FROM rules ORDER BY rule_id")
    assert rows == [(f"r{number:04}",) for number in range(3 * GROUP)]
    assert await database.fetch("PRAGMA data_version") == before
    await database.close()


async def test_one_bad_statement_among_many_fails_alone(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    await database.write(RULE, ("taken", "x"))
    good = [(RULE, (f"r{number}", f"{number}")) for number in range(20)]
    bad: list[tuple[str, tuple[object, ...]]] = [
        (RULE, ("taken", "again")),
        (RULE, ("too", "few", "many")),
        ("DELETE FROM elsewhere", ()),
        ("SELEKT", ()),
        (RULE, (1 << 70, "too large")),
        (RULE, ("\ud800", "not Unicode")),
        (RULE, (["a list"], "no value of SQLite")),
        (RULE.replace("INSERT", "INSERT OR ROLLBACK"), ("taken", "takes back all")),
    ]
    mixed = [item for pair in zip(good[:8], bad, strict=True) for item in pair] + good[8:]
    outcomes = await asyncio.gather(
        *(database.write(sql, args) for sql, args in mixed),  # pyright: ignore[reportArgumentType]
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, StorageError] * 8 + [int] * 12
    assert await database.fetch("SELECT count(*) FROM rules") == [(21,)]
    await database.close()


async def test_a_write_whose_caller_goes_away_still_happens(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    async with asyncio.TaskGroup() as tasks:
        writes = [tasks.create_task(database.write(RULE, (f"r{n}", f"{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        for write in writes[::2]:
            write.cancel()
    await database.close()
    assert await database.fetch("SELECT count(*) FROM rules") == [(50,)]
    await database.close()


async def test_reading_goes_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    database = await Database.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.TaskGroup() as tasks:
        writes = [tasks.create_task(database.write(RULE, (f"r{n}", f"{n}"))) for n in range(3)]
        for _ in range(20):
            assert await database.fetch("SELECT count(*) FROM rules") == [(0,)]
        assert not any(write.done() for write in writes)
        other.execute("COMMIT")
    other.close()
    assert await database.fetch("SELECT count(*) FROM rules") == [(3,)]
    await database.close()


async def test_a_file_that_is_removed_or_replaced_below_is_noticed_before_anything_is_lost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data" / "x.db"
    kept = await damage.write(path)
    database = await Database.open(path)
    await database.write(RULE, ("mine", "x"))
    path.rename(tmp_path / "aside.db")
    assert await database.fetch("SELECT count(*) FROM sessions") == [(0,)]
    assert await database.write(RULE, ("other", "x")) == 1
    (tmp_path / "aside.db").rename(path)
    assert await damage.read(database) == kept
    assert await database.fetch("SELECT count(*) FROM rules WHERE rule_id = 'mine'") == [(1,)]
    shutil.rmtree(path.parent)
    assert await database.write(RULE, ("new", "x")) == 1
    await database.close()
    assert await database.fetch("SELECT rule_id FROM rules") == [("new",)]
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
