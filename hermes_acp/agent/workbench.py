"""Where a session works and what it has there: its folder, its tools, and what its model is told of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hermes_acp.agent import context
from hermes_acp.agent.memory.remembering import Remembering
from hermes_acp.agent.parts import Parts
from hermes_acp.agent.turn import Place, Prepared, workplace
from hermes_acp.events import Notice, PlaceChanged
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.tools.base import SessionTools

PREPARE_DELAY = 0.2
"""Seconds after which a session gets ready for its first prompt, if none came before."""

OpenTools: TypeAlias = Callable[[Place, Remembering], Awaitable[SessionTools]]


class Workbench:
    """The workplace of one session; `row` and `place` are others after it has moved."""

    def __init__(self, parts: Parts, row: SessionRow, place: Place, open_tools: OpenTools) -> None:
        self.row = row
        self.place = place
        self._parts = parts
        self._open_tools = open_tools
        self._preparing: asyncio.Task[Prepared] | None = None
        self._needed = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []

    def prepare(self) -> None:
        """Get ready, a moment later: after the answer that opened the session went out."""
        self._preparing = self._parts.tasks.create_task(self._prepare())

    def hurry(self) -> None:
        """A turn needs it now."""
        self._needed.set()

    async def ready(self) -> Prepared:
        """What is there, once it is; a cancel stops only the waiting. Raises what made it fail."""
        assert self._preparing is not None
        return await asyncio.shield(self._preparing)

    async def is_there(self) -> bool:
        """Whether there is a folder to work in; a worktree may have been removed by somebody."""
        return self.row.isolation != "worktree" or await _is_folder(self.place.cwd)

    async def move(self, isolation: str, title: str) -> None:
        """Go on in a worktree, or back in the user's own files. Raises `BadOption` and `StorageError`."""
        if isolation == "in_place":
            await self._settle_in(isolation, self.row.worktree, self.row.real_cwd)
            return
        worktrees = await self._parts.services.isolation()
        entered = await worktrees.enter(self.row, title)
        await self._settle_in(isolation, entered.worktree, entered.cwd)
        for note in entered.notes:
            self._parts.hub.publish(Notice("info", note))
        self._parts.tasks.create_task(worktrees.prepare(self.row))

    async def left_discarded(self) -> bool:
        """Go back into the user's own files if the worktree is gone: whether. Raises `StorageError`."""
        if not self.row.worktree or await _is_folder(self.row.worktree):
            return False
        await self._settle_in("in_place", "", self.row.real_cwd)
        return True

    async def aclose(self) -> None:
        """Put the tools away, and let others remove the worktree, if nothing would be lost with it."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait([self._preparing])
            if not self._preparing.cancelled() and self._preparing.exception() is None:
                await self._preparing.result().tools.aclose()
        for helper in self._helpers:
            helper.cancel()
        if self.row.isolation == "worktree":
            await (await self._parts.services.isolation()).release(self.row)

    async def _prepare(self) -> Prepared:
        parts = self._parts
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_DELAY):
                await self._needed.wait()
        if self.row.isolation == "worktree":
            await (await parts.services.isolation()).hold(self.row)
        tools = await self._open_tools(self.place, parts.memory)
        self._helpers = [
            parts.tasks.create_task(tools.run()),
            parts.tasks.create_task(self._report_problems(tools)),
        ]
        try:
            cwd, env = self.place.cwd, parts.services.origin.env
            async with parts.services.surveying:
                around = await context.survey(cwd, self.place.roots, env, parts.memory.page)
        except BaseException:  # a cancellation, too: undone here and passed on
            await tools.aclose()
            raise
        # This also reads the tables of secrets, before any text has to wait for them.
        return Prepared(tools, await asyncio.to_thread(around.without_secrets, parts.masks))

    async def _report_problems(self, tools: SessionTools) -> None:
        while True:
            self._parts.hub.publish(await tools.next_problem())

    async def _settle_in(self, isolation: str, worktree: str, cwd: str) -> None:
        services = self._parts.services
        await services.table.set_isolation(self.row.session_id, isolation, worktree)
        await self.aclose()
        self.row = replace(self.row, isolation=isolation, worktree=worktree)
        self.place = workplace(self.row, (cwd, *self.place.roots[1:]), services.windows)
        self._parts.approvals.roots = self.place.roots
        self._needed.clear()
        self.prepare()
        self._parts.hub.publish(PlaceChanged(cwd))


async def _is_folder(path: str) -> bool:
    return await asyncio.to_thread(Path(path).is_dir)
