"""All sessions of a server: makes, opens, lists, closes and deletes them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
class Stores:
    """What is kept on disk."""

    table: SessionTable
    journal: Journal
    rules: Rules
    claims: Claims


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sessions of a server share. `protected` are the folders of this program."""

    stores: Stores
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
        self._opening = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep the sessions alive until cancelled, then end them all."""
        async with self._tasks:
            try:
                await self._stopping.wait()
            finally:
                await _end(task for _, task in self._open.values())

    def get(self, session_id: str) -> Session | None:
        """The session if it is open and not about to close."""
        session, task = self._open.get(session_id, (None, None))
        return None if task is None or task.cancelling() else session

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
        self._check_bound()
        await asyncio.to_thread(self._shared.stores.claims.claim, row.session_id)
        try:
            await self._shared.stores.table.create(row)
        except BaseException:
            self._shared.stores.claims.release(row.session_id)
            raise
        self._tasks.create_task(self._shared.models.warm(model))
        session = self._start(row, roots, opening, seq=0)
        session.hub.publish(SessionStarted(opening.cwd, opening.additional_directories))
        return session

    async def open(self, session_id: str, opening: Opening) -> Session:
        """Open an existing session; one that is open already is given as it is while it works.

        Raises `UnknownSession`, `SessionInUse`, `BadPlace` and `StorageError`.
        """
        row = await self._shared.stores.table.get(session_id)
        if row is None:
            raise UnknownSession(f"There is no session {session_id!r}.")
        real_cwd, roots = await _check(opening)
        if real_cwd != row.real_cwd:
            raise BadPlace(f"This session belongs to {row.cwd}, not to {opening.cwd}.")
        async with self._opening:
            session = self.get(session_id)
            if session is not None and (session.busy or session.hub.watched):
                return session
            await self.close(session_id)
            self._check_bound()
            await asyncio.to_thread(self._shared.stores.claims.claim, session_id)
            try:
                return await self._take_up(session_id, roots, opening)
            except BaseException:
                self._shared.stores.claims.release(session_id)
                raise

    async def _take_up(self, session_id: str, roots: tuple[str, ...], opening: Opening) -> Session:
        """Start a claimed session as it is now that nobody else can change it any more."""
        row = await self._shared.stores.table.get(session_id)
        if row is None:
            raise UnknownSession(f"There is no session {session_id!r} any more.")
        if opening.additional_directories != row.additional_directories:
            row = replace(row, additional_directories=opening.additional_directories)
            await self._shared.stores.table.set_directories(session_id, opening.additional_directories)
        last_seq = await self._shared.stores.journal.last_seq(session_id)
        return self._start(row, roots, opening, last_seq)

    async def page(self, cwd: str | None, cursor: str | None) -> Page:
        """A page of all sessions, newest first. Raises `BadCursor` and `StorageError`."""
        real_cwd = None if cwd is None else await asyncio.to_thread(os.path.realpath, cwd)
        return await self._shared.stores.table.page(real_cwd, cursor)

    async def close(self, session_id: str) -> bool:
        """End the session's turn and free what it holds; False when it was not open."""
        entry = self._open.get(session_id)
        if entry is None:
            return False
        await _end([entry[1]])
        self._forget(session_id, entry[1])
        return True

    async def delete(self, session_id: str) -> bool:
        """Close the session and forget it; False when there was none.

        Raises `SessionInUse` when another process has it open, and `StorageError`.
        """
        async with self._opening:
            await self.close(session_id)
            if await self._shared.stores.table.get(session_id) is None:
                return False
            await asyncio.to_thread(self._shared.stores.claims.claim, session_id)
            try:
                return await self._shared.stores.table.delete(session_id)
            finally:
                self._shared.stores.claims.release(session_id)

    def _check_bound(self) -> None:
        if len(self._open) >= OPEN_BOUND:
            raise BadPlace(f"{OPEN_BOUND} sessions are open, which is the limit: close some first.")

    def _start(self, row: SessionRow, roots: tuple[str, ...], opening: Opening, seq: int) -> Session:
        shared = self._shared
        loan = opening.lend(row.session_id) if opening.lend else Loan()
        documents = Documents(roots, loan.files)
        place = Place(row.real_cwd, roots, documents, loan.execution or shared.execution)
        hub = Hub(row.session_id, shared.stores.journal, seq, row.updated_at)
        approvals = Approvals(
            session_id=row.session_id,
            project=row.project,
            roots=roots,
            protected=shared.protected,
            mode=cast("Mode", row.mode),
            store=shared.stores.rules,
            answerable=lambda: hub.answerable,
        )
        services = Services(
            shared.stores.journal, shared.stores.table, shared.models, shared.settings.max_steps, shared.env
        )
        tools = partial(shared.tools, opening.mcp_servers, place)
        session = Session(row, services, place, tools, hub, approvals)
        task = self._tasks.create_task(self._live(session))
        task.add_done_callback(partial(self._forget, row.session_id))
        self._open[row.session_id] = (session, task)
        return session

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:  # boundary: a broken session ends alone
            logger.exception("session %s ended", session.session_id)

    def _forget(self, session_id: str, task: asyncio.Task[None]) -> None:
        """The session has ended; it may have been opened anew meanwhile."""
        if self._open.get(session_id, (None, None))[1] is task:
            del self._open[session_id]
            self._shared.stores.claims.release(session_id)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel each task, once, and wait until all have ended."""
    running = list(tasks)
    for task in running:
        if not task.cancelling():
            task.cancel()
    if running:
        await asyncio.wait(running)


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
