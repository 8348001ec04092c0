"""The stored sessions, as the commands about them read them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

import orjson

from hermes_acp import config
from hermes_acp.cli.command import table
from hermes_acp.events import Envelope
from hermes_acp.policy.rules.rules import visible
from hermes_acp.records import record
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.session_search import Hit, beginning_with, search, unended
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.storage.words import Words

SHOWN = 10
"""Sessions that are named when the beginning of an id fits several."""
ALL = 1_000_000
"""More sessions than there are."""


class NoSession(Exception):
    """What was typed names no session, or several; `str()` says which."""


@record
class Store:
    """What is stored; `database` is None where nothing ever was. All methods raise `StorageError`."""

    paths: config.Paths
    database: ReadOnlyDatabase | None

    @classmethod
    async def open(cls, paths: config.Paths) -> Store:
        """The sessions of a user. Looking for them creates nothing."""
        return cls(paths, await ReadOnlyDatabase.existing(paths.database))

    async def newest(
        self, real_cwd: str | None, limit: int, projects: Sequence[str] = ()
    ) -> list[SessionRow]:
        """Up to `limit` sessions, of all or of one folder and of `projects`, newest first."""
        rows: list[SessionRow] = []
        cursor: str | None = None
        # Ends with the limit or with the last page, whichever comes first.
        while self.database is not None and len(rows) < limit:
            page = await SessionTable(self.database).page(real_cwd, cursor, projects)
            rows += page.rows
            cursor = page.next_cursor
            if cursor is None:
                break
        return rows[: max(0, limit)]

    async def all(self) -> list[SessionRow]:
        """Every session of this moment, however many are used meanwhile."""
        return [] if self.database is None else await beginning_with(self.database, "", ALL)

    async def chosen(self, typed: str) -> SessionRow:
        """The session with this id, or the only one whose id begins so. Raises `NoSession`."""
        rows: list[SessionRow] = []
        if self.database is not None and typed.isascii() and typed:
            rows = await beginning_with(self.database, typed, SHOWN + 1)
        if not rows:
            raise NoSession(
                f"There is no session {visible(typed)!r}: `hermes-editor sessions list` shows them."
            )
        if len(rows) > 1 and rows[0].session_id != typed:
            raise NoSession(_several(typed, rows))
        return rows[0]

    async def events(self, row: SessionRow) -> list[Envelope]:
        """What happened in a session."""
        return [] if self.database is None else await Journal(self.database).read(row.session_id)

    async def search(self, words: Words, real_cwd: str | None, limit: int) -> list[Hit]:
        """Sessions that have all words, best first."""
        return [] if self.database is None else await search(self.database, words, real_cwd, limit)

    async def unended(self, rows: list[SessionRow]) -> set[str]:
        """The ids of those whose last turn has no end."""
        ids = [row.session_id for row in rows]
        return await unended(self.database, ids) if self.database is not None and ids else set()


def columns(row: SessionRow) -> tuple[str, ...]:
    """Id, time, folder and title of a session, fit for a terminal."""
    return (row.session_id, when(row), visible(row.cwd), visible(row.title or "-"))


def when(row: SessionRow) -> str:
    """The local time at which a session was used last."""
    return datetime.fromtimestamp(row.updated_at).astimezone().strftime("%Y-%m-%d %H:%M")


def print_json(what: object) -> None:
    """Print JSON for people and programs; always in UTF-8."""
    print_bytes(orjson.dumps(what, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def print_bytes(data: bytes) -> None:
    """Write to standard output what has its encoding already."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def _several(typed: str, rows: list[SessionRow]) -> str:
    many = f"{len(rows)}" if len(rows) <= SHOWN else f"More than {SHOWN}"
    listing = table([columns(row) for row in rows[:SHOWN]])
    return f"{many} sessions begin with {visible(typed)!r}. Type more of the id:\n{listing}"
