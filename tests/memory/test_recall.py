"""Recall on a real database: questions as they are typed, filters, projects, and whatever strangers type."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.events import MessageCompleted, Steered, ToolCallFinished, ToolCallStarted, TurnStarted
from hermes_acp.memory.recall import Filter, Recall
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import EVENTS
from tests.memory.history import History, exchange

DAY = 24 * 3600.0
MAY = 1_683_900_000.0
"""12 May 2023."""


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "sessions.db")


async def test_a_question_as_typed_finds_the_answer_and_what_stands_beside_it(history: History) -> None:
    await history.tell(
        1, exchange("Where do we keep the lock files?", "In the runtime folder, one per session.")
    )
    await history.say(2, "The build is red again", "The window was closed")
    [answer, question] = await history.ask("So, where's the lock file kept — again?")
    assert (answer.found.session_id, answer.found.seq, answer.found.source) == ("s1", 2, "m1")
    assert question.found.text == "In the runtime folder, one per session."


async def test_words_come_together_that_stand_in_neighbouring_messages(history: History) -> None:
    await history.say(1, "Tell me about the parser", "It keeps a stack", "Which rewrite broke it?")
    await history.say(2, "A stack of plates", "Nothing to see", "The end")
    found = await history.texts("parser stack rewrite")
    assert found[0] == "It keeps a stack"
    assert set(found[:3]) == {"Tell me about the parser", "It keeps a stack", "Which rewrite broke it?"}


async def test_other_forms_of_a_word_and_words_for_the_same_are_found(history: History) -> None:
    await history.say(1, "Yesterday I bought a violin")
    await history.say(2, "The weather is nice")
    assert await history.texts("What did I buy?") == ["Yesterday I bought a violin"]
    assert await history.texts("Which instruments are there?") == ["Yesterday I bought a violin"]


async def test_who_is_named_counts_by_what_they_said_themselves(history: History) -> None:
    await history.tell(1, exchange("I love the mountains", "And I love the sea", ("Maria Lopez", "John")))
    await history.tell(2, exchange("I love the mountains", "I love the desert", ("Tim", "Ann")))
    [first, *_] = await history.ask("What does John love?")
    assert first.found.text == "And I love the sea"
    [first, *rest] = await history.ask("What does maria love")
    assert (first.found.session_id, first.found.text) == ("s1", "I love the mountains")
    assert {hit.found.session_id for hit in rest[1:]} == {"s2"}


async def test_a_list_is_gathered_from_different_sessions(history: History) -> None:
    for _ in range(4):
        await history.say(1, "The parser failed its tests", *["Nothing else is new"] * 5, at=MAY)
    await history.say(2, "Nothing is new", "The parser failed its tests", "Nothing else is new")
    first, second, *_ = await history.ask("Which parser tests have failed?")
    assert {first.found.session_id, second.found.session_id} == {"s1", "s2"}


async def test_of_a_kind_that_is_asked_for_its_members_are_found_before_what_else_is_said_of_it(
    history: History,
) -> None:
    await history.say(1, "We tried Postgres for the orders", *["Nothing else is new"] * 5)
    await history.say(2, "The carts went to Redis", *["Nothing else is new"] * 5)
    await history.say(3, "What we tried was a nap", *["Nothing else is new"] * 5)
    found = await history.texts("Which databases have we tried?")
    assert found[0] == "We tried Postgres for the orders"
    assert found.index("The carts went to Redis") < found.index("What we tried was a nap")


async def test_a_related_word_that_is_said_all_the_time_finds_nothing(history: History) -> None:
    await history.say(1, "Redis keeps the carts", *["sqlite"] * 40)
    assert await history.texts("Which database is it?") == ["Redis keeps the carts", "sqlite", "sqlite"]


async def test_a_named_person_and_time_are_enough_of_a_question(history: History) -> None:
    await history.tell(1, exchange("Rain all day", "Indeed", ("Maria", "John")), at=MAY)
    await history.tell(2, exchange("Snow all day", "Indeed", ("Maria", "John")), at=MAY + 90 * DAY)
    assert (await history.texts("What did Maria say in May?"))[0] == "Rain all day"
    assert (await history.texts("What did Maria say in August 2023?"))[0] == "Snow all day"


async def test_what_was_said_at_a_named_time_comes_first(history: History) -> None:
    await history.say(1, "The release went out", at=MAY - 300 * DAY)
    await history.say(2, "The release went out again", at=MAY)
    assert (await history.texts("Which release was it in May 2023?"))[0] == "The release went out again"
    assert (await history.texts("Which release was it on 2022-07-16?"))[0] == "The release went out"


async def test_what_was_said_at_a_named_time_is_found_among_much_that_was_said_at_others(
    history: History,
) -> None:
    for number in range(1, 5):
        await history.say(number, *["The release went out"] * 100, at=MAY - (number + 90) * DAY)
    await history.say(5, "We talked about the release", at=MAY)
    await history.say(6, *["The release went out"] * 100, at=MAY + 90 * DAY)
    assert (await history.texts("Which release was it on 12 May 2023?"))[0] == "We talked about the release"


async def test_sessions_of_others_do_not_hide_what_somebody_said_who_is_named(history: History) -> None:
    for number in range(1, 5):
        await history.tell(number, exchange(*["The red kettle boils"] * 2, ("Tim", "Ann")) * 30)
    await history.tell(5, exchange("My kettle is new", "Good", ("Maria", "John")))
    assert (await history.texts("Is the red kettle Maria's?"))[0] == "My kettle is new"


async def test_tool_calls_commands_and_their_results_are_found_with_their_kind(history: History) -> None:
    await history.tell(
        1,
        [
            TurnStarted("m1", (TextBlock("go"),)),
            Steered("m2", (TextBlock("hurry up"),)),
            ToolCallStarted("c1", "run", "Run the tests", "execute", '{"command": "pytest -x tests/flaky"}'),
            ToolCallFinished("c1", "completed", "AssertionError: teapot is short"),
            MessageCompleted("m3", "The kettle failed"),
        ],
    )
    found = {
        words: [(hit.found.kind, hit.found.source) for hit in await history.ask(words, 1)]
        for words in ("pytest flaky", "teapot", "kettle", "hurry")
    }
    assert found == {
        "pytest flaky": [("call", "c1")],
        "teapot": [("result", "c1")],
        "kettle": [("agent", "m3")],
        "hurry": [("user", "m2")],
    }


async def test_a_turn_that_is_aside_is_no_part_of_the_history(history: History) -> None:
    await history.tell(1, [TurnStarted("m1", (TextBlock("/undo teapot"),), aside=True)])
    assert await history.ask("teapot") == []


async def test_filters_narrow_by_session_kind_time_and_file(history: History) -> None:
    await history.say(1, "the teapot is in src/app/main.py", at=MAY)
    await history.tell(2, exchange("teapot please", "a teapot it is"), at=MAY + DAY)

    async def sessions(only: Filter) -> list[tuple[str, str]]:
        return sorted((hit.found.session_id, hit.found.kind) for hit in await history.ask("teapot", 10, only))

    assert await sessions(Filter(session_id="s2")) == [("s2", "agent"), ("s2", "user")]
    assert await sessions(Filter(kinds=("agent",))) == [("s2", "agent")]
    assert await sessions(Filter(file="app/main.py")) == [("s1", "user")]
    assert await sessions(Filter(until=MAY + 1)) == [("s1", "user")]
    assert await sessions(Filter(since=MAY + 1, kinds=("user",))) == [("s2", "user")]
    assert await sessions(Filter(session_id="nobody")) == await sessions(Filter(file='"')) == []


async def test_a_project_sees_its_own_sessions_and_only_a_global_search_sees_all(history: History) -> None:
    for number in range(12):
        await history.say(number, f"teapot number {number}", project=f"p{number}")
    assert await history.texts("teapot", projects=["p3"]) == ["teapot number 3"]
    assert sorted(await history.texts("teapot", projects=["p3", "p4"])) == [
        "teapot number 3",
        "teapot number 4",
    ]
    assert len(await history.texts("teapot", projects=None)) == 10
    assert (
        await history.texts("teapot", projects=["other"]) == await history.texts("teapot", projects=[]) == []
    )


@pytest.mark.parametrize(
    "question",
    [
        '"teapot', "teapot*", "(teapot OR", "NEAR(teapot", "text:teapot", "-teapot", "^teapot", "teapot'",
        "teapot\0", "TEAPOT AND NOT", "{text} : teapot", "teapot;DROP TABLE recall", "\ud800teapot",
        "teapot " * 5_000,
    ],
)  # fmt: skip
async def test_whatever_is_typed_is_a_question_and_no_syntax(history: History, question: str) -> None:
    await history.say(1, "a teapot")
    assert await history.texts(question) == ["a teapot"]


@pytest.mark.parametrize("question", ["", "   ", "???", "\0", '"', "What is it?", "nothingofthekind"])
async def test_a_question_about_nothing_that_was_said_finds_nothing(history: History, question: str) -> None:
    await history.say(1, "teapot")
    assert await history.texts(question) == []


@pytest.mark.parametrize(
    ("said", "question"),
    [
        ("今天我们讨论了数据库的设计问题", "数据库怎么设计"),
        ("昨日テストが失敗しました", "テスト"),
        ("これは猫です", "猫"),
        ("Größe und Maß", "GRÖSSE"),
        ("cafe\u0301 au lait", "café"),
        ("Привет мир", "привет"),
        ("ship it 🚀", "🚀"),
        ("look at parseHttpHeader", "header parse"),
        ("see my_module.snake_case", "snake case module"),
    ],
)
async def test_texts_of_all_scripts_symbols_and_names_are_found(
    history: History, said: str, question: str
) -> None:
    await history.say(1, said)
    await history.say(2, "something else")
    assert await history.texts(question) == [said]


async def test_a_misspelled_word_is_found_by_its_beginning(history: History) -> None:
    await history.say(1, "her education was long")
    assert await history.texts("educaton?") == ["her education was long"]


@pytest.mark.slow
async def test_a_message_of_ten_megabytes_is_found_by_any_of_its_words(history: History) -> None:
    words = ["filler"] * 1_400_000
    words[700_000] = "needle"
    await history.say(1, " ".join(words), "the end")
    [hit, *_] = await history.ask("needle")
    assert "needle" in hit.found.text and len(hit.found.text) <= 2_000
    assert [found.found.seq for found in await history.ask("filler")] == [1, 2]


async def test_the_number_of_results_is_what_was_asked_for(history: History) -> None:
    await history.say(1, *(f"teapot {number}" for number in range(30)))
    assert [len(await history.ask("teapot", limit)) for limit in (-1, 0, 1, 25)] == [0, 0, 1, 25]


async def test_around_shows_the_conversation_there_and_nothing_of_other_projects(history: History) -> None:
    await history.say(1, *(f"line {number}" for number in range(9)))
    await history.index()
    reading = await ReadOnlyDatabase.existing(history.path)
    assert reading is not None
    near = await Recall(reading, ["p"]).around("s1", 5, 1)
    assert [found.text for found in near] == ["line 3", "line 4", "line 5"]
    assert (
        await Recall(reading, ["other"]).around("s1", 5) == await Recall(reading, ["p"]).around("s9", 5) == []
    )


async def test_a_branch_limits_what_is_found_to_the_turns_that_had_it_checked_out(history: History) -> None:
    turns = [
        TurnStarted("m1", (TextBlock("the teapot of main"),), branch="main"),
        *(MessageCompleted(f"a{number}", f"teapot {number}") for number in range(EVENTS)),
        TurnStarted("m2", (TextBlock("the teapot of the feature"),), branch="feature/tea"),
    ]
    await history.tell(1, turns)
    await history.index()
    await history.tell(1, [MessageCompleted("a", "a teapot behind it")])
    await history.say(2, "a teapot of nobody knows where")
    on_feature = {"the teapot of the feature", "a teapot behind it"}
    assert set(await history.texts("teapot", Filter(branch="feature/tea"))) == on_feature
    on_main = [hit.found.branch for hit in await history.ask("teapot", 999, Filter(branch="main"))]
    assert on_main and set(on_main) == {"main"}
    assert await history.texts("what was said?", Filter(branch="none")) == []
    assert "a teapot of nobody knows where" in await history.texts("teapot nobody")
