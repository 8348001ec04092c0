"""Whether a database is whole: its structure, and the events in it. Reads only, and blocks."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TypeAlias

import orjson

from hermes_acp.storage import files
from hermes_acp.storage.errors import is_damage

Cell: TypeAlias = str | int | float | bytes | None

GAPS = """
SELECT count(*) FROM (
    SELECT session_id FROM events GROUP BY session_id
    HAVING max(seq) <> count(*) OR min(seq) <> 1
        OR session_id IS NULL OR session_id NOT IN (SELECT session_id FROM sessions)
)
"""
"""The sessions of which an event has lost its number or its name."""


def structure(path: Path, seconds: float | None = None) -> str | None:
    """What is wrong with the structure; None when nothing is, or nothing was found in time.

    Raises `sqlite3.Error` when the file cannot be read for reasons other than damage.
    """
    try:
        with files.reader(path) as connection, _limited(connection, seconds) as late:
            row = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if is_damage(error):
            return str(error)
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    except UnicodeDecodeError:
        # SQLite's own sentence quotes the damaged schema.
        return "its schema is no text any more"
    return None if row == ("ok",) or late.is_set() else str(row[0])


def contents(path: Path) -> str | None:
    """What is wrong with the events of a database whose structure is whole. Raises `sqlite3.Error`.

    SQLite has no checksums: a text of which a byte has changed is found only by reading it.
    """
    with files.reader(path) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone()
        if tables == (0,):
            return None
        if (gaps := connection.execute(GAPS).fetchone()) != (0,):
            return f"{gaps[0]} sessions lack events"
        broken = sum(not is_event(data) for (data,) in connection.execute("SELECT data FROM events"))
    return f"{broken} events cannot be read" if broken else None


def is_event(data: Cell) -> bool:
    """Whether this is the text of an event: JSON with a type."""
    if not isinstance(data, str | bytes):
        return False
    try:
        match orjson.loads(data):
            case {"type": str()}:
                return True
            case _:
                return False
    except orjson.JSONDecodeError:
        return False


@contextlib.contextmanager
def _limited(connection: sqlite3.Connection, seconds: float | None) -> Generator[threading.Event, None, None]:
    """Interrupt the connection after a while; the event says whether that happened."""
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        connection.interrupt()

    if seconds is None:
        yield late
        return
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        # Not later: an interrupt of a connection that is closed would crash.
        timer.join()
