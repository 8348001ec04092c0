"""A database with sessions in which something was said, and what recall finds in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hermes_acp.content import TextBlock
from hermes_acp.events import Envelope, Event, MessageCompleted, SessionStarted, TurnEnded, TurnStarted
from hermes_acp.memory.recall import Filter, Hit, Recall
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import RecallIndex
from hermes_acp.storage.sessions import SessionTable
from tests.cli.sessions_home import FIRST, row

WHOLE = Filter()


@dataclass(frozen=True)
class History:
    path: Path

    async def say(self, session: int, *texts: str, project: str = "p", at: float = FIRST) -> None:
        """Say these in one more turn of a session, which is made when it is not there."""
        said = [TurnStarted(f"s{session}-{text[:20]}", (TextBlock(text),)) for text in texts]
        await self.tell(session, said, project, at)

    async def tell(
        self, session: int, events: Sequence[Event], project: str = "p", at: float = FIRST
    ) -> None:
        """More events in a session, all of one turn."""
        database = await Database.open(self.path)
        table, journal = SessionTable(database), Journal(database)
        if await table.get(f"s{session}") is None:
            await table.create(replace(row(session), project=project))
        last = await journal.last_seq(f"s{session}")
        await journal.append(
            [
                Envelope(f"s{session}", seq, f"t{last}", at, event)
                for seq, event in enumerate(events, last + 1)
            ]
        )
        await database.close()

    async def index(self) -> int:
        """Catch up."""
        database = await Database.open(self.path)
        added = await RecallIndex(database).catch_up()
        await database.close()
        return added

    async def ask(
        self, question: str, limit: int = 10, only: Filter = WHOLE, projects: Sequence[str] | None = ("p",)
    ) -> list[Hit]:
        """What is found once the index has caught up."""
        await self.index()
        reading = await ReadOnlyDatabase.existing(self.path)
        assert reading is not None
        return await Recall(reading, projects).answer(question, limit, only)

    async def texts(
        self, question: str, only: Filter = WHOLE, projects: Sequence[str] | None = ("p",)
    ) -> list[str]:
        """The texts that are found, best first."""
        return [hit.found.text for hit in await self.ask(question, 10, only, projects)]


def exchange(asked: str, answered: str, speakers: tuple[str, str] = ("", "")) -> list[Event]:
    """All events of a session of one turn."""
    return [
        SessionStarted("/code"),
        TurnStarted("m1", (TextBlock(asked),), speaker=speakers[0]),
        MessageCompleted("m2", answered, speaker=speakers[1]),
        TurnEnded("end_turn"),
    ]
