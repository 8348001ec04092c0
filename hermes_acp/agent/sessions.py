"""All sessions of a server: makes, opens, lists, closes and deletes them, and unloads the unused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import ids
from hermes_acp.agent.approvals import Approvals, Sandbox
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.memory.remembering import Remembering
from hermes_acp.agent.memory.shared import SharedMemory
from hermes_acp.agent.models import Models
from hermes_acp.agent.opening import BadPlace, Opening, real_folders
from hermes_acp.agent.origins import Origin
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.agent.services import Services
from hermes_acp.agent.session import Session
from hermes_acp.agent.turn import Place, workplace
from hermes_acp.agent.windows import Windows
from hermes_acp.events import SessionEnded, SessionStarted
from hermes_acp.policy.effects import Mode
from hermes_acp.policy.rules.rules import Rule
from hermes_acp.policy.rules.written import Where, written
from hermes_acp.records import record
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import Page, SessionRow, SessionTable, Whereabouts
from hermes_acp.tools.base import SessionTools
from hermes_acp.workspace import identity, project
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.registry import Registry

if TYPE_CHECKING:
    from hermes_acp.agent.checkpointing import Checkpointing
    from hermes_acp.agent.isolation import Isolation
    from hermes_acp.agent.trust import Trusting

logger = logging.getLogger(__name__)

OPEN_BOUND = 1_000
"""Sessions that may be open at once."""
SURVEYS = 4
"""Sessions that look around in their folders at the same time."""
UNUSED_BOUND = 16
"""Sessions that stay in memory, ready for a window that comes back, though nobody needs them."""
UNUSED_SECONDS = 30 * 60.0
"""How long they stay at most."""
DELETED = "This session was deleted."
LOOK = 60.0
"""Seconds between two looks for sessions to unload; opening one makes us look at once."""


class UnknownSession(Exception):
    """There is no session with this id; `str()` says so."""


@record
class Stores:
    """What is kept on disk."""

    table: SessionTable
    journal: Journal
    rules: Rules
    claims: Claims
    registry: Registry
    forget_files: Callable[[SessionRow], Awaitable[None]]
    """Removes the checkpoints of a session that is deleted. Raises `NotRecorded`."""
    memory: SharedMemory


@record
class Shared:
    """What the sessions of a server share.

    `protected` are the folders of this program, `config_file` is the user's configuration; `trouble` is what
    every user should know, or None.
    """

    stores: Stores
    execution: LocalExecution
    tools: Callable[[Opening, Place, Remembering], Awaitable[SessionTools]]
    protected: tuple[str, ...]
    config_file: str
    trouble: Callable[[], str | None]
    isolation: Callable[[Origin], Awaitable[Isolation]]
    checkpointing: Callable[[Origin], Awaitable[Checkpointing]]
    trusting: Callable[[Origin], Awaitable[Trusting]]


@record
class _Open:
    """A session in memory, and how it came there."""

    session: Session
    opening: Opening
    life: asyncio.Task[None]

    @property
    def unused(self) -> bool:
        """Whether it could leave memory and nobody would notice."""
        return not (self.session.needed or self.life.cancelling())

    def serves(self, opening: Opening) -> bool:
        """Whether a window that opens the session so can have it as it is."""
        if self.life.cancelling():
            return False
        return self.session.needed or self.opening == opening


class Sessions:
    """The sessions of one server. `run` must be running for them to live."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._open: dict[str, _Open] = {}
        self._opening = asyncio.Lock()
        self._surveying = asyncio.Semaphore(SURVEYS)
        self._tasks = asyncio.TaskGroup()
        self._grown = asyncio.Event()

    async def run(self) -> None:
        """Keep the sessions alive until cancelled, unloading the unused; then end them all."""
        async with self._tasks:
            try:
                await self._unload()
            finally:
                await _end(entry.life for entry in self._open.values())

    async def _unload(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._grown.wait()
            self._grown.clear()
            unused = {key: item.session.idle_since for key, item in self._open.items() if item.unused}
            await _end(self._open[key].life for key in superfluous(unused, clock()))

    def get(self, session_id: str) -> Session | None:
        """The session if it is open and not about to close."""
        entry = self._open.get(session_id)
        return None if entry is None or entry.life.cancelling() else entry.session

    @property
    def running(self) -> int:
        """How many sessions work on a turn."""
        return sum(entry.session.busy for entry in self._open.values())

    @property
    def opened(self) -> int:
        """How many sessions are in memory."""
        return len(self._open)

    @property
    def trouble(self) -> str | None:
        """What every user should know: that something stored was damaged, and what became of it."""
        return self._shared.trouble()

    def uses(self, models: Models) -> bool:
        """Whether an open session asks these models."""
        return any(entry.session.models is models for entry in self._open.values())

    async def create(self, opening: Opening) -> Session:
        """Make a session. Raises `BadPlace`, `LoginNeeded` and `StorageError`."""
        origin = opening.origin
        real_cwd, roots = await real_folders(opening)
        model = await origin.models.default()
        now = time.time()
        row = SessionRow(
            session_id=ids.session(),
            project=await self._project_of(real_cwd),
            cwd=opening.cwd,
            real_cwd=real_cwd,
            additional_directories=opening.additional_directories,
            title=None,
            mode=origin.settings.mode,
            model=model,
            effort=origin.settings.effort,
            created_at=now,
            updated_at=now,
        )
        self._check_bound()
        await asyncio.to_thread(self._shared.stores.claims.claim, row.session_id)
        try:
            await self._shared.stores.table.create(row)
        except BaseException:  # a cancellation, too: undone here and passed on
            self._shared.stores.claims.release(row.session_id)
            raise
        self._tasks.create_task(origin.models.warm(model))
        session = self._start(row, roots, opening, seq=0)
        session.hub.publish(SessionStarted(opening.cwd, opening.additional_directories))
        return session

    async def open(self, session_id: str, opening: Opening) -> Session:
        """Open an existing session. One that is in memory is given as it is.

        But one that nobody needs is started anew when it was opened in another way: with other
        settings, environment, folders or MCP servers. Raises `UnknownSession`, `SessionInUse`,
        `BadPlace` and `StorageError`.
        """
        row = await self._shared.stores.table.get(session_id)
        if row is None:
            raise UnknownSession(f"There is no session {session_id!r}.")
        real_cwd, roots = await real_folders(opening)
        if real_cwd != row.real_cwd:
            await self._project_of(real_cwd)
            row = await self._shared.stores.table.get(session_id) or row
        if real_cwd != row.real_cwd:
            raise BadPlace(f"This session belongs to {row.cwd}, not to {opening.cwd}.")
        async with self._opening:
            entry = self._open.get(session_id)
            if entry is not None and entry.serves(opening):
                return entry.session
            await self.close(session_id)
            self._check_bound()
            await asyncio.to_thread(self._shared.stores.claims.claim, session_id)
            try:
                return await self._take_up(session_id, roots, opening)
            except BaseException:  # a cancellation, too: undone here and passed on
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
        if row.isolation == "worktree":
            found = await project.find_project(row.real_cwd)
            roots = (project.counterpart(row.real_cwd, found.root, row.worktree), *roots[1:])
        last_seq = await self._shared.stores.journal.last_seq(session_id)
        return self._start(row, roots, opening, last_seq)

    async def page(self, cwd: str | None, cursor: str | None) -> Page:
        """A page of all sessions, newest first. Raises `BadCursor` and `StorageError`."""
        if cwd is None:
            return await self._shared.stores.table.page(None, cursor)
        real_cwd = await asyncio.to_thread(os.path.realpath, cwd)
        await self._project_of(real_cwd)
        return await self._shared.stores.table.page(real_cwd, cursor)

    async def close(self, session_id: str) -> bool:
        """End the session's turn and free what it holds; False when it was not open."""
        entry = self._open.get(session_id)
        if entry is None:
            return False
        await _end([entry.life])
        self._forget(session_id, entry.life)
        return True

    async def delete(self, session_id: str, client: str = "") -> bool:
        """End the session for all its windows and forget it; False when there was none.

        `client` is the window that wants it. Raises `SessionInUse` when another process has the
        session open, and `StorageError`.
        """
        async with self._opening:
            if (session := self.get(session_id)) is not None:
                session.farewell = SessionEnded(DELETED, client)
            await self.close(session_id)
            row = await self._shared.stores.table.get(session_id)
            if row is None:
                return False
            await asyncio.to_thread(self._shared.stores.claims.claim, session_id)
            try:
                deleted = await self._shared.stores.table.delete(session_id)
                await self._shared.stores.forget_files(row)
                return deleted
            except NotRecorded as error:
                logger.warning("the checkpoints of session %s stay until they expire: %s", session_id, error)
                return True
            finally:
                self._shared.stores.claims.release(session_id)

    async def _project_of(self, real_cwd: str) -> str:
        """The key of the project of a folder, to which its sessions and rules have moved with it."""
        found = await project.find_project(real_cwd)
        for key in await asyncio.to_thread(identity.left_behind, found, self._shared.stores.registry):
            old, new = _whereabouts(key), _whereabouts(found.key)
            await self._shared.stores.table.move(old, new)
            await self._shared.stores.rules.move(old, new)
        return found.key

    def _check_bound(self) -> None:
        if len(self._open) >= OPEN_BOUND:
            raise BadPlace(f"{OPEN_BOUND} sessions are open, which is the limit: close some first.")

    def _start(self, row: SessionRow, roots: tuple[str, ...], opening: Opening, seq: int) -> Session:
        shared = self._shared
        origin = opening.origin
        windows = Windows(shared.execution.within(origin.env))
        place = workplace(row, roots, windows)
        hub = Hub(row.session_id, shared.stores.journal, seq, row.updated_at)
        where = Where(shared.config_file, origin.env.get("HOME", ""), roots, row.project)
        approvals = Approvals(
            session_id=row.session_id,
            project=row.project,
            roots=roots,
            protected=shared.protected,
            mode=cast("Mode", row.mode),
            store=shared.stores.rules,
            answerers=lambda: hub.answerers,
            written=partial(_written, where),
            sandbox=Sandbox(shared.execution.confines, origin.settings.sandbox_network),
        )
        services = Services(
            journal=shared.stores.journal,
            table=shared.stores.table,
            origin=origin,
            windows=windows,
            isolation=partial(shared.isolation, origin),
            checkpointing=partial(shared.checkpointing, origin),
            trusting=partial(shared.trusting, origin),
            memory=partial(shared.stores.memory.notebook, origin, row.session_id),
            surveying=self._surveying,
        )
        tools = partial(shared.tools, opening)
        session = Session(row, services, place, tools, hub, approvals)
        life = self._tasks.create_task(self._live(session))
        life.add_done_callback(partial(self._forget, row.session_id))
        self._open[row.session_id] = _Open(session, opening, life)
        self._grown.set()
        return session

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:  # boundary: a broken session ends alone
            logger.exception("session %s ended", session.session_id)

    def _forget(self, session_id: str, life: asyncio.Task[None]) -> None:
        """The session has ended; it may have been opened anew meanwhile."""
        entry = self._open.get(session_id)
        if entry is not None and entry.life is life:
            del self._open[session_id]
            self._shared.stores.claims.release(session_id)


def _whereabouts(key: str) -> Whereabouts:
    return Whereabouts(key, key.removesuffix("/.git"))


def _written(where: Where) -> tuple[Rule, ...]:
    return written(where).rules


def superfluous(unused: Mapping[str, float], now: float) -> list[str]:
    """Which unused sessions must leave memory; the values say since when they are unused."""
    oldest_first = sorted(unused, key=lambda session_id: unused[session_id])
    too_many = max(0, len(oldest_first) - UNUSED_BOUND)
    return [
        session_id
        for place, session_id in enumerate(oldest_first)
        if place < too_many or now - unused[session_id] >= UNUSED_SECONDS
    ]


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel each task, once, and wait until all have ended."""
    running = list(tasks)
    for task in running:
        if not task.cancelling():
            task.cancel()
    if running:
        await asyncio.wait(running)
