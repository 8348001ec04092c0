"""The tool that recalls: what the model is shown, and how it is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.memory.recall import Recall
from hermes_acp.storage.database import Database
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import RecallIndex
from hermes_acp.tools.base import ToolError
from hermes_acp.tools.recall import HIT_CHARS, OUTPUT_CHARS, RecallParams, recall_tools
from hermes_acp.tools.toolset import Toolset
from tests.memory.history import History, exchange
from tests.tools.context import make_context


class Asked:
    """The tool on a history that grows."""

    def __init__(self, folder: Path) -> None:
        self.history = History(folder / "sessions.db")
        self._folder = folder

    async def ask(self, **arguments: object) -> str:
        database = await Database.open(self.history.path)
        try:
            reading = await ReadOnlyDatabase.existing(self.history.path)
            assert reading is not None
            [tool] = recall_tools(Recall(reading, ["p"], RecallIndex(database)))
            return (await tool.accept(arguments).run(make_context(self._folder))).text
        finally:
            await database.close()


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


async def test_results_have_ids_times_and_speakers_and_are_as_new_as_the_journal(asked: Asked) -> None:
    await asked.history.tell(1, exchange("Where is the lock?", "In the server", ("Maria", "")))
    text = await asked.ask(query="where's the lock")
    assert text.splitlines()[0].startswith("[s1:2] 1970-01-12 ") and text.splitlines()[0].endswith(" Maria:")
    assert text.splitlines()[1] == "Where is the lock?"
    assert "[s1:3]" in text and "agent:\nIn the server" in text


async def test_a_look_around_a_result_shows_the_conversation_in_order(asked: Asked) -> None:
    await asked.history.say(1, *(f"line {number}" for number in range(20)))
    await asked.ask(query="line")
    text = await asked.ask(around="s1:10", reach=1)
    assert [line for line in text.splitlines() if line.startswith("line")] == ["line 8", "line 9", "line 10"]


async def test_nothing_found_says_what_to_do(asked: Asked) -> None:
    await asked.history.say(1, "one")
    assert "Try other words" in await asked.ask(query="teapot")


async def test_long_results_are_cut_and_all_of_them_have_a_bound(asked: Asked) -> None:
    await asked.history.say(1, *(f"{number} lock " + "word " * 380 for number in range(30)))
    text = await asked.ask(query="lock", limit=30)
    assert max(map(len, text.split("\n\n"))) < HIT_CHARS + 100
    page = await asked.ask(around="s1:15", reach=20)
    assert len(page) < OUTPUT_CHARS + 200 and page.endswith("more were left out: ask for fewer]")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "not both"),
        ({"query": "x", "around": "s1:1"}, "not both"),
        ({"around": "s1"}, "is no id of a result"),
        ({"around": "s1:x"}, "is no id of a result"),
        ({"around": "s9:1"}, "There is no message s9:1"),
        ({"query": "x", "since": "soon"}, "is no time"),
        ({"query": "x", "kinds": ["thought"]}, "Wrong arguments"),
        ({"query": "x", "limit": 1_000}, "Wrong arguments"),
    ],
)
async def test_what_cannot_be_answered_is_an_error_that_says_why(
    asked: Asked, arguments: dict[str, object], complaint: str
) -> None:
    await asked.history.say(1, "one")
    with pytest.raises(ToolError, match=complaint):
        await asked.ask(**arguments)


async def test_a_session_with_a_history_has_the_tool_and_one_without_has_not(tmp_path: Path) -> None:
    reading = ReadOnlyDatabase(tmp_path / "sessions.db")
    names = {tool.spec.name for tool in await Toolset(history=Recall(reading, ["p"])).tools()}
    assert names - {tool.spec.name for tool in await Toolset().tools()} == {"recall"}
    assert RecallParams(query="x").limit == 10
