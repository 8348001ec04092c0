"""How imported records become sessions: events as a journal has them, each once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.events import (
    Durable,
    MessageCompleted,
    SessionStarted,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.memory.importing.records import Called, Record, Returned, Said
from hermes_acp.memory.importing.sessions import Imported, Importer, Target, imported_id
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

ID = imported_id("p", "a talk")


class Kept:
    """A database, an importer into it, and what it holds then."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sessions.db"
        self.claims = folder / "claims"

    async def take(self, *records: Record) -> Imported:
        database = await Database.open(self.path)
        try:
            importer = Importer(database, Claims(self.claims), Target("p", "/code", "/real/code"))
            return await importer.take({"a talk": list(records)})
        finally:
            await database.close()

    async def told(self) -> list[tuple[float, str, object]]:
        """Time, turn and event of each envelope; their numbers have no gap."""
        database = await Database.open(self.path)
        envelopes = await Journal(database).read(ID)
        await database.close()
        assert [envelope.seq for envelope in envelopes] == list(range(1, len(envelopes) + 1))
        return [(envelope.at, envelope.turn_id, envelope.event) for envelope in envelopes]

    async def events(self) -> list[object]:
        return [event for _, _, event in await self.told()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def asked(message_id: str, at: float = 1.0) -> Said:
    return Said("a talk", at, message_id, "user", f"text {message_id}", "Maria")


def answered(message_id: str, at: float = 1.0) -> Said:
    return Said("a talk", at, message_id, "agent", f"text {message_id}", "John")


def turn(message_id: str) -> TurnStarted:
    return TurnStarted(message_id, (TextBlock(f"text {message_id}"),), "import", speaker="Maria")


def answer(message_id: str) -> MessageCompleted:
    return MessageCompleted(message_id, f"text {message_id}", speaker="John")


END = TurnEnded("end_turn")


async def test_each_message_of_the_user_is_a_turn_in_the_order_of_the_times(kept: Kept) -> None:
    outcome = await kept.take(asked("3", 3.0), asked("1"), answered("2", 2.0), answered("4", 4.0))
    assert outcome == Imported(sessions=1, added=4)
    assert await kept.told() == [
        (1.0, "", SessionStarted("/code")),
        (1.0, "import1", turn("1")),
        (2.0, "import1", answer("2")),
        (3.0, "import1", END),
        (3.0, "import2", turn("3")),
        (4.0, "import2", answer("4")),
        (4.0, "import2", END),
    ]


async def test_the_session_is_listed_with_its_name_folder_and_times(kept: Kept) -> None:
    await kept.take(asked("1", 5.0), answered("2", 9.0))
    database = await Database.open(kept.path)
    found = await SessionTable(database).get(ID)
    await database.close()
    assert found == SessionRow(
        session_id=ID,
        project="p",
        cwd="/code",
        real_cwd="/real/code",
        additional_directories=(),
        title="a talk",
        mode="ask",
        model="",
        effort="default",
        created_at=5.0,
        updated_at=9.0,
    )


async def test_calls_are_ended_with_their_results_and_before_their_turn(kept: Kept) -> None:
    await kept.take(
        asked("1"),
        Called("a talk", 1.0, "c1", "Bash", "{}"),
        Called("a talk", 1.0, "c2", "Bash", "{}"),
        Returned("a talk", 1.0, "c1", "out", failed=True),
        Returned("a talk", 1.0, "c3", "of a call that is not there"),
    )
    assert await kept.events() == [
        SessionStarted("/code"),
        turn("1"),
        ToolCallStarted("c1", "Bash", "Bash", "other", "{}"),
        ToolCallStarted("c2", "Bash", "Bash", "other", "{}"),
        ToolCallFinished("c1", "failed", "out"),
        ToolCallStarted("c3", "tool", "tool", "other", "{}"),
        ToolCallFinished("c3", "completed", "of a call that is not there"),
        ToolCallFinished("c2", "unknown", ""),
        END,
    ]


async def test_a_conversation_in_which_the_agent_speaks_first_has_a_turn_for_it(kept: Kept) -> None:
    await kept.take(answered("1"))
    assert await kept.events() == [
        SessionStarted("/code"),
        TurnStarted("1-", (), "import"),
        answer("1"),
        END,
    ]


async def test_the_same_file_again_adds_nothing_and_a_longer_one_its_new_end(kept: Kept) -> None:
    first = [asked("1"), answered("2"), asked("2b")]
    await kept.take(*first)
    before = await kept.told()
    assert await kept.take(*first) == Imported(known=3)
    assert await kept.told() == before
    assert await kept.take(*first, answered("3", 0.5), asked("4")) == Imported(added=2, known=3)
    assert await kept.told() == [
        *before,
        (1.0, "import3", TurnStarted("3-", (), "import")),
        (1.0, "import3", answer("3")),
        (1.0, "import3", END),
        (1.0, "import4", turn("4")),
        (1.0, "import4", END),
    ]


async def test_a_message_that_stands_twice_in_a_file_is_there_once(kept: Kept) -> None:
    assert await kept.take(asked("1"), asked("1")) == Imported(sessions=1, added=1, known=1)


@pytest.mark.parametrize("left", range(1, 7))
async def test_what_was_cut_off_anywhere_is_completed_by_the_next_time(kept: Kept, left: int) -> None:
    whole = [
        asked("1"),
        Called("a talk", 1.0, "c", "Bash", "{}"),
        Returned("a talk", 1.0, "c", "out"),
        answered("2"),
    ]
    await kept.take(*whole)
    database = await Database.open(kept.path)
    await database.write("DELETE FROM events WHERE seq > ?", (left,))
    await database.close()
    await kept.take(*whole)
    told = await kept.events()
    said = [event for event in told if not isinstance(event, TurnEnded) and not _is_filler(event)]
    assert said == [
        SessionStarted("/code"),
        turn("1"),
        ToolCallStarted("c", "Bash", "Bash", "other", "{}"),
        ToolCallFinished("c", "completed", "out"),
        answer("2"),
    ]
    assert told[-1] == END
    begun = sum(isinstance(event, TurnStarted) for event in told)
    assert sum(isinstance(event, TurnEnded) for event in told) == begun


def _is_filler(event: Durable | object) -> bool:
    return isinstance(event, TurnStarted) and not event.content


async def test_a_session_that_is_open_somewhere_is_left_as_it_is(kept: Kept) -> None:
    await kept.take(asked("1"))
    holder = Claims(kept.claims)
    await asyncio.to_thread(holder.claim, ID)
    outcome = await kept.take(asked("1"), asked("2"))
    assert (outcome.added, list(outcome.in_use)) == (0, [ID])
    holder.release(ID)
    assert (await kept.take(asked("1"), asked("2"))).added == 1
