"""What the user has chosen for a session: mode, model, effort, isolation, and its title."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from hermes_acp.agent.history import title_of
from hermes_acp.agent.options import FULL_MODE, ISOLATIONS, BadOption, Choices
from hermes_acp.agent.parts import Parts
from hermes_acp.agent.workbench import Workbench
from hermes_acp.content import TextBlock
from hermes_acp.events import Option, OptionsChanged, TitleChanged
from hermes_acp.policy.effects import Mode
from hermes_acp.policy.paths import inside


class Choosing:
    """The choices of one session. What changes one is on disk when it returns, and its windows were told."""

    def __init__(self, parts: Parts, workbench: Workbench) -> None:
        row = workbench.row
        # A project without git is a folder that holds the session's.
        has_git = not inside(row.real_cwd, (row.project,))
        isolations = ISOLATIONS if has_git else ISOLATIONS[:1]
        self.choices = Choices(row.mode, row.model, row.effort, row.isolation, isolations)
        self.title = row.title
        self._parts = parts
        self._workbench = workbench
        self._models = parts.services.origin.models
        self._alone = asyncio.Lock()
        self._told_mode = ""

    def options(self) -> tuple[Option, ...]:
        """The options with their current values."""
        return self.choices.options(self._models.known(self.choices.model))

    async def set_option(self, option_id: str, value: str) -> None:
        """Set one option, from the next effect or turn on. Raises `BadOption` and `StorageError`."""
        async with self._alone:
            models = self._models.known(self.choices.model)
            choices = self.choices.with_option(option_id, value, models)
            if choices.isolation != self.choices.isolation:
                if self._parts.inbox.busy:
                    raise BadOption("A turn is running: change the isolation when it has ended.")
                await self._workbench.move(choices.isolation, self.title or "session")
            await self._choose(choices)

    async def set_model(self, name: str) -> None:
        """Switch to any model. Raises `ModelError` when it cannot be opened, and `StorageError`."""
        await self._models.open(name)
        async with self._alone:
            await self._choose(replace(self.choices, model=name))

    async def set_title(self, title: str) -> None:
        """Name the session, in one short line. Raises `StorageError`."""
        title = title_of((TextBlock(title),))
        await self._parts.services.table.set_title(self._workbench.row.session_id, title)
        self.title = title
        self._parts.hub.publish(TitleChanged(title))

    async def leave_worktree(self) -> None:
        """Work in the user's own files again, if the worktree is gone. Raises `StorageError`."""
        if await self._workbench.left_discarded():
            await self._choose(replace(self.choices, isolation="in_place"))

    def tell_mode(self) -> None:
        """Say once what it means that nothing is asked for, however the session came to it."""
        if (mode := self._parts.approvals.mode) != self._told_mode and mode == "full":
            self._parts.hub.publish(FULL_MODE)
        self._told_mode = mode

    async def _choose(self, choices: Choices) -> None:
        session_id = self._workbench.row.session_id
        await self._parts.services.table.set_options(session_id, choices.mode, choices.model, choices.effort)
        self.choices = choices
        self._parts.approvals.mode = cast("Mode", choices.mode)
        self.tell_mode()
        self._parts.hub.publish(OptionsChanged(self.options()))
