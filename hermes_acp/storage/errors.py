"""What can go wrong with the database, as sentences that say what to do about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""The file is not what SQLite wrote."""
FAULTS = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""The system refuses; a connection that met one of these may be useless when the cause is gone."""
UNDECODABLE = "Could not decode to UTF-8"


class StorageError(Exception):
    """The database cannot be read or written; `str()` says why and what to do."""


class Damaged(sqlite3.DatabaseError):
    """The file is one that SQLite can read, but its contents make no sense."""


def code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for errors that are not its own."""
    # Python's own complaints (a wrong number of arguments) are `sqlite3.Error`s without a code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether the error says that the file's contents are damaged."""
    return isinstance(error, Damaged) or code(error) in DAMAGE or UNDECODABLE in str(error)


def is_fault(error: BaseException) -> bool:
    """Whether the system refused to read or write."""
    return code(error) in FAULTS or isinstance(error, OSError)


def is_busy(error: BaseException) -> bool:
    """Whether another process was in the way."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(path: Path, error: BaseException) -> str:
    """A sentence for the user about a file, and what to do."""
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return "A name or text is not valid Unicode, so it cannot be stored. Rename it, or send other text."
    text = str(error)
    if is_damage(error):
        return (
            f"{path} is damaged ({text}). The agent repairs it when an editor uses it next and "
            "nothing else has it open. Move it away to start with an empty history."
        )
    if code(error) == sqlite3.SQLITE_FULL or "No space" in text or "quota" in text:
        return f"The disk is full: {path} could not be written. Free some space and try again."
    if code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or "Read-only" in text or "ermi" in text:
        return f"{path} cannot be written ({text}). Check the permissions of its folder."
    if "no such module: fts5" in text:
        return (
            f"{path} cannot be used: the SQLite of this Python lacks FTS5, the full-text search. "
            "Install hermes-editor with another Python, such as the one of python.org or of uv."
        )
    if "Too many open files" in text:
        return f"{path} cannot be opened: too many files are open. Close some sessions, then try again."
    if code(error) == sqlite3.SQLITE_IOERR:
        return f"{path} could not be read or written ({text}). Check that the disk has space and works."
    if code(error) == sqlite3.SQLITE_CANTOPEN:
        return f"{path} cannot be used: {text}. Too many open files or a missing folder can be the reason."
    return f"{path} cannot be used: {text}."
