"""Opening SQLite files to read them, and making files and renames last."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""
PAGE = 4096
"""Bytes of a page: SQLite's default, with which all our files are made."""
TOLERANT = "PRAGMA writable_schema = ON; PRAGMA cell_size_check = ON; PRAGMA query_only = ON;"
"""Have a connection open files that are shorter than they say, and schemas with broken entries."""


@contextlib.contextmanager
def reader(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection that leaves the file and its log as they are. Raises `sqlite3.Error`."""
    # A transaction that broke off before there was a log can only be taken back by writing.
    mode = "rw" if beside(path, "-journal").exists() else "ro"
    uri = f"file:{quote(str(path))}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def new(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection to a new private file that nobody else sees yet; durable when it is left.

    What is there already is removed. Raises `sqlite3.Error` and `OSError`.
    """
    remove(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        yield connection
    sync(path)


def beside(path: Path, suffix: str) -> Path:
    """The file whose name is this one's with a suffix."""
    return path.with_name(path.name + suffix)


def size(path: Path) -> int | None:
    """The file's size in bytes; None when there is none. Raises `OSError`."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Remove a database and what is beside it."""
    for suffix in ("", *SIDE_FILES):
        beside(path, suffix).unlink(missing_ok=True)


def place(draft: Path, path: Path) -> None:
    """Give the finished `draft` its name, and make that last. Raises `OSError`."""
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the contents of a file, or the names in a folder, survive a power cut. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
