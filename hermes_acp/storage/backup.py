"""Copies of a database: consistent while it is written, checked, and put in place in one step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hermes_acp.storage import checks, files
from hermes_acp.storage.errors import StorageError, explain

FOLDER = "backups"
KEPT = 5
"""Copies in the folder of backups; older ones are removed."""
STEP = 256
"""Pages copied at a time (1 MiB): between two steps a copy can be abandoned."""
DAY = 24 * 3600.0
"""Seconds after which there is a new copy without being asked."""
LOOK_EVERY = 3600.0
"""Seconds between two looks whether a copy is due."""
FIRST_LOOK = 30.0
"""Seconds after the start, which is not to be slowed down."""
AUTOMATIC_LIMIT = 64 * 1024 * 1024
"""Bytes up to which copies are made without being asked: five of them stay a moderate guest."""
FREE_FACTOR = 4
"""A copy that nobody asked for leaves at least this many times its size free."""

logger = logging.getLogger(__name__)


class DatabaseDamaged(StorageError):
    """The copy is damaged, hence its original, too; `str()` says what is wrong."""


class _Abandoned(Exception):
    """Whoever wanted the copy has been cancelled."""


async def make(path: Path, target: Path | None = None) -> Path:
    """Copy the database to `target`, or to a file with the date among the newest `KEPT` backups.

    Anybody may write meanwhile: the copy is the state at its beginning, and waits for nobody.
    Raises `StorageError`, for a target that exists, too. A cancelled copy leaves nothing behind.
    """
    abandoned = threading.Event()
    try:
        return await asyncio.to_thread(_make, path, target, abandoned)
    except asyncio.CancelledError:
        abandoned.set()
        raise


async def daily(path: Path, doubt: Callable[[], None]) -> None:
    """Keep a copy that is not older than a day, until cancelled; `doubt` is told of damage.

    Files above `AUTOMATIC_LIMIT` and disks with little room are left alone.
    """
    delay = FIRST_LOOK
    while True:
        await asyncio.sleep(delay)
        delay = LOOK_EVERY
        try:
            if await asyncio.to_thread(is_due, path, time.time()):
                await make(path)
        except DatabaseDamaged:
            doubt()
        except StorageError as error:
            logger.warning("no backup today: %s", error)


def is_due(path: Path, now: float) -> bool:
    """Whether a copy should be made unasked at this time (seconds since the epoch)."""
    try:
        size = path.stat().st_size
        room = os.statvfs(path.parent)
        last = newest(path)
        # A copy from the future is one from before the clock was set right.
        age = DAY if last is None else now - last.stat().st_mtime
    except OSError:
        return False
    fits = 0 < size <= AUTOMATIC_LIMIT and room.f_bavail * room.f_frsize >= FREE_FACTOR * size
    return fits and not 0 <= age < DAY


def newest(path: Path) -> Path | None:
    """The last backup of a database. Raises `OSError`."""
    copies = _copies(path)
    return copies[-1] if copies else None


def _make(path: Path, target: Path | None, abandoned: threading.Event) -> Path:
    try:
        if files.size(path) is None:
            raise StorageError(f"There is nothing to back up: {path} does not exist yet.")
        if target is not None:
            _copy(path, target, abandoned)
            return target
        folder = path.parent / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        chosen = _free_name(path)
        _copy(path, chosen, abandoned)
        for old in _copies(path)[:-KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"No backup was made. {explain(target or path, error)}") from error
    return chosen


def _copy(path: Path, target: Path, abandoned: threading.Event) -> None:
    if os.path.lexists(target):
        raise StorageError(f"{target} exists already. Name another file, or remove it first.")
    draft = files.beside(target, f".{os.urandom(4).hex()}.tmp")

    def progress(*_: int) -> None:
        if abandoned.is_set():
            raise _Abandoned

    try:
        with contextlib.suppress(_Abandoned):
            with files.reader(path) as source, files.new(draft) as copy:
                # One transaction from the first page to the last: writers neither wait nor disturb.
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                source.backup(copy, pages=STEP, progress=progress, sleep=0)
                # One file without a log beside it, wherever it is carried.
                copy.execute("PRAGMA journal_mode = DELETE")
            if problem := checks.structure(draft) or checks.contents(draft):
                raise DatabaseDamaged(f"No backup was made: {path} is damaged ({problem}).")
            progress()
            files.place(draft, target)
    finally:
        files.remove(draft)


def _free_name(path: Path) -> Path:
    """A name with the date, behind those of the copies that are there."""
    stem = datetime.now().strftime(f"{path.stem}-%Y%m%d-%H%M%S")
    names = (stem, *(f"{stem}-{number:02}" for number in range(2, 100)))
    paths = (path.parent / FOLDER / f"{name}{path.suffix}" for name in names)
    return next(candidate for candidate in paths if not candidate.exists())


def _copies(path: Path) -> list[Path]:
    """The backups in the folder, the oldest first, as the clock was when they were made."""
    pattern = f"{path.stem}-????????-??????*{path.suffix}"
    return sorted((path.parent / FOLDER).glob(pattern), key=lambda copy: copy.stat().st_mtime)
