"""Damage: found, set aside, rebuilt from what can be read and from the backup, and said."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from hermes_acp.storage import backup, checks, integrity
from hermes_acp.storage.database import Database, StorageError
from tests.storage import damage
from tests.storage.damage import PAGE, Events

DATE = r"\d{8}-\d{6}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def left_open(path: Path) -> None:
    """As if the last server had been killed."""
    path.with_name("x.db.users").write_text("open")


async def repaired(path: Path) -> tuple[Events, str | None]:
    """What a server finds, and what it says; the file is whole then."""
    database = await Database.open(path, repair=True)
    kept = await damage.read(database)
    await database.write(f"{damage.RULE} ON CONFLICT DO NOTHING", ("new", "new"))
    notice = database.notice
    await database.close()
    assert await asyncio.to_thread(checks.structure, path) is None
    assert await asyncio.to_thread(checks.contents, path) is None
    return kept, notice


def missing(kept: Events, wanted: Events) -> int:
    """How many events are gone; what is there is what was written, in its order."""
    for name, events in kept.items():
        rest = iter(wanted[name])
        assert all(event in rest for event in events)
    return sum(map(len, wanted.values())) - sum(map(len, kept.values()))


def owners(path: Path) -> dict[int, tuple[str, str]]:
    """Which table or index each page belongs to, and its place in the tree."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT pageno - 1, name, pagetype FROM dbstat").fetchall()
    connection.close()
    return {page: (name, kind) for page, name, kind in rows}


def aside(path: Path) -> list[Path]:
    return [item for item in path.parent.glob("x.db.damaged-*") if not item.name.endswith("-wal")]


@pytest.mark.slow
async def test_any_page_may_be_lost_and_no_session_is(tmp_path: Path, path: Path) -> None:
    wanted = await damage.write(path)
    contents = path.read_bytes()
    leaves = {"events": 0}
    for page, (name, kind) in owners(path).items():
        folder = tmp_path / str(page)
        folder.mkdir()
        copy = folder / "x.db"
        copy.write_bytes(contents)
        damage.spoil(copy, page, seed=page)
        left_open(copy)
        kept, notice = await repaired(copy)
        assert notice is not None
        assert "was damaged and has been rebuilt. It has 5 sessions" in notice
        assert str(aside(copy)[0]) in notice
        assert kept.keys() == wanted.keys()
        gone = missing(kept, wanted)
        if name != "events":
            assert gone == 0
        elif kind == "leaf":
            leaves["events"] += 1
            assert 0 < gone < 2 * PAGE // 300
            assert "missing at" in notice or "may be missing" in notice
    assert leaves["events"] > 8


@pytest.mark.slow
async def test_a_backup_fills_the_holes(path: Path) -> None:
    wanted = await damage.write(path)
    await backup.make(path)
    contents = path.read_bytes()
    for page, (name, _) in owners(path).items():
        path.write_bytes(contents)
        damage.spoil(path, page, seed=page)
        left_open(path)
        kept, notice = await repaired(path)
        assert kept == wanted
        assert notice is not None
        assert ("of these events from" in notice) == (name == "events")
        assert "missing at" not in notice
        assert "maybe" not in notice


async def test_what_a_backup_lacks_comes_from_the_damaged_file(path: Path) -> None:
    await damage.write(path)
    await backup.make(path)
    database = await Database.open(path)
    late = damage.data("s002", 26)
    await database.write(damage.EVENT, ("s002", 26, 62.0, late))
    await database.write("DELETE FROM rules")
    await database.close()
    leaf = next(page for page, owner in owners(path).items() if owner == ("events", "leaf"))
    damage.spoil(path, leaf)
    left_open(path)
    kept, _ = await repaired(path)
    assert kept["s002"][25:] == [late]
    assert sum(map(len, kept.values())) == 126
    # A permission that was taken back does not return.
    database = await Database.open(path)
    assert await database.fetch("SELECT rule_id FROM rules") == [("new",)]
    await database.close()


async def test_after_holes_were_closed_an_older_backup_gives_only_lost_sessions(path: Path) -> None:
    wanted = await damage.write(path)
    leaf = [page for page, owner in owners(path).items() if owner == ("events", "leaf")][3]
    await backup.make(path)
    (copy,) = (path.parent / "backups").iterdir()
    copy.rename(path.parent / "kept.db")
    damage.spoil(path, leaf)
    left_open(path)
    shorter, _ = await repaired(path)
    (path.parent / "kept.db").rename(copy)
    database = await Database.open(path)
    await database.write("DELETE FROM sessions WHERE session_id = 's000'")
    await database.close()
    damage.spoil(path, 0, 0, 16)
    kept, notice = await repaired(path)
    assert notice is not None
    assert kept == {**shorter, "s000": wanted["s000"]}


@pytest.mark.parametrize("with_backup", [False, True])
@pytest.mark.parametrize(
    "contents",
    [b"", b"not a database" * 1000, b"SQLite format 3\0", random.Random(1).randbytes(10 * PAGE)],
    ids=["empty", "text", "only the magic word", "noise"],
)
async def test_a_file_without_any_content_gives_the_backup_or_an_empty_history(
    path: Path, contents: bytes, with_backup: bool
) -> None:
    wanted = await damage.write(path)
    if with_backup:
        await backup.make(path)
    path.write_bytes(contents)
    kept, notice = await repaired(path)
    assert kept == (wanted if with_backup else {})
    assert notice is not None
    assert "5 sessions" in notice if with_backup else "0 sessions" in notice
    assert [item.read_bytes() for item in aside(path)] == [contents]


@pytest.mark.parametrize("cut", [100, 1000, PAGE, 10 * PAGE, 100_000])
async def test_of_a_file_that_was_cut_short_the_rest_is_kept(path: Path, cut: int) -> None:
    wanted = await damage.write(path, events=120)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    kept, notice = await repaired(path)
    assert notice is not None
    assert kept.keys() == wanted.keys()
    assert missing(kept, wanted) < cut // 300 + 30


@pytest.mark.slow
async def test_flipped_bytes_anywhere_never_stop_the_server(path: Path) -> None:
    await damage.write(path)
    contents = path.read_bytes()
    rng = random.Random(7)
    for _ in range(30):
        spoiled = bytearray(contents)
        for _ in range(rng.choice((1, 3, 30))):
            # Half of them where the structure is: at the beginning of a page.
            place = rng.randrange(len(spoiled))
            spoiled[place if rng.random() < 0.5 else place // PAGE * PAGE + rng.randrange(16)] ^= (
                rng.randrange(1, 256)
            )
        path.write_bytes(spoiled)
        path.with_name("x.db.users").write_text("damaged")
        database = await Database.open(path, repair=True)
        ((sessions,),) = await database.fetch("SELECT count(*) FROM sessions")
        assert sessions >= 3
        await damage.read(database)
        await database.close()
        for item in path.parent.glob("x.db.damaged-*"):
            item.unlink()


async def test_an_event_that_is_no_json_any_more_is_found_and_dropped(path: Path) -> None:
    wanted = await damage.write(path, 1, 20)
    contents = path.read_bytes().replace(b'"type":"turn_started","message_id":"s000-7"', b"\xff" * 43)
    path.write_bytes(contents)
    database = await Database.open(path, repair=True)
    with pytest.raises(StorageError, match="is damaged"):
        await damage.read(database)
    del wanted["s000"][6]
    assert await damage.read(database) == wanted
    assert "missing at 1 places" in str(database.notice)
    await database.close()


async def test_damage_that_shows_later_is_repaired_at_the_next_use(path: Path) -> None:
    wanted = await damage.write(path)
    await backup.make(path)
    events = [page for page, (name, _) in owners(path).items() if name == "events"]
    database = await Database.open(path, repair=True)
    for page in events:
        damage.spoil(path, page)
    with pytest.raises(StorageError, match="is damaged"):
        await damage.read(database)
    assert await damage.read(database) == wanted
    assert "rebuilt" in str(database.notice)
    await database.close()
    assert "rebuilt" in str(database.notice)


async def test_what_makes_no_sense_to_the_reader_is_examined_and_left_when_it_is_whole(path: Path) -> None:
    wanted = await damage.write(path)
    database = await Database.open(path, repair=True)
    database.doubt()
    assert await damage.read(database) == wanted
    assert database.notice is None
    await database.close()
    assert aside(path) == []


async def test_without_the_right_to_repair_damage_is_an_error_and_nothing_changes(path: Path) -> None:
    await damage.write(path)
    path.write_bytes(b"not a database" * 1000)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"is damaged .*repairs it"):
            await Database.open(path)
    assert path.read_bytes() == b"not a database" * 1000
    _, notice = await repaired(path)
    assert notice is not None


async def test_a_file_that_others_have_open_is_not_exchanged_below_them(path: Path) -> None:
    wanted = await damage.write(path)
    other = await Database.open(path)
    for page, (name, kind) in owners(path).items():
        if name == "events" and kind == "leaf":
            damage.spoil(path, page)
    database = await Database.open(path, repair=True)
    for _ in range(2):
        with pytest.raises(StorageError, match="is damaged"):
            await damage.read(database)
    assert aside(path) == []
    await other.close()
    kept = await damage.read(database)
    assert kept.keys() == wanted.keys()
    assert len(aside(path)) == 1
    await database.close()


async def test_after_a_kill_the_log_is_part_of_the_history(tmp_path: Path, path: Path) -> None:
    await damage.write(path, 2, 10)
    database = await Database.open(path)
    await database.write(damage.EVENT, ("s000", 11, 12.0, damage.data("s000", 11)))
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"killed.db{suffix}")
    wanted = await damage.read(database)
    await database.close()
    killed = tmp_path / "killed.db"
    killed.with_name("killed.db.users").write_text("open")
    assert await repaired(killed) == (wanted, None)


async def test_a_log_that_is_missing_is_said(path: Path) -> None:
    wanted = await damage.write(path)
    left_open(path)
    kept, notice = await repaired(path)
    assert kept == wanted
    assert "its newest messages may be missing" in str(notice).replace("their", "its")
    assert (await repaired(path))[1] is None


async def test_the_log_of_an_emptied_file_still_holds_the_history(tmp_path: Path, path: Path) -> None:
    database = await Database.open(path)
    await damage.add(database, 3, 20)
    wanted = await damage.read(database)
    copy = tmp_path / "copy" / "x.db"
    copy.parent.mkdir()
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    copy.touch()
    await database.close()
    kept, notice = await repaired(copy)
    assert kept == wanted
    assert "it has 3 sessions" in str(notice).lower()


async def test_a_history_that_was_moved_away_begins_anew_without_the_log_of_the_old_one(path: Path) -> None:
    database = await Database.open(path)
    await damage.add(database, 1, 5)
    log = Path(f"{path}-wal").read_bytes()
    await database.close()
    path.unlink()
    Path(f"{path}-wal").write_bytes(log)
    kept, notice = await repaired(path)
    assert kept == {}
    assert "is gone, so an empty history begins" in str(notice)
    (orphan,) = path.parent.glob("x.db.damaged-*-wal")
    assert orphan.read_bytes() == log


async def test_a_death_at_any_moment_of_the_exchange_is_made_good(path: Path) -> None:
    wanted = await damage.write(path)
    contents = path.read_bytes()
    steps = ("-wal", "-shm", "-journal", "")
    for done in range(len(steps) + 1):
        for item in path.parent.glob("x.db*"):
            item.unlink()
        path.with_name("x.db.rebuilt-20260131-120000").write_bytes(contents)
        for place, suffix in enumerate(steps):
            name = "x.db.damaged-20260131-120000" if place < done else "x.db"
            path.with_name(f"{name}{suffix}").write_bytes(b"old" + suffix.encode())
        # Whoever comes first ends it, and be it a command that repairs nothing itself.
        database = await Database.open(path, repair=done % 2 == 0)
        assert await damage.read(database) == wanted
        assert "rebuilt" in str(database.notice)
        await database.close()
        found = list(path.parent.glob("x.db.damaged-*"))
        old = {item.name.removeprefix("x.db.damaged-20260131-120000"): item.read_bytes() for item in found}
        assert old == {suffix: b"old" + suffix.encode() for suffix in steps if suffix != "-shm"}


async def test_without_room_to_rebuild_nothing_changes(path: Path) -> None:
    await damage.write(path)
    path.write_bytes(b"noise" * 5000)
    path.with_name("x.db.draft").mkdir()
    with pytest.raises(StorageError, match=r"could not be rebuilt.*Nothing was changed"):
        await Database.open(path, repair=True)
    assert path.read_bytes() == b"noise" * 5000


async def test_a_clean_start_reads_no_more_than_it_needs(path: Path) -> None:
    await damage.write(path)
    for page, (name, _) in owners(path).items():
        if name == "events":
            damage.spoil(path, page)
    database = await Database.open(path, repair=True)
    assert database.notice is None
    await database.close()


async def test_a_check_ends_in_time(path: Path) -> None:
    await damage.write(path, 50, 1000)
    assert integrity.CHECK_SECONDS <= 1.0
    assert await asyncio.to_thread(checks.structure, path, 0.001) is None
    assert await asyncio.to_thread(checks.structure, path, 60) is None
