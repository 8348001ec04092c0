"""What slash commands do to the session itself: rewind it, review its worktree, change what it remembers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import cast

from hermes_acp.agent.choosing import Choosing
from hermes_acp.agent.history import History
from hermes_acp.agent.parts import Parts
from hermes_acp.agent.workbench import Workbench
from hermes_acp.events import Option


class Orders:
    """The session as its commands see it (`commands.Owner`). Methods raise `StorageError`."""

    def __init__(self, parts: Parts, workbench: Workbench, choosing: Choosing) -> None:
        self._parts = parts
        self._workbench = workbench
        self._choosing = choosing

    def options(self) -> tuple[Option, ...]:
        """The options with their current values."""
        return self._choosing.options()

    async def set_model(self, name: str) -> None:
        """Switch to any model. Raises `ModelError` when it cannot be opened."""
        await self._choosing.set_model(name)

    async def set_title(self, title: str) -> None:
        """Name the session, in one short line."""
        await self._choosing.set_title(title)

    async def review(self, command: str, rest: str) -> str:
        """Do what `/diff`, `/apply`, `/merge` or `/discard` says: what was done, or why it was not."""
        worktrees = await self._parts.services.isolation()
        row = replace(self._workbench.row, title=self._choosing.title)
        said = await worktrees.review(row, command, rest)
        if command == "discard":
            await self._choosing.leave_worktree()
        return said

    async def remember(self, rest: str) -> str:
        """Do what `/memory` says: what was done, or why it was not."""
        parts = self._parts
        return await parts.memory.command(self._workbench.place.cwd, rest, parts.approvals, parts.hub.flush)

    async def rewind(self, command: str, rest: str) -> str:
        """Do what `/undo`, `/redo` or `/rewind` says: what was done, or why it was not."""
        parts, place = self._parts, self._workbench.place
        turn_id = parts.inbox.running
        assert turn_id is not None
        # Git's side of it takes a while to import.
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.rewind")
        situation = module.Situation(
            session_id=parts.hub.session_id,
            turn_id=turn_id,
            history=History(await parts.services.journal.read(parts.hub.session_id)),
            checkpointing=await parts.recording.checkpointing(),
            place=place,
            approvals=parts.approvals,
            publish=partial(parts.transcript.publish_of, turn_id),
            flush=parts.hub.flush,
            lessons=partial(parts.memory.follow, place.cwd),
        )
        return cast("str", await module.run(situation, command, rest))
