"""All sessions of a server: makes, opens, lists, closes and deletes them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from hermes_acp.agent import ids
from hermes_acp.agent.approvals import Approvals
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.models import Models
from hermes_acp.agent.session import Services, Session
from hermes_acp.agent.turn import Place
from hermes_acp.config import Settings
from hermes_acp.events import SessionStarted
from hermes_acp.policy.effects import Mode
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import Page, SessionRow, SessionTable
from hermes_acp.tools.base import SessionTools
from hermes_acp.tools.mcp_config import McpServer
from hermes_acp.workspace import project
from hermes_acp.workspace.documents import Documents, EditorFiles
from hermes_acp.workspace.execution.base import Execution

logger = logging.getLogger(__name__)

OPEN_BOUND = 1_000
"""Sessions that may be open at once."""


class UnknownSession(Exception):
    """There is no session with this id; `str()` says so."""


class BadPlace(Exception):
    """A folder cannot be used for a session; `str()` says which and why."""


@dataclass(frozen=True, slots=True)
class Loan:
    """What an editor does for one session: its buffers, and its terminals for commands."""

    files: EditorFiles | None = None
    execution: Execution | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How a window opens a session: where, with what, and what the editor lends."""

    cwd: str
    additional_directories: tuple[str, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    lend: Callable[[str], Loan] | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sessions of a server share."""

    table: SessionTable
    journal: Journal
    rules: Rules
    claims: Claims
    execution: Execution
    tools: Callable[[tuple[McpServer, ...], Place], Awaitable[SessionTools]]
    models: Models
    env: Mapping[str, str]
    protected: tuple[str, ...]
    settings: Settings


class Sessions:
    """The sessions of one server. `run` must be running for them to live."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._open: dict[str, tuple[Session, asyncio.Task[None]]] = {}
        self._tasks = asyncio.TaskGroup()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep the sessions alive until cancelled, then end them all."""
        async with self._tasks:
            await self._stopping.wait()

    def get(self, session_id: str) -> Session | None:
        """The session if it is open."""
        entry = self._open.get(session_id)
        return entry[0] if entry else None

    async def create(self, opening: Opening) -> Session:
        """Make a session. Raises `BadPlace`, `LoginNeeded` and `StorageError`."""
        settings = self._shared.settings
        real_cwd, roots = await _check(opening)
        model = await self._shared.models.default()
        now = time.time()
        row = SessionRow(
            session_id=ids.session(),
            project=(await project.find_project(real_cwd)).key,
            cwd=opening.cwd,
            real_cwd=real_cwd,
            additional_directories=opening.additional_directories,
            title=None,
            mode=settings.mode,
            model=model,
            effort=settings.effort,
            created_at=now,
            updated_at=now,
        )
        await asyncio.to_thread(self._shared.claims.claim, row.session_id)
        await self._shared.table.create(row)
        self._tasks.create_task(self._shared.models.warm(model))
        session = self._start(row, roots, opening, seq=0)
        session.hub.publish(SessionStarted(opening.cwd, opening.additional_directories))
        return session

    async def open(self, session_id: str, opening: Opening) -> Session:
        """Open an existing session; one that is open already is given as it is while it works.

        Raises `UnknownSession`, `SessionInUse`, `BadPlace` and `StorageError`.
        """
        row = await self._shared.table.get(session_id)
        if row is None:
            raise UnknownSession(f"There is no session {session_id!r}.")
        real_cwd, roots = await _check(opening)
        if real_cwd != row.real_cwd:
            raise BadPlace(f"This session belongs to {row.cwd}, not to {opening.cwd}.")
        if (session := self.get(session_id)) is not None:
            if session.busy or session.hub.watched:
                return session
            await self.close(session_id)
        await asyncio.to_thread(self._shared.claims.claim, session_id)
        if opening.additional_directories != row.additional_directories:
            row = replace(row, additional_directories=opening.additional_directories)
            await self._shared.table.set_directories(session_id, opening.additional_directories)
        last_seq = await self._shared.journal.last_seq(session_id)
        return self._start(row, roots, opening, last_seq)

    async def page(self, cwd: str | None, cursor: str | None) -> Page:
        """A page of all sessions, newest first. Raises `BadCursor` and `StorageError`."""
        real_cwd = None if cwd is None else await asyncio.to_thread(os.path.realpath, cwd)
        return await self._shared.table.page(real_cwd, cursor)

    async def close(self, session_id: str) -> bool:
        """End the session's turn and free what it holds; False when it was not open."""
        entry = self._open.pop(session_id, None)
        if entry is None:
            return False
        entry[1].cancel()
        await asyncio.wait([entry[1]])
        return True

    async def delete(self, session_id: str) -> bool:
        """Close the session and forget it; False when there was none."""
        await self.close(session_id)
        return await self._shared.table.delete(session_id)

    def _start(self, row: SessionRow, roots: tuple[str, ...], opening: Opening, seq: int) -> Session:
        if len(self._open) >= OPEN_BOUND:
            raise BadPlace(f"{OPEN_BOUND} sessions are open, which is the limit: close some first.")
        shared = self._shared
        loan = opening.lend(row.session_id) if opening.lend else Loan()
        documents = Documents(roots, loan.files)
        place = Place(row.real_cwd, roots, documents, loan.execution or shared.execution)
        hub = Hub(row.session_id, shared.journal, seq, row.updated_at)
        approvals = Approvals(
            session_id=row.session_id,
            project=row.project,
            roots=roots,
            protected=shared.protected,
            mode=cast("Mode", row.mode),
            store=shared.rules,
            answerable=lambda: hub.answerable,
        )
        services = Services(
            shared.journal, shared.table, shared.models, shared.settings.max_steps, shared.env
        )
        tools = partial(shared.tools, opening.mcp_servers, place)
        session = Session(row, services, place, tools, hub, approvals)
        self._open[row.session_id] = (session, self._tasks.create_task(self._live(session)))
        return session

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:  # boundary: a broken session ends alone
            logger.exception("session %s ended", session.session_id)
        finally:
            self._shared.claims.release(session.session_id)
            self._open.pop(session.session_id, None)


async def _check(opening: Opening) -> tuple[str, tuple[str, ...]]:
    """The real path of the working directory, and of all roots. Raises `BadPlace`."""
    return await asyncio.to_thread(_check_folders, opening)


def _check_folders(opening: Opening) -> tuple[str, tuple[str, ...]]:
    roots: list[str] = []
    for folder in (opening.cwd, *opening.additional_directories):
        real = os.path.realpath(folder)
        if not Path(real).is_dir():
            what = "is not a folder" if Path(real).exists() else "does not exist"
            raise BadPlace(f"{folder} {what}.")
        if real not in roots:
            roots.append(real)
    return roots[0], tuple(roots)
