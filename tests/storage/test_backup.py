"""Backups: consistent while everybody writes, checked, private, few, and never over anything."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_acp.storage import backup
from hermes_acp.storage.database import Database, StorageError
from tests.storage import damage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def copies(path: Path) -> list[Path]:
    return sorted((path.parent / "backups").iterdir())


def wait_for(condition: Callable[[], object]) -> None:
    """Block until it holds, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


async def history(path: Path) -> damage.Events:
    database = await Database.open(path)
    kept = await damage.read(database)
    await database.close()
    return kept


async def test_a_copy_is_whole_private_and_one_file(path: Path) -> None:
    wanted = await damage.write(path)
    made = await backup.make(path)
    assert copies(path) == [made]
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert await history(made) == wanted


async def test_a_copy_is_a_moment_of_a_database_that_is_written_all_the_while(path: Path) -> None:
    database = await Database.open(path)
    await damage.add(database, 10, 500)
    finished = asyncio.Event()
    waits: list[float] = []

    async def keep_writing() -> None:
        seq = 500
        while not finished.is_set():
            seq += 1
            begun = time.monotonic()
            # Two sessions in step: a copy that is no moment would have one of them ahead.
            for name in ("s000", "s001"):
                await database.write(damage.EVENT, (name, seq, 1.0, damage.data(name, seq)))
            waits.append(time.monotonic() - begun)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_writing())
        made = [await backup.make(path) for _ in range(3)]
        finished.set()
    await database.close()
    assert len(waits) > 3
    lengths: list[int] = []
    for copy in made:
        kept = await history(copy)
        assert 0 <= len(kept["s000"]) - len(kept["s001"]) <= 1
        lengths.append(len(kept["s000"]))
    assert lengths == sorted(lengths)


async def test_after_a_kill_the_log_is_in_the_copy_and_stays_where_it_is(tmp_path: Path, path: Path) -> None:
    database = await Database.open(path)
    wanted = await damage.add(database, 2, 10)
    assert path.with_name("x.db-wal").stat().st_size > 0
    made = await backup.make(path, tmp_path / "copy.db")
    assert path.with_name("x.db-wal").stat().st_size > 0
    assert await history(made) == wanted
    await database.close()


async def test_the_newest_five_stay_and_nothing_of_others_is_removed(path: Path) -> None:
    await damage.write(path, 1, 1)
    made = [await backup.make(path) for _ in range(7)]
    mine = path.parent / "backups" / "mine.db"
    mine.write_text("x")
    made.append(await backup.make(path))
    assert copies(path) == sorted([*made[-backup.KEPT :], mine])
    assert await asyncio.to_thread(backup.newest, path) == made[-1]


async def test_a_copy_that_is_cancelled_leaves_nothing(path: Path) -> None:
    await damage.write(path, 20, 1000)
    async with asyncio.TaskGroup() as tasks:
        making = tasks.create_task(backup.make(path))
        await asyncio.to_thread(wait_for, lambda: (path.parent / "backups").exists() and copies(path))
        making.cancel()
    await asyncio.to_thread(wait_for, lambda: not copies(path))


async def test_a_copy_takes_no_name_that_is_taken(tmp_path: Path, path: Path) -> None:
    await damage.write(path, 1, 1)
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    for target in (path, dangling, tmp_path):
        with pytest.raises(StorageError, match="exists already"):
            await backup.make(path, target)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(StorageError, match="No backup was made"):
        await backup.make(path, tmp_path / "missing" / "copy.db")


async def test_a_damaged_database_makes_no_copy_and_no_copy_is_lost(path: Path) -> None:
    await damage.write(path)
    made = await backup.make(path)
    contents = path.read_bytes()
    damage.spoil(path, damage.pages(path) - 2)
    with pytest.raises(backup.DatabaseDamaged, match="is damaged"):
        await backup.make(path)
    path.write_bytes(contents.replace(b"turn_started", b'turn"started', 1))
    with pytest.raises(backup.DatabaseDamaged, match="1 events cannot be read"):
        await backup.make(path)
    path.write_bytes(b"noise" * 5000)
    with pytest.raises(StorageError, match="No backup was made"):
        await backup.make(path)
    assert copies(path) == [made]


async def test_a_copy_is_due_once_a_day_while_the_database_is_small(path: Path) -> None:
    now = time.time()
    assert not await asyncio.to_thread(backup.is_due, path, now)
    await damage.write(path, 1, 1)
    assert await asyncio.to_thread(backup.is_due, path, now)
    made = await backup.make(path)
    ages = {0.0: False, backup.DAY - 60: False, backup.DAY + 60: True, -backup.DAY: True}
    for age, due in ages.items():
        os.utime(made, (now - age, now - age))
        assert await asyncio.to_thread(backup.is_due, path, now) is due
    with path.open("r+b") as file:
        file.truncate(backup.AUTOMATIC_LIMIT + 1)
    assert not await asyncio.to_thread(backup.is_due, path, now)


async def test_an_unchanged_copy_opens_in_any_program(path: Path) -> None:
    await damage.write(path, 2, 3)
    made = await backup.make(path)
    with sqlite3.connect(f"file:{made}?mode=ro&immutable=1", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (6,)
    connection.close()
