"""The facts of a folder, as the commands about them open, read and print them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from hermes_acp import config
from hermes_acp.agent.memory.grounds import Grounds, open_facts
from hermes_acp.cli.history import NoFolder
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.memory.facts import telling
from hermes_acp.memory.facts.fact import Fact
from hermes_acp.memory.facts.names import chosen
from hermes_acp.memory.facts.store import Facts
from hermes_acp.memory.scopes import SESSION, USER, Place
from hermes_acp.records import record
from hermes_acp.storage.database import Database
from hermes_acp.workspace.project import find_project


@record
class Desk:
    """The memory at a folder. Methods raise `StorageError` and `BadFact`."""

    paths: config.Paths
    env: Mapping[str, str]
    cwd: str
    grounds: Grounds
    place: Place
    root: str
    commit: str = ""
    """The commit that is checked out here; empty where nobody had to know it."""

    @property
    def facts(self) -> Facts:
        """The facts of everybody."""
        return self.grounds.facts

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that are read here, the project's first."""
        return (self.place.project, USER) if self.place.project else (USER,)

    async def all(self) -> dict[str, Fact]:
        """All facts of the project and the user, on all branches, whatever became of them."""
        return await self.facts.here(self.place)

    async def unnamed(self) -> tuple[list[Fact], list[Fact]]:
        """What sessions without a branch have learned and nobody took back: at this commit, and elsewhere."""
        if not self.place.scope.startswith(SESSION):
            return [], []
        key = (await find_project(self.cwd)).key
        here = await self.facts.sessions_at(self.place.project, key, self.commit)
        facts = (await self.facts.all(self.place.project)).values()
        found = [
            fact for fact in facts if fact.scope.startswith(SESSION) and fact.status in ("active", "proposed")
        ]
        return [fact for fact in found if fact.scope in here], [
            fact for fact in found if fact.scope not in here
        ]

    async def chosen(self, typed: str) -> Fact:
        """The fact with this id, or the only one whose id ends so."""
        return chosen(typed, await self.all())


@asynccontextmanager
async def opened(cwd: str | None, paths: config.Paths, env: Mapping[str, str]) -> AsyncGenerator[Desk, None]:
    """The memory of a folder, or of this one; what was changed is in git at the end.

    The owner is told on standard error of edits by hand that their facts have left behind.
    Raises `NoFolder`, `StorageError` and `RepositoryError`.
    """
    cwd = await asyncio.to_thread(os.path.realpath, cwd or ".")
    if not await asyncio.to_thread(Path(cwd).is_dir):
        raise NoFolder(f"{one_line(cwd)} is not a folder.")
    database = Database(paths.database)
    git_env = config.child_environment(env)
    facts = open_facts(paths, database, git_env)
    try:
        grounds = Grounds(facts, paths, git_env)
        ground = await grounds.at(cwd)
        yield Desk(paths, env, cwd, grounds, ground.place, ground.root, ground.commit)
        await facts.drain()
        for file in await facts.kept_edits(ground.place):
            print(safe(telling.kept(file)), file=sys.stderr)
    finally:
        facts.close()
        await database.close()
