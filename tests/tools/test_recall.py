"""The tool that recalls: what the model is shown, and how it is bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hermes_acp.events import Event, MessageCompleted, ToolCallFinished, ToolCallStarted, TurnEnded
from hermes_acp.llm import scripted
from hermes_acp.storage.database import Database
from hermes_acp.tools.base import ToolError
from hermes_acp.tools.recall import HIT_CHARS, OUTPUT_CHARS, History, RecallParams, recall_tools
from hermes_acp.tools.recall_summary import Opening
from hermes_acp.tools.toolset import Toolset
from tests.memory import history as said
from tests.memory.history import exchange
from tests.tools.context import make_context


class Asked:
    """The tool on a history that grows."""

    def __init__(self, folder: Path) -> None:
        self.history = said.History(folder / "sessions.db")
        self._folder = folder

    async def tell(self, session: int, events: Sequence[Event]) -> None:
        """More events in a session of the project."""
        await self.history.tell(session, events, project=str(self._folder.resolve()))

    async def say(self, session: int, *texts: str) -> None:
        """More turns in a session of the project."""
        await self.history.say(session, *texts, project=str(self._folder.resolve()))

    async def ask(self, asking: str = "s9", cheap: Opening | None = None, **arguments: object) -> str:
        database = await Database.open(self.history.path)
        try:
            [tool] = recall_tools(History(database, self._folder / "projects", cheap))
            context = replace(make_context(self._folder), session_id=asking)
            return (await tool.accept(arguments).run(context)).text
        finally:
            await database.close()


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


async def test_results_have_ids_times_and_speakers_and_are_as_new_as_the_journal(asked: Asked) -> None:
    await asked.tell(1, exchange("Where is the lock?", "In the server", ("Maria", "")))
    text = await asked.ask(query="where's the lock")
    assert text.splitlines()[0].startswith("[s1:2] 1970-01-12 ") and text.splitlines()[0].endswith(" Maria:")
    assert text.splitlines()[1] == "Where is the lock?"
    assert "[s1:3]" in text and "agent:\nIn the server" in text


async def test_a_look_around_a_result_shows_the_conversation_in_order(asked: Asked) -> None:
    await asked.say(1, *(f"line {number}" for number in range(20)))
    await asked.ask(query="line")
    text = await asked.ask(around="s1:10", reach=1)
    assert [line for line in text.splitlines() if line.startswith("line")] == ["line 8", "line 9", "line 10"]


async def test_the_turn_that_asks_is_no_answer_and_what_was_recalled_is_not_found_again(asked: Asked) -> None:
    await asked.tell(1, [*exchange("Where is the teapot?", "In the kitchen"), *recalled("teapot", "c1")])
    await asked.say(2, "I have to find the teapot")
    await asked.say(2, "Where is the teapot now?")
    assert shown(await asked.ask(asking="s2", query="teapot")) == {"s1:2", "s1:3", "s2:1"}
    assert shown(await asked.ask(asking="s3", query="teapot")) == {"s1:2", "s1:3", "s2:1", "s2:2"}


async def test_a_recall_whose_result_comes_much_later_is_not_found_either(asked: Asked) -> None:
    call, result, *_ = recalled("teapot", "c1")
    between = [MessageCompleted(f"m{number}", "kettle") for number in range(60)]
    await asked.tell(1, [call, *between])
    assert "teapot" not in await asked.ask(query="kettle teapot")
    await asked.tell(1, [result])
    assert "teapot" not in await asked.ask(query="teapot")


def shown(text: str) -> set[str]:
    """The ids of the results."""
    return set(re.findall(r"^\[(\w+:\d+)\]", text, re.MULTILINE))


def recalled(query: str, call_id: str) -> list[Event]:
    return [
        ToolCallStarted(call_id, "recall", f"Recall {query}", "search", f'{{"query": "{query}"}}'),
        ToolCallFinished(call_id, "completed", f"[s5:1] 2026-01-31 10:00 user:\nAbout a {query}"),
        TurnEnded("end_turn"),
    ]


async def test_nothing_found_says_what_to_do(asked: Asked) -> None:
    await asked.say(1, "one")
    assert "Try other words" in await asked.ask(query="teapot")


async def test_a_long_result_is_shown_where_the_words_are(asked: Asked) -> None:
    await asked.say(1, "begin " + "filler " * 200 + "the teapots are blue " + "filler " * 50)
    text = await asked.ask(query="Which teapots are there?")
    [shown] = text.splitlines()[1:]
    assert "the teapots are blue" in shown and shown.startswith("…") and len(shown) <= HIT_CHARS + 2


async def test_long_results_are_cut_and_all_of_them_have_a_bound(asked: Asked) -> None:
    await asked.say(1, *(f"{number} lock " + "word " * 380 for number in range(30)))
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
    await asked.say(1, "one")
    with pytest.raises(ToolError, match=complaint):
        await asked.ask(**arguments)


async def test_a_session_with_a_history_has_the_tool_and_one_without_has_not(tmp_path: Path) -> None:
    history = History(Database(tmp_path / "sessions.db"), tmp_path)
    names = {tool.spec.name for tool in await Toolset(history=history).tools()}
    assert names - {tool.spec.name for tool in await Toolset().tools()} == {"recall"}
    assert RecallParams(query="x").limit == 10


async def test_a_cheap_model_says_what_long_results_tell_and_the_others_stay(
    asked: Asked, tmp_path: Path
) -> None:
    await asked.say(1, "The teapot is blue")
    await asked.say(2, "teapot " + "filler " * 200)
    answer = '[{"id": "s2:1", "summary": "A teapot, and nothing else."}]'
    script = tmp_path / "cheap.jsonl"
    script.write_text(json.dumps({"parts": [{"text": answer}]}) + "\n")
    text = await asked.ask(cheap=partial(scripted.open_model, str(script)), query="teapot")
    assert sorted(line for line in text.splitlines() if line and not line.startswith("[")) == [
        "(summary) A teapot, and nothing else.",
        "The teapot is blue",
    ]
    script.write_text('{"parts": [{"fault": "error", "message": "No."}]}\n')
    text = await asked.ask(cheap=partial(scripted.open_model, str(script)), query="teapot")
    assert "filler" in text and text.endswith("because no summary could be made: No.]")
