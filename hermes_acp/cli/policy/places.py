"""Where the commands of `policy` look: the project of a folder, the stored rules, and those in files."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Mapping

from hermes_acp import config
from hermes_acp.policy.effects import Mode
from hermes_acp.policy.rules.rules import Rule
from hermes_acp.policy.rules.written import Where, Written, written
from hermes_acp.policy.sandbox import confinable
from hermes_acp.records import record
from hermes_acp.storage.database import Database
from hermes_acp.storage.rules import Rules
from hermes_acp.workspace.execution.sandbox.sandbox import working
from hermes_acp.workspace.project import find_project


@record
class Places:
    """The environment that the command was given, and our folders."""

    env: Mapping[str, str]
    paths: config.Paths

    @contextlib.asynccontextmanager
    async def stored(self, *, create: bool = False) -> AsyncGenerator[Rules | None, None]:
        """The stored rules; None where no session was ever held, for looking must not create a database."""
        if not create and not await asyncio.to_thread(self.paths.database.exists):
            yield None
            return
        database = await Database.open(self.paths.database)
        try:
            yield Rules(database)
        finally:
            await database.close()

    async def rules(self, cwd: str) -> list[Rule]:
        """All rules that hold for a new session in a folder; complaints about files go to standard error."""
        project = (await find_project(cwd)).key
        async with self.stored() as store:
            learned = await store.list(project, "") if store else []
        found = await self.written(cwd, project)
        for complaint in found.complaints:
            print(complaint, file=sys.stderr)
        return [*learned, *found.rules]

    async def written(self, cwd: str, project: str) -> Written:
        """The rules that stand in files."""
        where = Where(str(self.paths.config_file), self.home, (cwd,), project)
        return await asyncio.to_thread(written, where)

    def mode(self, mode: Mode, cwd: str) -> Mode:
        """The mode as it works in a folder: `auto` asks where no sandbox can hold commands. Blocks."""
        held = mode != "auto" or (confinable((cwd,), self.home) and working() is not None)
        return mode if held else "accept_edits"

    @property
    def home(self) -> str:
        """The home folder, for `~` in the path of a rule."""
        return self.env.get("HOME", "")
