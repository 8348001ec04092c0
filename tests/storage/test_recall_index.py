"""The index follows the journal: whatever happens in between, it ends as if it were made anew."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.events import MessageCompleted, ToolCallFinished, TurnEnded, TurnStarted
from hermes_acp.memory.recall import Filter
from hermes_acp.storage import schema
from hermes_acp.storage.database import Database
from hermes_acp.storage.errors import explain
from hermes_acp.storage.recall_index import BATCH, EVENTS, RecallIndex
from hermes_acp.storage.sessions import SessionTable
from tests.memory.history import History
from tests.storage import damage

WORDS = ("red", "green", "fox", "lock", "teapot", "Größe", "数据库", "🚀", "parseHttpHeader")
INDEX = """
import asyncio, sys
from pathlib import Path
from hermes_acp.storage.database import Database
from hermes_acp.storage.recall_index import RecallIndex

async def main():
    print("begun", flush=True)
    await RecallIndex(await Database.open(Path(sys.argv[1]))).catch_up()

asyncio.run(main())
"""
OLDER = """
INSERT INTO sessions VALUES ('s1', 'p', '/p', '/p', '[]', NULL, 'ask', '', '', 1.0, 1.0, 'in_place', '');
INSERT INTO events VALUES ('s1', 1, 't', '', 1.0, '{"type":"turn_started","message_id":"m1","content":[]}');
INSERT INTO recall_projects VALUES (1, 'p');
INSERT INTO recall_sessions VALUES (1, 's1', 1, 1, 1);
INSERT INTO recall_passages
VALUES ((1 << 44) | (1 << 22) | 1, 1, 1.0, 'user', '', 'm1', 2, 0, 'a teapot', '');
"""


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "sessions.db")


def everything(path: Path) -> list[tuple[object, ...]]:
    """The index without the numbers that it gave, which depend on the order of the sessions."""
    with closing(sqlite3.connect(path)) as connection:
        # Raises when the words are not those of the passages.
        connection.execute("INSERT INTO recall (recall, rank) VALUES ('integrity-check', 1)")
        rows = connection.execute(
            "SELECT session_id, place & 4194303, seq, at, kind, speaker, source, words, traits, text, extra, "
            "recall_passages.branch "
            "FROM recall_passages JOIN recall_sessions ON number = (place >> 22) & 4194303 "
            "ORDER BY session_id, place"
        ).fetchall()
        (count,) = connection.execute("SELECT count(*) FROM recall_passages").fetchone()
        assert count == len(rows), "there are passages of no session"
        rows += connection.execute(
            "SELECT session_id, sessions.project, upto, passages, branch "
            "FROM recall_sessions JOIN sessions USING (session_id) ORDER BY 1"
        ).fetchall()
        rows += connection.execute(
            "SELECT session_id, speaker FROM recall_speakers "
            "JOIN recall_sessions ON number = session ORDER BY 1, 2"
        ).fetchall()
        return rows


async def anew(path: Path) -> list[tuple[object, ...]]:
    """The index as it is when it is made anew."""
    database = await Database.open(path)
    await RecallIndex(database).rebuild()
    await database.close()
    return everything(path)


def noise(chance: random.Random) -> list[object]:
    text = " ".join(chance.choices(WORDS, k=chance.choice((0, 1, 30, 900))))
    number = str(chance.random())
    return [
        chance.choice(
            (
                TurnStarted(
                    number, (TextBlock(text),), speaker=chance.choice(("", "Maria", "maria", "John"))
                ),
                MessageCompleted(number, text),
                ToolCallFinished(number, "completed", text * 3),
                TurnEnded("end_turn"),
            )
        )
        for _ in range(chance.randrange(1, 12))
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_taken_in_step_by_step_equals_what_is_made_anew(history: History, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        number = chance.randrange(6)
        match chance.randrange(4):
            case 0:
                await history.index()
            case 1:
                database = await Database.open(history.path)
                await SessionTable(database).delete(f"s{number}")
                await database.close()
            case _:
                await history.tell(number, noise(chance), project=f"p{number % 2}")
    await history.index()
    stepwise = everything(history.path)
    assert stepwise == await anew(history.path)


async def test_nothing_new_adds_nothing(history: History) -> None:
    await history.say(1, "one", "two")
    assert (await history.index(), await history.index()) == (2, 0)


async def test_sessions_and_events_beyond_one_batch_are_taken_in(history: History) -> None:
    count = BATCH + EVENTS + 1
    await history.say(1, *(f"text {number}" for number in range(count)))
    assert await history.index() == count


async def test_one_index_notices_what_comes_between_its_looks(history: History) -> None:
    await history.say(1, "one")
    database = await Database.open(history.path)
    index = RecallIndex(database)
    assert await index.catch_up() == 1
    await history.say(1, "two")
    await history.say(2, "three")
    assert (await index.catch_up(), await index.catch_up()) == (2, 0)
    await database.close()


async def test_a_deleted_session_leaves_no_word(history: History) -> None:
    await history.say(1, "a secret teapot")
    await history.say(2, "a public kettle")
    await history.index()
    database = await Database.open(history.path)
    await SessionTable(database).delete("s1")
    await RecallIndex(database).purge()
    await database.close()
    assert [row[9] for row in everything(history.path) if len(row) > 5] == ["a public kettle"]
    with closing(sqlite3.connect(history.path)) as connection:
        blocks = b"".join(bytes(block) for (block,) in connection.execute("SELECT block FROM recall_data"))
    assert b"kettl" in blocks and b"teapot" not in blocks


async def test_a_session_that_moves_to_another_project_is_found_there(history: History) -> None:
    await history.say(1, "a teapot", project="old")
    await history.index()
    database = await Database.open(history.path)
    await database.write("UPDATE sessions SET project = 'new'")
    await database.close()
    assert await history.texts("teapot", projects=["old"]) == []
    assert await history.texts("teapot", projects=["new"]) == ["a teapot"]


async def test_two_that_take_in_at_once_do_not_double_anything(history: History) -> None:
    for number in range(4):
        await history.say(number, *(f"text {item}" for item in range(300)))
    await asyncio.gather(history.index(), history.index())
    both = everything(history.path)
    assert both == await anew(history.path)


async def test_a_session_that_is_deleted_while_it_is_taken_in_leaves_nothing(history: History) -> None:
    for number in range(4):
        await history.say(number, *(f"text {item}" for item in range(600)))
    database = await Database.open(history.path)

    async def delete() -> None:
        for number in (0, 3):
            await asyncio.sleep(0)
            await SessionTable(database).delete(f"s{number}")

    await asyncio.gather(RecallIndex(database).catch_up(), delete())
    await database.close()
    rest = everything(history.path)
    assert {row[0] for row in rest} == {"s1", "s2"}
    assert rest == await anew(history.path)


async def test_when_cancelled_it_goes_on_where_it_was(history: History) -> None:
    await history.say(1, *(f"text {item}" for item in range(2_000)))
    database = await Database.open(history.path)
    index = RecallIndex(database)
    async with asyncio.TaskGroup() as group:
        working = group.create_task(index.catch_up())
        for _ in range(100):
            if await database.fetch("SELECT 1 FROM recall_passages LIMIT 1"):
                break
        working.cancel()
    assert working.cancelled()
    await index.catch_up()
    await database.close()
    whole = everything(history.path)
    assert whole == await anew(history.path)


@pytest.mark.slow
async def test_a_kill_at_any_moment_is_made_good_by_the_next_look(history: History) -> None:
    for number in range(6):
        await history.say(number, *(f"text {item}" for item in range(1_500)))
    chance = random.Random(7)
    for _ in range(8):
        await asyncio.to_thread(_begin_and_kill, history.path, chance.uniform(0.0, 0.15))
    await history.index()
    whole = everything(history.path)
    assert whole == await anew(history.path)


def _begin_and_kill(path: Path, delay: float) -> None:
    with subprocess.Popen([sys.executable, "-c", INDEX, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


async def test_a_database_that_was_rebuilt_starts_without_the_index_and_makes_it_anew(
    history: History,
) -> None:
    await history.say(1, *(f"teapot {number}" for number in range(40)))
    await history.index()
    whole = everything(history.path)
    damage.spoil(history.path, 0, 16, 80)
    history.path.with_name(f"{history.path.name}.users").write_text("damaged")
    database = await Database.open(history.path, repair=True)
    assert await database.fetch("SELECT count(*) FROM recall_sessions") == [(0,)]
    assert await RecallIndex(database).catch_up() == 40
    await database.close()
    assert [row for row in everything(history.path) if len(row) > 5] == [row for row in whole if len(row) > 5]


def test_an_sqlite_without_full_text_search_is_named_as_the_reason(tmp_path: Path) -> None:
    told = explain(tmp_path / "sessions.db", sqlite3.OperationalError("no such module: fts5"))
    assert "lacks FTS5" in told and "Install" in told


async def test_an_index_from_before_branches_were_noted_is_kept_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "old.db"

    def older() -> None:
        with closing(sqlite3.connect(path)) as connection:
            schema.migrate(connection, path, "0007_facts.sql")

    await asyncio.to_thread(older)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLDER)
    history = History(path)
    await history.tell(1, [TurnStarted("m2", (TextBlock("a kettle"),), branch="main")])
    assert [(hit.found.text, hit.found.branch) for hit in await history.ask("kettle teapot")] == [
        ("a teapot", ""),
        ("a kettle", "main"),
    ]
    assert await history.texts("teapot", Filter(branch="main")) == []
