"""Where somebody stands: which project and branch a folder is, as the memory knows them.

Loaded when the first session wants it: the identity of projects takes a while to import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from hermes_acp.config import Paths
from hermes_acp.memory import scopes
from hermes_acp.memory.facts.fact import Fact, name_of
from hermes_acp.memory.facts.store import Facts
from hermes_acp.memory.scopes import USER, Place
from hermes_acp.records import record
from hermes_acp.storage.database import Database
from hermes_acp.storage.facts import FactTables
from hermes_acp.workspace import branch_state, identity, project
from hermes_acp.workspace.branch_state import BranchState
from hermes_acp.workspace.git import GitError
from hermes_acp.workspace.memory_repository.repository import MemoryRepository
from hermes_acp.workspace.memory_repository.stream import branch_of
from hermes_acp.workspace.project import Project
from hermes_acp.workspace.registry import Registry

LOOK_SECONDS = 5.0
"""How long git may take to tell what became of branches; a turn waits for it at most so long."""
ANCESTORS = 8
"""Projects around a submodule, from the inside out, whose facts are read in it."""

UNSURE = (
    "Git could not tell which branch this is ({why}), so nobody knows where this would hold: nothing was "
    "remembered. Try again."
)


class Unsure(Exception):
    """Nobody knows where a new fact would hold; `str()` says why and what to do."""


@record
class Ground:
    """A place of the memory, the root of its tree, and the commit there; empty where there is none."""

    place: Place
    root: str
    commit: str = ""


def open_facts(paths: Paths, database: Database, env: Mapping[str, str]) -> Facts:
    """The facts in a data folder; `env` is the environment for git."""
    registry = Registry(paths.projects)

    def repository(store: str) -> MemoryRepository:
        folder = paths.data / USER if store == USER else registry.folder_of(store)
        return MemoryRepository(folder, env)

    return Facts(FactTables(database), repository)


class Grounds:
    """The memory as those see it who work in folders. Methods raise `StorageError`."""

    def __init__(self, facts: Facts, paths: Paths, env: Mapping[str, str]) -> None:
        self.facts = facts
        self._paths = paths
        self._registry = Registry(paths.projects)
        self._env = env

    async def at(self, cwd: str, session: str = "", *, writing: bool = False) -> Ground:
        """Where a folder is, once the facts have followed their branches.

        Who is about to write makes a project of the folder, and must know the branch: raises `Unsure`. For
        reading, an unknown branch has no facts of its own. `session` is whose work it is without a branch.
        """
        found = await project.find_project(cwd)
        project_id = await (self._made(found) if writing else self._known(found))
        if not project_id:
            return Ground(Place(""), found.root)
        parents = await self._parents(found)
        if not writing and await self.facts.scopes(project_id) <= {scopes.PROJECT}:
            # Nothing depends on the branch.
            return Ground(Place(project_id, parents=parents), found.root)
        try:
            state = await self._look(found, project_id)
        except (GitError, TimeoutError) as error:
            if writing:
                raise Unsure(UNSURE.format(why=error or "it took too long")) from error
            return Ground(Place(project_id, f"{scopes.SESSION}{session}", parents), found.root)
        await self.facts.reconcile(project_id, found.key, state, session)
        scope = scopes.scope_at(state.branch, state.default, session)
        commit = state.tips.get(state.branch, "") if state.branch else state.head
        return Ground(Place(project_id, scope, parents), found.root, commit)

    async def near(self, place: Place) -> dict[str, Fact]:
        """The facts and proposals of a place's own scopes, whatever became of them, by id."""
        here = {*place.scopes, USER}
        facts = await self.facts.here(place)
        return {fact_id: fact for fact_id, fact in facts.items() if fact.scope in here}

    def file_of(self, fact: Fact, place: Place) -> Path:
        """The file in which people can look at a fact; it appears a moment after the fact."""
        store = scopes.store_of(fact.scope, place.project)
        folder = self._paths.data / USER if store == USER else self._registry.folder_of(store)
        return folder / "memory" / branch_of(fact.scope) / name_of(fact.id)

    async def _look(self, found: Project, project_id: str) -> BranchState:
        asked = await self.facts.asked(project_id, found.key)
        async with asyncio.timeout(LOOK_SECONDS):
            return await branch_state.look(found.root, self._env, asked.before, asked.wanted, asked.commits)

    async def _made(self, found: Project) -> str:
        return (await identity.identify(found, self._registry, self._env)).record.id

    async def _known(self, found: Project) -> str:
        record = await asyncio.to_thread(identity.recognised, found, self._registry)
        return record.id if record is not None else ""

    async def _parents(self, found: Project) -> tuple[str, ...]:
        ids: list[str] = []
        outer = found.parent
        while outer is not None and len(ids) < ANCESTORS:
            ids += filter(None, [await self._known(outer)])
            outer = outer.parent
        return tuple(ids)
