"""The table of sessions: what `session/list` shows and what survives a restart besides events."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import orjson

from hermes_acp.records import record
from hermes_acp.storage.database import Database, Row, Value

PAGE = 50
"""Sessions on one page of a listing."""
BAD_CURSOR = "The cursor is not one that a listing gave: list from the beginning, without a cursor."

COLUMNS = (
    "session_id, project, cwd, real_cwd, additional_directories, "
    "title, mode, model, effort, created_at, updated_at, isolation, worktree"
)


@record
class SessionRow:
    """One session; paths absolute, times in seconds since the epoch.

    `worktree` is the path of its own worktree, empty as long as it has none; whether it works there or
    in `cwd` says `isolation`.
    """

    session_id: str
    project: str
    cwd: str
    real_cwd: str
    additional_directories: tuple[str, ...]
    title: str | None
    mode: str
    model: str
    effort: str
    created_at: float
    updated_at: float
    isolation: str = "in_place"
    worktree: str = ""


@record
class Page:
    """A part of a listing, newest first, and where it goes on."""

    rows: tuple[SessionRow, ...]
    next_cursor: str | None


@record
class Whereabouts:
    """A place of a project: the name by which sessions know it, and its top folder."""

    key: str
    root: str


class BadCursor(ValueError):
    """The cursor was not made by `SessionTable.page`."""


class SessionTable:
    """Reads and writes session rows. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, session: SessionRow) -> None:
        """Add a session; it is on disk on return."""
        await self._database.write(
            f"INSERT INTO sessions ({COLUMNS}) VALUES ({', '.join('?' * 13)})", _values(session)
        )

    async def get(self, session_id: str) -> SessionRow | None:
        """The session with this id."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM sessions WHERE session_id = ?", (session_id,)
        )
        return _session(rows[0]) if rows else None

    async def page(
        self, real_cwd: str | None = None, cursor: str | None = None, projects: Sequence[str] = ()
    ) -> Page:
        """Up to `PAGE` sessions, newest first, of all folders, or of one and of `projects`.

        Raises `BadCursor`.
        """
        clauses = ["1"]
        args: list[Value] = []
        if real_cwd is not None:
            clauses.append(f"(real_cwd = ? OR project IN ({', '.join('?' * len(projects))}))")
            args += [real_cwd, *projects]
        if cursor is not None:
            clauses.append("(updated_at, session_id) < (?, ?)")
            args += _decode(cursor)
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM sessions WHERE {' AND '.join(clauses)} "
            f"ORDER BY updated_at DESC, session_id DESC LIMIT {PAGE + 1}",
            args,
        )
        sessions = tuple(_session(item) for item in rows[:PAGE])
        return Page(sessions, _encode(sessions[-1]) if len(rows) > PAGE else None)

    async def set_title(self, session_id: str, title: str) -> None:
        """Name the session."""
        await self._database.write("UPDATE sessions SET title = ? WHERE session_id = ?", (title, session_id))

    async def set_options(self, session_id: str, mode: str, model: str, effort: str) -> None:
        """Keep the session's options."""
        await self._database.write(
            "UPDATE sessions SET mode = ?, model = ?, effort = ? WHERE session_id = ?",
            (mode, model, effort, session_id),
        )

    async def set_isolation(self, session_id: str, isolation: str, worktree: str) -> None:
        """Keep where the session works, and the path of its worktree."""
        await self._database.write(
            "UPDATE sessions SET isolation = ?, worktree = ? WHERE session_id = ?",
            (isolation, worktree, session_id),
        )

    async def set_directories(self, session_id: str, directories: tuple[str, ...]) -> None:
        """Replace the additional directories."""
        await self._database.write(
            "UPDATE sessions SET additional_directories = ? WHERE session_id = ?",
            (orjson.dumps(directories).decode(), session_id),
        )

    async def move(self, old: Whereabouts, new: Whereabouts) -> None:
        """The project lives in another place now; its sessions there work in the same folders of it."""
        moved = "CASE WHEN real_cwd = ?2 OR substr(real_cwd, 1, length(?2) + 1) = ?2 || '/' " + (
            "THEN ?4 || substr(real_cwd, length(?2) + 1) ELSE {0} END"
        )
        await self._database.write(
            f"UPDATE sessions SET cwd = {moved.format('cwd')}, real_cwd = {moved.format('real_cwd')}, "
            "project = ?3 WHERE project = ?1",
            (old.key, old.root, new.key, new.root),
        )

    async def delete(self, session_id: str) -> bool:
        """Remove the session and its events; False when there was none."""
        return await self._database.write("DELETE FROM sessions WHERE session_id = ?", (session_id,)) > 0


def _values(session: SessionRow) -> tuple[Value, ...]:
    return (
        session.session_id,
        session.project,
        session.cwd,
        session.real_cwd,
        orjson.dumps(session.additional_directories).decode(),
        session.title,
        session.mode,
        session.model,
        session.effort,
        session.created_at,
        session.updated_at,
        session.isolation,
        session.worktree,
    )


def _session(item: Row) -> SessionRow:
    session_id, project, cwd, real_cwd, directories, title, mode, model, effort, *rest = item
    return SessionRow(
        session_id,
        project,
        cwd,
        real_cwd,
        tuple(orjson.loads(directories)),
        title,
        mode,
        model,
        effort,
        *rest,
    )


def _encode(session: SessionRow) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([session.updated_at, session.session_id])).decode()


def _decode(cursor: str) -> tuple[float, str]:
    try:
        match orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii"))):
            case [float() | int() as updated_at, str() as session_id]:
                return float(updated_at), session_id
            case _:
                raise BadCursor(BAD_CURSOR)
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError) as error:
        raise BadCursor(BAD_CURSOR) from error
