"""The journal: every event comes back as it was written, in order, and only for its session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_acp.events import (
    Durable,
    Envelope,
    MessageCompleted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.journal import ROWS, Journal, Piece
from hermes_acp.storage.sessions import SessionRow, SessionTable

NAUGHTY = Path(__file__).parents[3] / "shared" / "corpora" / "dev_blns.jsonl"
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
"""Everything that UTF-8 can carry: NUL, controls, separators, unassigned characters."""
TEXTS = ["", "\0", "a\0b", "\u2028\u2029", "\ufeff", "\U0010ffff", "\x1b[31m", '"}],[{"', "'; DROP TABLE x"]

st.register_type_strategy(str, TEXT)
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def row(session_id: str = "s1") -> SessionRow:
    return SessionRow(session_id, "/p", "/p", "/p", (), None, "ask", "m", "default", 1.0, 1.0)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "sessions.db")
    for session_id in ("s1", "s2"):
        await SessionTable(database).create(row(session_id))
    yield database
    await database.close()


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def said(seq: int, text: str = "x", session_id: str = "s1") -> Envelope:
    return Envelope(session_id, seq, "t1", float(seq), MessageCompleted(f"m{seq}", text))


def events() -> st.SearchStrategy[Any]:
    """Every durable event with every kind of content, as hypothesis makes it from the types."""
    return st.one_of(*(st.from_type(kind) for kind in get_args(Durable)))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(events(), min_size=1, max_size=12))
def test_events_of_every_kind_come_back_as_they_were(tmp_path: Path, written: list[Any]) -> None:
    async def check() -> None:
        database = await Database.open(tmp_path / "sessions.db")
        table, journal = SessionTable(database), Journal(database)
        await table.create(row())
        envelopes = [
            Envelope("s1", number, f"t{number}", number / 7, event, "sub/agent")
            for number, event in enumerate(written, 1)
        ]
        await journal.append(envelopes)
        read = await journal.read("s1")
        await table.delete("s1")
        await database.close()
        assert read == envelopes
        assert [type(item.event) for item in read] == [type(event) for event in written]

    asyncio.run(check())


@pytest.mark.parametrize("text", TEXTS)
async def test_odd_text_comes_back_as_it_was(journal: Journal, text: str) -> None:
    await journal.append([said(1, text)])
    assert await journal.read("s1") == [said(1, text)]


@pytest.mark.skipif(not NAUGHTY.exists(), reason="the corpus of naughty strings is not here")
async def test_naughty_strings_come_back_as_they_were(journal: Journal) -> None:
    lines = [json.loads(line) for line in NAUGHTY.read_text("utf-8").splitlines()]
    texts = [text for line in lines for text in _strings(line) if _storable(text)]
    assert len(texts) > 100
    envelopes = [said(number, text) for number, text in enumerate(texts, 1)]
    await journal.append(envelopes)
    assert await journal.read("s1") == envelopes


def _strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in _strings(item)]
        case dict():
            return [text for item in value.values() for text in _strings(item)]
        case _:
            return []


def _storable(text: str) -> bool:
    return text.encode("utf-8", "replace").decode() == text


async def test_a_session_reads_its_own_events_only_from_where_it_wants(journal: Journal) -> None:
    await journal.append([said(number) for number in range(1, 6)])
    await journal.append([said(1, "other", "s2")])
    assert await journal.read("s1", 3) == [said(4), said(5)]
    assert await journal.read("s1", 5) == []
    assert await journal.read("s2") == [said(1, "other", "s2")]
    assert await journal.read("nobody") == []
    assert [await journal.last_seq(item) for item in ("s1", "s2", "nobody")] == [5, 1, 0]


async def test_more_events_than_one_statement_takes_are_written_in_order(journal: Journal) -> None:
    envelopes = [said(number) for number in range(1, 2 * ROWS + 3)]
    await journal.append(envelopes)
    assert await journal.read("s1") == envelopes
    await journal.append([])


async def test_a_number_that_is_taken_is_an_error_and_nothing_of_its_batch_stays(journal: Journal) -> None:
    await journal.append([said(1), said(2)])
    with pytest.raises(StorageError):
        await journal.append([said(3), said(2, "ghost"), said(4)])
    assert await journal.read("s1") == [said(1), said(2)]


async def test_events_of_a_session_that_is_not_there_are_refused(journal: Journal) -> None:
    with pytest.raises(StorageError):
        await journal.append([said(1, session_id="nobody")])


async def test_a_cancelled_write_still_happens(journal: Journal) -> None:
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(journal.append([said(1)]))
        await asyncio.sleep(0)
        writing.cancel()
    # The next write waits for it.
    await journal.append([said(2)])
    assert await journal.read("s1") == [said(1), said(2)]


async def test_deleting_a_session_deletes_its_events(journal: Journal, database: Database) -> None:
    await journal.append([said(1)])
    await journal.append([said(1, session_id="s2")])
    assert await SessionTable(database).delete("s1")
    assert await journal.read("s1") == []
    assert await database.fetch("SELECT session_id FROM events") == [("s2",)]


async def test_an_event_moves_its_session_to_the_front(journal: Journal, database: Database) -> None:
    table = SessionTable(database)
    assert [item.session_id for item in (await table.page()).rows] == ["s2", "s1"]
    await journal.append([said(9)])
    rows = (await table.page()).rows
    assert [(item.session_id, item.updated_at) for item in rows] == [("s1", 9.0), ("s2", 1.0)]


def piece(message_id: str, start: int, text: str, kind: Literal["text", "thought"] = "text") -> Piece:
    return Piece("t1", message_id, kind, start, text)


async def test_a_draft_comes_back_in_the_order_of_its_writing_and_only_for_its_session(
    journal: Journal,
) -> None:
    first = [piece("m1", 0, "hm", "thought"), piece("m1", 0, "a\0b\u2028")]
    second = [piece("m1", 4, "\U0010ffff"), piece("m2", 0, "'; DROP TABLE drafts")]
    await journal.keep_draft("s1", first)
    await journal.keep_draft("s2", [piece("m1", 0, "other")])
    await journal.keep_draft("s1", second)
    await journal.keep_draft("s1", [])
    assert await journal.draft("s1") == first + second
    assert await journal.draft("s2") == [piece("m1", 0, "other")]
    assert await journal.draft("nobody") == []


async def test_a_message_takes_its_own_draft_with_it_and_the_end_of_the_turn_all(journal: Journal) -> None:
    kept = [piece("m1", 0, "x"), piece("m2", 0, "y"), piece("m3", 0, "z")]
    await journal.keep_draft("s1", kept)
    await journal.keep_draft("s2", kept)
    await journal.append([Envelope("s1", 1, "t1", 1.0, TurnStarted("u1", ()))])
    assert await journal.draft("s1") == kept
    await journal.append([said(2)])
    assert await journal.draft("s1") == [kept[0], kept[2]]
    await journal.append([Envelope("s1", 3, "t1", 1.0, TurnEnded("end_turn"))])
    assert await journal.draft("s1") == []
    assert await journal.draft("s2") == kept


async def test_a_message_that_cannot_be_written_leaves_its_draft(journal: Journal) -> None:
    await journal.append([said(1)])
    await journal.keep_draft("s1", [piece("m2", 0, "x")])
    with pytest.raises(StorageError):
        await journal.append([said(2), said(1)])
    assert await journal.draft("s1") == [piece("m2", 0, "x")]


async def test_drafts_are_dropped_by_message_and_with_their_session(
    journal: Journal, database: Database
) -> None:
    await journal.keep_draft("s1", [piece("m1", 0, "x"), piece("m2", 0, "y")])
    await journal.keep_draft("s2", [piece("m1", 0, "x")])
    await journal.drop_draft("s1", ["m1", "m3"])
    assert await journal.draft("s1") == [piece("m2", 0, "y")]
    assert await SessionTable(database).delete("s1")
    assert await database.fetch("SELECT session_id FROM drafts") == [("s2",)]
    with pytest.raises(StorageError):
        await journal.keep_draft("s1", [piece("m1", 0, "x")])


async def test_more_pieces_than_one_statement_takes_are_kept_in_order(journal: Journal) -> None:
    pieces = [piece("m1", number, "x") for number in range(2 * ROWS + 3)]
    await journal.keep_draft("s1", pieces)
    assert await journal.draft("s1") == pieces
