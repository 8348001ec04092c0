"""What a question asks for, and in which other words it may be answered."""

from __future__ import annotations

import pytest

from hermes_acp.memory import words


def texts(question: str) -> list[str]:
    return [word.text for word in words.content(question)]


def test_words_that_only_ask_are_left_out_unless_there_are_no_others() -> None:
    assert texts("What did Melanie's kids paint, and when?") == ["melanie", "kids", "paint"]
    assert texts("Who is it?") == ["who", "is", "it"]
    assert texts("?!") == []


def test_a_word_counts_once_and_not_all_of_a_long_question_count() -> None:
    assert texts("lock Lock LOCK") == ["lock"]
    assert len(texts(" ".join(f"word{number}" for number in range(1_000)))) == words.MOST_WORDS


def test_irregular_forms_are_as_good_as_the_word() -> None:
    [word] = words.content("wrote")
    assert word.forms == ("wrote", "write", "written")
    [word] = words.content("writing")
    assert set(word.forms) == {"writing", "write", "wrote", "written"}


def test_members_of_a_kind_and_words_for_the_same_are_related() -> None:
    [pets] = words.content("pets")
    assert {"dog", "turtle"} <= set(pets.related) and "pets" not in pets.related
    [job] = words.content("occupation")
    assert {"career", "teacher"} <= set(job.related)
    assert words.content("teapot") == [words.Word("teapot", ("teapot",))]
    [database] = words.content("databases")
    assert {"db", "sqlite", "redis"} <= set(database.related)


def test_of_a_word_with_many_related_ones_the_first_are_taken() -> None:
    assert all(len(word.related) <= words.RELATED_WORDS for word in words.content("place food book plan"))


def test_the_words_before_what_is_asked_for_say_nothing_but_do_elsewhere() -> None:
    assert texts("What types of cars, and which sorts of tea?") == ["cars", "tea"]
    assert texts("how does it sort types") == ["sort", "types"]


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Which databases did we try?", ["databases"]),
        ("what kinds of linters\nwould fit here", ["linters"]),
        ("How many servers have crashed, and which clients?", ["servers", "clients"]),
        ("Which error?", ["error"]),
        ("Did the database fail?", []),
        ("", []),
    ],
)
def test_what_is_asked_for_stands_behind_what_and_which(question: str, asked: list[str]) -> None:
    assert [word.text for word in words.content(question) if word.asked] == asked


def test_verbs_of_doing_say_less() -> None:
    assert [word.doing for word in words.content("play the piano")] == [True, False]


@pytest.mark.parametrize(
    ("question", "several"),
    [
        ("How many times did we move the database?", True),
        ("What has Maria painted?", True),
        ("Which lock  files\nare there?", True),
        ("what kinds of tests do we have", True),
        ("Which class is the parser?", False),
        ("What status did the build end with?", False),
        ("Why did we pick SQLite?", False),
        ("", False),
    ],
)
def test_what_may_have_many_answers_is_told_by_how_it_is_asked(question: str, several: bool) -> None:
    assert words.asks_for_several(question) is several


def test_a_question_about_talking_says_nothing_more() -> None:
    assert words.is_about_saying(words.content("What did you say or mention?"))
    assert not words.is_about_saying(words.content("What did you say about locks?"))
