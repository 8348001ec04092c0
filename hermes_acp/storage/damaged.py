"""Reads the rows of a database around the pages that cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

from hermes_acp.records import record
from hermes_acp.storage.checks import Cell, is_event
from hermes_acp.storage.files import TOLERANT

Row: TypeAlias = tuple[Cell, ...]

PROBES = 10_000
"""Queries spent on the readable rows between the damaged pages of a file."""
HIGHEST = 1 << 24
"""No session has as many events."""
KINDS: dict[str, tuple[type, ...]] = {"TEXT": (str,), "INTEGER": (int,), "REAL": (int, float)}


@record
class Column:
    """A column as it is declared."""

    name: str
    kind: str
    needed: bool

    def fits(self, cell: Cell) -> bool:
        """Whether the column can have this value: what was read may come from anywhere."""
        return not self.needed if cell is None else isinstance(cell, KINDS.get(self.kind, (object,)))


ROWID = Column("rowid", "INTEGER", needed=True)


@record
class Table:
    """A table as it should be; `key` orders its rows."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> str:
        """The columns, as SQL has them."""
        return ", ".join(column.name for column in self.columns)

    def fits(self, row: Row) -> bool:
        """Whether this can be a row of the table."""
        if not all(column.fits(cell) for column, cell in zip(self.columns, row, strict=True)):
            return False
        return self.name != "events" or is_event(row[-1])


def tables(connection: sqlite3.Connection) -> list[Table]:
    """The tables of a database, without the virtual ones and what belongs to these."""
    listed = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = tuple(name for name, sql in listed if str(sql).upper().startswith("CREATE VIRTUAL"))
    hidden = ("sqlite_", *(f"{name}_" for name in virtual))
    # In a damaged schema a name can be anything.
    names = (name for name, _ in listed if isinstance(name, str) and name.isidentifier())
    return [_table(connection, name) for name in names if name not in virtual and not name.startswith(hidden)]


class Source:
    """A file that may be damaged. Reading rows never raises; `whole` tells whether all were read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises `sqlite3.Error` when not even the schema can be read."""
        self._connection = connection
        self._probes = PROBES
        self.whole = True
        connection.executescript(TOLERANT)
        connection.text_factory = _text
        self._there = {table.name: table for table in tables(connection)}

    @property
    def renumbered(self) -> int:
        """The file's `user_version`. Raises `sqlite3.Error`."""
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def narrowed(self, table: Table) -> Table | None:
        """What the file has of the table: one of an older version lacks columns, or all of it."""
        there = self._there.get(table.name)
        if there is None:
            return None
        names = {column.name for column in there.columns}
        if not names.issuperset(table.key):
            return None
        return replace(table, columns=tuple(column for column in table.columns if column.name in names))

    def rows(self, table: Table) -> Iterator[Row]:
        """The rows from both ends of the table, as far as the first page that cannot be read."""
        for direction in ("ASC", "DESC"):
            order = ", ".join(f"{column} {direction}" for column in table.key)
            try:
                yield from self._connection.execute(f"{_select(table)} ORDER BY {order}")
            except sqlite3.Error:
                self.whole = False
            else:
                return

    def session_ids(self) -> set[str]:
        """The sessions that the indexes still know."""
        found: set[str] = set()
        for index in ("sessions_by_time", "sessions_by_cwd"):
            rows, _ = self._read(f"SELECT session_id FROM sessions INDEXED BY {index}", ())
            found |= {row[0] for row in rows if isinstance(row[0], str)}
        return found

    def of_session(self, table: Table, session_id: str) -> Iterator[Row]:
        """The rows of one session, those between damaged pages included."""
        if "seq" not in table.key:
            yield from self._read(f"{_select(table)} WHERE session_id = ?", (session_id,))[0]
            return
        place = next(place for place, column in enumerate(table.columns) if column.name == "seq")
        ranges = [(1, HIGHEST)]
        while ranges and self._probes > 0:
            low, high = ranges.pop()
            if low == high:
                # Asked for by its whole key, a row is read without a look at what comes next.
                sql = f"{_select(table)} WHERE session_id = ? AND seq = ?"
                yield from self._read(sql, (session_id, low))[0]
                continue
            sql = f"{_select(table)} WHERE session_id = ? AND seq BETWEEN ? AND ? ORDER BY seq"
            rising, whole = self._read(f"{sql} ASC", (session_id, low, high))
            yield from rising
            if whole:
                continue
            falling, _ = self._read(f"{sql} DESC", (session_id, low, high))
            yield from falling
            low = _seq(rising, place, low - 1) + 1
            high = _seq(falling, place, high + 1) - 1
            middle = (low + high) // 2
            ranges += [half for half in ((middle + 1, high), (low, middle)) if half[0] <= half[1]]

    def _read(self, sql: str, args: Sequence[Cell]) -> tuple[list[Row], bool]:
        self._probes -= 1
        rows: list[Row] = []
        try:
            rows.extend(cast("Iterator[Row]", self._connection.execute(sql, args)))
        except sqlite3.Error:
            self.whole = False
            return rows, False
        return rows, True


def _table(connection: sqlite3.Connection, name: str) -> Table:
    described = connection.execute(f"PRAGMA table_info({name})").fetchall()
    columns = tuple(
        Column(column, kind, bool(needed or key)) for _, column, kind, needed, _, key in described
    )
    key = sorted((place, column) for _, column, _, _, _, place in described if place)
    if not key:
        # Rows without a key of their own keep their order, and are not taken twice.
        return Table(name, (ROWID, *columns), (ROWID.name,))
    return Table(name, columns, tuple(column for _, column in key))


def _select(table: Table) -> str:
    return f"SELECT {table.names} FROM {table.name}"


def _seq(rows: list[Row], place: int, otherwise: int) -> int:
    """The number of the last event that was read."""
    last = rows[-1][place] if rows else None
    return last if isinstance(last, int) else otherwise


def _text(raw: bytes) -> str | None:
    """Text, or nothing where it is not UTF-8: the row is dropped then, where it needs the text."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
