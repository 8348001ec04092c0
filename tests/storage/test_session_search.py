"""Finding sessions by what was said, by the beginning of an id, by a turn without an end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from hermes_acp.content import ImageBlock, LinkBlock, TextBlock
from hermes_acp.events import (
    Event,
    MessageCompleted,
    SessionStarted,
    Steered,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.session_search import TITLE, beginning_with, search, unended
from hermes_acp.storage.sessions import SessionTable
from hermes_acp.storage.words import Words
from tests.cli.sessions_home import envelopes, row, turn


class Kept:
    """Stored sessions and what is found in them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def hold(
        self, number: int, said: Iterable[Event], title: str | None = None, cwd: str = "/code"
    ) -> None:
        session = row(number, title, cwd)
        database = await Database.open(self.path)
        await SessionTable(database).create(session)
        await Journal(database).append(envelopes(session, said))
        await database.close()

    async def reading(self) -> ReadOnlyDatabase:
        database = await ReadOnlyDatabase.existing(self.path)
        assert database is not None
        return database

    async def find(self, *typed: str, cwd: str | None = None, limit: int = 20) -> list[str]:
        """The ids of what is found, in order."""
        hits = await search(await self.reading(), Words.of(typed), cwd, limit)
        return [hit.session.session_id for hit in hits]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "sessions.db")


async def test_titles_messages_of_both_sides_and_commands_are_searched_and_nothing_else(kept: Kept) -> None:
    await kept.hold(
        1,
        [
            SessionStarted("/elsewhere/started"),
            TurnStarted(
                "m1", (TextBlock("asked"), LinkBlock("file:///uri", "linked.py"), ImageBlock("AAAA", "mime"))
            ),
            Steered("m2", (TextBlock("steered"),)),
            MessageCompleted("m3", "answered", "thought", opaque='"opaque"'),
            ToolCallStarted("c1", "run", "Titled", "execute", '{"command": "make \\u0041ll"}'),
            ToolCallStarted("c2", "write", "Write a.py", "edit", '{"content": "written"}'),
            ToolCallStarted("c3", "run", "Broken call", "execute", '{"command": "ma'),
            ToolCallFinished("c1", "completed", "printed"),
            TurnEnded("error", "failed"),
        ],
        "The title",
    )
    found = ["asked", "linked.py", "steered", "answered", "all", "a.py", "broken", "title"]
    assert [word for word in found if not await kept.find(word)] == []
    hidden = [
        "started",
        "uri",
        "mime",
        "AAAA",
        "thought",
        "opaque",
        "written",
        "printed",
        "failed",
        "turn_started",
    ]
    assert [word for word in hidden if await kept.find(word)] == []


async def test_all_words_must_occur_but_anywhere_in_the_session(kept: Kept) -> None:
    await kept.hold(1, turn("the red fox", "jumps"), "Animals")
    await kept.hold(2, turn("the red house", "stands"))
    assert await kept.find("RED") == ["s2", "s1"]
    assert await kept.find("animals", "fox", "jump") == ["s1"]
    assert await kept.find("red", "stands", "fox") == []


async def test_more_and_rarer_matches_come_first_and_then_the_newer_session(kept: Kept) -> None:
    await kept.hold(1, turn("common rare rare"))
    await kept.hold(2, turn("common rare"))
    await kept.hold(3, turn("common rare"))
    await kept.hold(4, turn("common common seldom"))
    await kept.hold(5, turn("common common"))
    assert await kept.find("rare") == ["s1", "s3", "s2"]
    assert await kept.find("common") == ["s5", "s4", "s3", "s2", "s1"]
    assert await kept.find("common", limit=2) == ["s5", "s4"]
    assert await kept.find("common", limit=0) == await kept.find("common", limit=-1) == []


async def test_the_words_of_a_search_mean_themselves(kept: Kept) -> None:
    said = "100% a_b 'single' \"double\" back\\slash tab\there é Größe 🙂 日本語 null\0byte"
    await kept.hold(1, turn(said), "plain")
    words = [
        "100%",
        "a_b",
        "'single'",
        '"double"',
        "back\\slash",
        "e\u0301",
        "GRÖSSE",
        "🙂",
        "本",
        "null\0byte",
    ]
    assert [word for word in words if not await kept.find(word)] == []
    strangers = ["a%b", "aXb", "1_0", "\\n", "\\u0000", "' OR 1 --", "x" * 1_000_000]
    assert [word for word in strangers if await kept.find(word)] == []


async def test_only_the_sessions_of_a_folder_are_searched_when_one_is_given(kept: Kept) -> None:
    await kept.hold(1, turn(), cwd="/a")
    await kept.hold(2, turn(), cwd="/a/b")
    assert await kept.find("hello", cwd="/a") == ["s1"]
    assert await kept.find("hello", cwd="/") == []


async def test_a_hit_has_the_text_with_the_most_words_and_says_whose_it_is(kept: Kept) -> None:
    await kept.hold(1, turn("red", "the red fox is red"), "red fox")
    [hit] = await search(await kept.reading(), Words.of(["fox", "red"]), None, 20)
    assert (hit.session, hit.matches) == (row(1, "red fox"), 6)
    assert (hit.speaker, hit.seq, hit.text) == ("agent", 3, "the red fox is red")
    [hit] = await search(await kept.reading(), Words.of(["red"]), None, 20)
    assert (hit.speaker, hit.seq, hit.text) == ("user", 2, "red")
    await kept.hold(2, turn(), "only here")
    [hit] = await search(await kept.reading(), Words.of(["only"]), None, 20)
    assert (hit.speaker, hit.seq, hit.text) == ("title", TITLE, "only here")


async def test_ids_are_found_by_their_beginning_the_whole_one_first(kept: Kept) -> None:
    for number in (1, 12, 13, 2):
        await kept.hold(number, turn())
    database = await kept.reading()
    assert [item.session_id for item in await beginning_with(database, "s1", 10)] == ["s1", "s13", "s12"]
    assert [item.session_id for item in await beginning_with(database, "s", 2)] == ["s13", "s12"]
    assert await beginning_with(database, "%", 10) == []


async def test_a_turn_is_unended_until_its_last_event(kept: Kept) -> None:
    await kept.hold(1, turn())
    await kept.hold(2, turn()[:-1])
    await kept.hold(3, turn()[:1])
    await kept.hold(4, [])
    await kept.hold(5, turn()[:2])
    assert await unended(await kept.reading(), ["s1", "s2", "s3", "s4", "gone"]) == {"s2"}
