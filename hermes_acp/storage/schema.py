"""Brings a database to the schema of this version, and refuses those that are not ours to touch."""

from __future__ import annotations

import functools
import re
import sqlite3
import time
from importlib import resources
from pathlib import Path

from hermes_acp.storage.errors import Damaged, StorageError

MIGRATIONS = "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"
NAME = re.compile(r"\d{4}_\w+\.sql")


def pending(connection: sqlite3.Connection, path: Path) -> list[str]:
    """The migrations that the database lacks.

    Raises `StorageError` when it is not one of ours, and `Damaged` when migrations are missing in
    between or have names that nobody gave them.
    """
    applied = _applied(connection, path)
    known = names()
    newer = applied[len(known) :]
    if applied[: len(known)] != list(known[: len(applied)]) or not all(map(NAME.fullmatch, newer)):
        raise Damaged(f"its migrations are {', '.join(applied)}")
    if newer:
        raise StorageError(
            f"{path} was written by a newer version of hermes-editor ({newer[-1]}). "
            "Nothing was changed. Update hermes-editor to use it."
        )
    return list(known[len(applied) :])


def migrate(connection: sqlite3.Connection, path: Path, last: str | None = None) -> None:
    """Apply what is pending, up to `last`: all of it or, when it raises, nothing.

    Needs the writers' lock.
    """
    wanted = [name for name in pending(connection, path) if last is None or name <= last]
    # In one transaction, so that the log of a new file has each page once: it must fit on a small disk.
    script = "".join(map(_step, wanted))
    try:
        connection.executescript(f"BEGIN IMMEDIATE;{MIGRATIONS};{script}COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@functools.cache
def names() -> tuple[str, ...]:
    """The migrations of this version, in order."""
    folder = resources.files("hermes_acp.storage.migrations")
    return tuple(sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql")))


def _step(name: str) -> str:
    text = (resources.files("hermes_acp.storage.migrations") / name).read_text("utf-8")
    return f"INSERT INTO migrations VALUES ('{name}', {time.time()});{text};"


def _applied(connection: sqlite3.Connection, path: Path) -> list[str]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" in tables:
        return sorted(str(name) for (name,) in connection.execute("SELECT name FROM migrations"))
    if tables:
        raise StorageError(
            f"{path} is the database of another program. Nothing was changed. "
            "Move it away, or set HERMES_EDITOR_HOME to another folder."
        )
    return []
