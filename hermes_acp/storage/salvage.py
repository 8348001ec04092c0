"""Reads what can be read of a damaged database into a new one, row by row, and from its backup.

Events are never changed once they are written, so those of a backup fill the holes exactly. What is
a hole even then is closed by numbering the session's events anew; the file's `user_version` counts
how often that happened, and a backup of another count only gives sessions that are lost altogether.
Rules are not taken from a backup: a permission that was revoked since then must not come back.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.storage import files, schema
from hermes_acp.storage.damaged import Row, Source, Table, tables
from hermes_acp.storage.files import PAGE

HEADER = 100
"""Bytes at the beginning of the first page that describe the file; below, parts of them."""
FORMAT = slice(18, 20)
FREE_PAGES = slice(32, 40)
RENUMBERED = slice(60, 64)
VALID_FOR = slice(92, 96)
ON_FIRST_PAGE = "0004_isolation.sql"
"""The last migration whose tables are still described on the first page; those behind it can be made anew."""
COUNTS = 1 << 31
"""The `user_version` is smaller."""

ADOPT = """
INSERT OR IGNORE INTO sessions
    (session_id, project, cwd, real_cwd, title, mode, model, effort, created_at, updated_at)
SELECT session_id, cwd, cwd, cwd, NULL, 'ask', '', 'default', at, at
FROM (SELECT session_id, at, json_extract(data, '$.cwd') AS cwd FROM events WHERE seq = 1)
WHERE cwd IS NOT NULL
"""
"""Sessions whose row is lost come back with what their first event says about them."""
TOUCH = """
UPDATE sessions SET updated_at = max(
    updated_at, coalesce((SELECT max(at) FROM events WHERE events.session_id = sessions.session_id), 0)
)
"""
WITH_HOLES = "SELECT session_id FROM events GROUP BY session_id HAVING max(seq) <> count(*)"


@record
class Found:
    """What a rebuilt database holds; `from_backup` of its events come from the file `backup`.

    `holes` counts the places where events are missing between others, `whole` and `rules` say whether
    all events and all rules were read.
    """

    sessions: int
    events: int
    whole: bool
    rules: bool
    holes: int
    from_backup: int
    backup: Path | None


def rebuild(path: Path, backup: Path | None, draft: Path) -> Found:
    """Write all that is readable to the new file `draft`. Raises `sqlite3.Error` and `OSError`."""
    with files.new(draft) as target:
        target.execute("PRAGMA journal_mode = MEMORY")
        schema.migrate(target, draft, ON_FIRST_PAGE)
        blank = draft.read_bytes()[:PAGE]
        schema.migrate(target, draft)
        triggers = target.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            # What they do has been done in the damaged file.
            target.execute(f"DROP TRIGGER {name}")
        target.execute("BEGIN")
        found = _fill(target, path, backup, blank)
        target.execute("COMMIT")
        for _, sql in triggers:
            target.execute(sql)
        target.execute("PRAGMA journal_mode = WAL")
    return found


def _fill(target: sqlite3.Connection, path: Path, backup: Path | None, blank: bytes) -> Found:
    wanted = [table for table in tables(target) if table.name != "migrations"]
    whole: set[str] = set()
    renumbered: int | None = None
    for source in _views(path, backup, blank):
        renumbered = source.renumbered if renumbered is None else renumbered
        whole |= _take(target, source, wanted)
        if all(source.narrowed(table) for table in wanted):
            break
    own = _count(target, "events")
    if backup is not None:
        renumbered = _complete(target, backup, renumbered, wanted)
    from_backup = _count(target, "events") - own
    target.execute(ADOPT)
    for table in wanted:
        _remove_orphans(target, table.name)
    holes = _close_holes(target)
    target.execute(TOUCH)
    target.execute(f"PRAGMA user_version = {((renumbered or 0) + (holes > 0)) % COUNTS}")
    sessions, events = _count(target, "sessions"), _count(target, "events")
    return Found(sessions, events, "events" in whole, "rules" in whole, holes, from_backup, backup)


def _take(target: sqlite3.Connection, source: Source, wanted: list[Table]) -> set[str]:
    """Copy all that can be read: the names of the tables that were read without an error."""
    whole: set[str] = set()
    for table in filter(None, map(source.narrowed, wanted)):
        source.whole = True
        _insert(target, table, source.rows(table))
        if source.whole:
            whole.add(table.name)
        elif table.name in ("sessions", "events"):
            known = target.execute("SELECT session_id FROM sessions UNION SELECT session_id FROM events")
            for session_id in sorted({row[0] for row in known} | source.session_ids()):
                _insert(target, table, source.of_session(table, session_id))
    return whole


def _complete(
    target: sqlite3.Connection, backup: Path, renumbered: int | None, wanted: list[Table]
) -> int | None:
    """Take from the backup the sessions and events that are missing; the count that holds then."""
    known = {row[0] for row in target.execute("SELECT session_id FROM sessions")}
    with contextlib.suppress(sqlite3.Error), files.reader(backup) as connection:
        source = Source(connection)
        renumbered = source.renumbered if renumbered is None else renumbered
        same = source.renumbered == renumbered
        for table in filter(None, map(source.narrowed, wanted)):
            if table.name in ("sessions", "events"):
                _insert(target, table, (row for row in source.rows(table) if same or row[0] not in known))
    return renumbered


def _insert(target: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> None:
    marks = ", ".join("?" * len(table.columns))
    target.executemany(
        f"INSERT OR IGNORE INTO {table.name} ({table.names}) VALUES ({marks})", filter(table.fits, rows)
    )


def _remove_orphans(target: sqlite3.Connection, table: str) -> None:
    """Remove the rows whose session is lost."""
    for _, _, parent, column, key, *_ in target.execute(f"PRAGMA foreign_key_list({table})").fetchall():
        target.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT {key} FROM {parent})")


def _close_holes(target: sqlite3.Connection) -> int:
    """Number the events of all sessions without a gap; how many gaps there were."""
    holes = 0
    for (session_id,) in target.execute(WITH_HOLES).fetchall():
        numbers = target.execute("SELECT seq FROM events WHERE session_id = ? ORDER BY seq", (session_id,))
        last = 0
        for place, (seq,) in enumerate(numbers.fetchall(), 1):
            holes += seq != last + 1
            last = seq
            target.execute(
                "UPDATE events SET seq = ? WHERE session_id = ? AND seq = ?", (place, session_id, seq)
            )
    return holes


def _views(path: Path, backup: Path | None, blank: bytes) -> Iterator[Source]:
    """The damaged file as it is, then with other first pages, as long as somebody asks for more."""
    # SQLite would remove the log of an empty file.
    if files.size(path):
        with contextlib.suppress(sqlite3.Error), files.reader(path) as connection:
            yield Source(connection)
    copy = files.beside(path, ".copy")
    for page in _first_pages(path, backup, blank):
        try:
            _copy(path, copy, page)
            with contextlib.suppress(sqlite3.Error), files.reader(copy) as connection:
                yield Source(connection)
        finally:
            files.remove(copy)


def _first_pages(path: Path, backup: Path | None, blank: bytes) -> list[bytes]:
    """First pages to try when the file's own cannot be used; they say where its tables begin."""
    pages: list[bytes] = []
    for file in filter(None, (path, backup)):
        with file.open("rb") as opened:
            page = opened.read(PAGE)
        if len(page) == PAGE:
            # The schema as it is there, behind a header as it should be.
            pages.append(blank[:HEADER] + page[HEADER:])
    return [*pages, blank]


def _copy(path: Path, copy: Path, page: bytes) -> None:
    """Copy the file and its log, with another first page."""
    files.remove(copy)
    shutil.copyfile(path, copy)
    log = files.beside(path, "-wal")
    if log.exists():
        shutil.copyfile(log, files.beside(copy, "-wal"))
    first = bytearray(page)
    first[FORMAT] = b"\x02\x02" if log.exists() else b"\x01\x01"
    first[FREE_PAGES] = bytes(8)
    # The number of pages in the header counts only while this equals the number of changes.
    first[VALID_FOR] = b"\xff" * 4
    with copy.open("r+b") as file:
        own = file.read(HEADER)
        first[RENUMBERED] = own[RENUMBERED] if len(own) == HEADER else first[RENUMBERED]
        file.seek(0)
        file.write(first)


def _count(target: sqlite3.Connection, table: str) -> int:
    return int(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
