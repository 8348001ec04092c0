"""Words that are looked for: whatever their case, accents and number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.storage.words import MOST, BadWords, Place, Words, fold, normal


def spans(text: str, *typed: str) -> list[str]:
    """What is found in a text."""
    return [text[place.start : place.end] for place in Words.of(typed).places(text, 9)]


def test_words_are_split_folded_and_counted_once() -> None:
    assert Words.of(["Fix  the", "\tTHE\n", "größe", "GRÖSSE"]).folded == ("fix", "the", "grösse")


@pytest.mark.parametrize("typed", [[], [""], [" \t\n"]])
def test_there_must_be_something_to_look_for(typed: list[str]) -> None:
    with pytest.raises(BadWords, match="nothing to look for"):
        Words.of(typed)


def test_the_number_of_words_is_bounded_and_their_length_is_not() -> None:
    assert len(Words.of(f"w{number}" for number in range(MOST)).folded) == MOST
    with pytest.raises(BadWords, match="33 words are too many"):
        Words.of(f"w{number}" for number in range(MOST + 1))
    assert Words.of(["x" * 1_000_000]).count("x" * 1_000_000) == [1]


def test_an_argument_that_is_not_valid_unicode_finds_nothing() -> None:
    assert Words.of(["a\udcff"]).count("a\udcff") == [0]


def test_a_word_is_found_in_other_words_in_any_case_and_encoding() -> None:
    assert spans("The SERVER serves, server!", "Server", "serve") == [
        "SERVER",
        "SERVE",
        "serve",
        "server",
        "serve",
    ]
    assert spans("Die Straße und die STRASSE", "strasse") == ["Straße", "STRASSE"]
    assert spans(normal("cafe\u0301 CAFÉ"), "Cafe\u0301") == ["café", "CAFÉ"]
    assert spans("100% of_it \\ \"q\" 'q' 🙂", "%", "_", "\\", '"q"', "🙂") == ["%", "_", "\\", '"q"', "🙂"]
    assert spans("ﬁne", "fi") == ["ﬁ"]


def test_places_are_in_order_the_longer_first() -> None:
    assert Words.of(["ab", "abc", "c"]).places("abc", 9) == [Place(0, 3, 1), Place(0, 2, 0), Place(2, 3, 2)]


def test_only_the_first_places_of_each_word_are_told() -> None:
    assert Words.of(["a", "b"]).places("aaab", 2) == [Place(0, 1, 0), Place(1, 2, 0), Place(3, 4, 1)]


@given(st.text(), st.text(min_size=1))
def test_what_stands_in_a_text_is_counted_and_has_a_place(around: str, typed: str) -> None:
    try:
        words = Words.of([typed])
    except BadWords:
        return
    text = normal(f"{around} {typed} {around}")
    assert all(words.count(text))
    for place in words.places(text, 9):
        assert words.folded[place.word] in fold(text[place.start : place.end])
