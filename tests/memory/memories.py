"""Memories for tests: facts in a real database with real repositories, and what people say."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.memory.facts.changes import Change, Remember
from hermes_acp.memory.facts.fact import Evidence, Fact, Kind
from hermes_acp.memory.facts.store import Applied, Facts
from hermes_acp.memory.scopes import Place
from hermes_acp.storage.database import Database
from hermes_acp.storage.facts import FactTables
from hermes_acp.workspace.memory_repository.repository import MemoryRepository
from tests.workspace.repos import ENV

MAIN = Place("p")
FEATURE = Place("p", "overlay/feature")
TOPIC = Place("p", "overlay/topic/a")

SAID = "we keep the orders in SQLite, please"
PROOF = (Evidence("s1", 3, SAID),)


async def said(_session: str, _seq: int) -> str:
    """A history in which everybody says the same."""
    return f"Listen: {SAID}. Thanks."


def fact(text: str, key: str = "", kind: Kind = "decision") -> Remember:
    """Something that the agent has learned with proof."""
    return Remember(kind, text, key, evidence=PROOF)


@dataclass
class Memory:
    """One process's view of a data folder."""

    folder: Path
    database: Database
    repositories: dict[str, MemoryRepository] = field(default_factory=dict)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        self.facts = Facts(FactTables(self.database), self._repository, said)

    @classmethod
    async def open(cls, folder: Path) -> Memory:
        return cls(folder, await Database.open(folder / "sessions.db"))

    async def close(self) -> None:
        self.facts.close()
        for repository in self.repositories.values():
            repository.close()
        await self.database.close()

    async def learn(self, place: Place, *changes: Change) -> Applied:
        return await self.facts.apply(place, changes, "s1")

    async def texts(self, place: Place) -> list[str]:
        return sorted(item.text for item in await self.facts.visible(place))

    async def states(self, store: str = "p") -> dict[str, tuple[str, str]]:
        """Status and scope of each fact, by its text."""
        return {item.text: (item.status, item.scope) for item in (await self.facts.all(store)).values()}

    async def whole(self, stores: Sequence[str] = ("p", "user")) -> None:
        """Everything is in git, nothing is damaged, and the index can be made from it."""
        await self.facts.drain()
        for store in stores:
            before = await self.facts.all(store)
            assert await self.facts.problems(store) == ()
            assert await self.facts.rebuild(store) == ()
            assert await self.facts.all(store) == before
            await self.facts.drain()

    @asynccontextmanager
    async def on_disk(self, disk: Path) -> AsyncIterator[Facts]:
        """The facts, written to a folder elsewhere; the first one is there."""
        repository = MemoryRepository(disk, ENV)
        facts = Facts(FactTables(self.database), lambda _: repository, said)
        try:
            await facts.apply(MAIN, [fact("first")])
            await facts.drain()
            yield facts
        finally:
            repository.close()

    def git(self, *arguments: str, store: str = "p") -> str:
        command = ["git", "--git-dir", str(self.folder / store / "memory.git"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, env=ENV).stdout.decode(
            "utf-8", "replace"
        )

    def _repository(self, store: str) -> MemoryRepository:
        return self.repositories.setdefault(store, MemoryRepository(self.folder / store, ENV))


def example(number: int = 0, text: str = "SQLite", **members: object) -> Fact:
    """A fact; those with greater numbers are newer."""
    values: dict[str, object] = {
        "id": f"01M7ZM{number:020}",
        "kind": "decision",
        "scope": "project",
        "text": text,
        "created": 1_000.0 + number,
        "updated": 1_000.0 + number,
    }
    return Fact(**(values | members))  # type: ignore[arg-type]
