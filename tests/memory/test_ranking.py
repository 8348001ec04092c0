"""How passages are ranked, without a database."""

from __future__ import annotations

from hermes_acp.memory.dates import Period
from hermes_acp.memory.ranking import (
    RELATED,
    WITHOUT_NAMED,
    Signals,
    Term,
    best,
    distinct,
    near_named,
    neighbourhood,
    ranked,
    scores,
    sessions_with_named,
    spread,
    term,
)
from hermes_acp.storage.recall_passages import ASKS, TELLS_TIME
from hermes_acp.storage.recall_reader import Measure

FIRST = 1 << 44 | 1 << 22
OTHER = 1 << 44 | 2 << 22


def passage(place: int, **members: object) -> Measure:
    values = {"seq": place & 0xFFFF, "at": 10.0, "kind": "user", "speaker": "", "words": 8, "traits": 0}
    return Measure(**{**values, **members})  # pyright: ignore[reportArgumentType]


def order(
    places: list[int], measures: dict[int, Measure], signals: Signals, **speakers: list[str]
) -> list[int]:
    """The order of passages that all have the same word, far from each other."""
    terms = [term(places, (), 1_000)]
    named = sessions_with_named({1: speakers.get("first", []), 2: speakers.get("other", [])}, signals)
    return [place for place, _ in ranked(terms, measures, named, signals)]


def test_a_rare_word_weighs_more_than_a_frequent_one_and_an_absent_one_nothing() -> None:
    assert term([1], (), 100).weight > term(range(50), (), 100).weight > term(range(100), (), 100).weight > 0
    assert term((), (), 100).weight == 0


def test_a_related_word_is_worth_less_and_not_counted_beside_the_word_itself() -> None:
    item = term([1], [[1, 2]], 100)
    found = scores([item], 1)
    assert set(item.places) == {1, 2}
    assert found[1] > found[2] > 0
    assert best(found, 1) == {1: found[1]}


def test_a_rare_related_word_is_worth_more_than_a_frequent_one_and_neither_more_than_its_share() -> None:
    item = term([1, 2], [range(2, 60), [50], [70, 71]], 100, 0.5)
    places = item.places
    assert places[1] == places[2] == 1.0
    assert 0 < places[3] < places[70] == places[50] == 0.5


def test_a_word_that_never_occurs_is_found_by_its_related_words() -> None:
    assert term([], [[7]], 100).places == {7: RELATED}
    assert term([], [[], []], 100) == Term(0.0, {})


def test_the_best_are_those_of_all_words_and_of_equal_ones_the_later() -> None:
    found = scores([term(range(50), (), 100), term([7, 60], (), 100)], 3)
    assert list(best(found, 3)) == [7, 60, 49]
    assert best(found, 99) == best(found, 51)


def test_a_place_with_only_frequent_words_is_not_looked_at_once_rare_ones_have_found_enough() -> None:
    rare, frequent = term([1, 2, 3], (), 1_000), term(range(2, 500), (), 1_000)
    assert set(scores([frequent, rare], 3)) == {1, 2, 3}
    assert scores([frequent, rare], 3)[3] == rare.weight + frequent.weight
    assert len(scores([frequent, rare], 4)) == 499


def test_sessions_without_somebody_named_count_less_before_their_passages_are_looked_at() -> None:
    signals = Signals(frozenset({"maria"}), frozenset({OTHER + 2}))
    found = near_named({FIRST + 1: 1.0, OTHER + 1: 1.0, OTHER + 2: 1.0}, {1}, signals)
    assert found == {FIRST + 1: 1.0, OTHER + 1: WITHOUT_NAMED, OTHER + 2: 1.0}
    assert near_named({OTHER + 1: 1.0}, (), Signals()) == {OTHER + 1: 1.0}


def test_a_passage_is_as_good_as_its_window() -> None:
    measures = {place: passage(place) for place in neighbourhood([FIRST + 5])}
    terms = [term([FIRST + step], (), 100) for step in (4, 5, 6)]
    assert ranked(terms, measures, (), Signals())[0][0] == FIRST + 5


def test_the_words_of_a_question_belong_to_its_answer_more_than_those_of_a_statement_to_what_follows() -> (
    None
):
    measures = {place: passage(place) for place in (FIRST + 10, FIRST + 11, FIRST + 20, FIRST + 21)}
    measures[FIRST + 10] = passage(FIRST + 10, traits=ASKS)
    found = dict(ranked([term([FIRST + 10, FIRST + 20], (), 100)], measures, (), Signals()))
    assert found[FIRST + 11] > found[FIRST + 21] > 0


def test_of_several_answers_each_stands_more_for_itself_than_behind_another() -> None:
    measures = {place: passage(place) for place in (FIRST + 10, FIRST + 11)}
    terms = [term([FIRST + 10], (), 100)]
    one = dict(ranked(terms, measures, (), Signals()))
    several = dict(ranked(terms, measures, (), Signals(several=True)))
    assert several[FIRST + 10] == one[FIRST + 10]
    assert one[FIRST + 11] > several[FIRST + 11] > 0


def test_passages_without_any_word_near_are_left_out() -> None:
    measures = {place: passage(place) for place in (FIRST + 1, FIRST + 9)}
    assert order([FIRST + 1], measures, Signals()) == [FIRST + 1]


def test_the_named_speaker_then_a_mention_then_others_then_sessions_without_them() -> None:
    places = [FIRST + 10, FIRST + 20, FIRST + 30, OTHER + 10]
    measures = {place: passage(place) for place in places}
    measures[FIRST + 30] = passage(FIRST + 30, speaker="Maria Lopez")
    signals = Signals(frozenset({"maria"}), frozenset({FIRST + 20}))
    expected = [FIRST + 30, FIRST + 20, FIRST + 10, OTHER + 10]
    assert order(places, measures, signals, first=["Maria Lopez"], other=["John"]) == expected


def test_the_named_period_and_a_time_for_a_question_that_asks_when_come_first() -> None:
    places = [FIRST + 10, FIRST + 20, FIRST + 30]
    measures = {place: passage(place) for place in places}
    measures[FIRST + 20] = passage(FIRST + 20, traits=TELLS_TIME)
    measures[FIRST + 30] = passage(FIRST + 30, at=5.0)
    signals = Signals(periods=(Period(4.0, 6.0),), asks_when=True)
    assert order(places, measures, signals) == [FIRST + 30, FIRST + 20, FIRST + 10]


def test_of_several_answers_each_further_one_of_a_session_counts_less() -> None:
    found = [(FIRST + 10, 1.0), (FIRST + 20, 0.99), (FIRST + 30, 0.98), (OTHER + 10, 0.9), (OTHER + 20, 0.5)]
    order = spread(found)
    assert [place for place, _ in order] == [FIRST + 10, OTHER + 10, FIRST + 20, FIRST + 30, OTHER + 20]
    assert order == sorted(order, key=lambda pair: -pair[1])
    assert spread([]) == []


def test_the_own_words_of_who_is_named_count_more_when_there_may_be_several_answers() -> None:
    measures = {FIRST + 10: passage(FIRST + 10, speaker="Maria"), FIRST + 20: passage(FIRST + 20)}
    terms = [term([FIRST + 10, FIRST + 20], (), 1_000)]

    def lead(*, several: bool) -> float:
        signals = Signals(frozenset({"maria"}), several=several)
        (_, first), (_, second) = ranked(terms, measures, {1}, signals)
        return first / second

    assert lead(several=True) > lead(several=False) > 1


def test_statements_come_before_questions_and_messages_before_what_tools_printed() -> None:
    places = [FIRST + 10, FIRST + 20, FIRST + 30]
    measures = {
        FIRST + 10: passage(FIRST + 10, traits=ASKS, kind="result"),
        FIRST + 20: passage(FIRST + 20, kind="result"),
        FIRST + 30: passage(FIRST + 30),
    }
    assert order(places, measures, Signals()) == [FIRST + 30, FIRST + 20, FIRST + 10]


def test_of_equally_good_ones_the_newer_comes_first() -> None:
    places = [FIRST + 10, FIRST + 20]
    measures = {FIRST + 10: passage(FIRST + 10, at=20.0), FIRST + 20: passage(FIRST + 20)}
    assert order(places, measures, Signals()) == [FIRST + 10, FIRST + 20]


def test_an_event_is_shown_once_by_its_best_passage() -> None:
    measures = {FIRST + 1: passage(FIRST + 1, seq=1), FIRST + 2: passage(FIRST + 2, seq=1)}
    assert distinct([(FIRST + 2, 2.0), (FIRST + 1, 1.0)], measures) == [(FIRST + 2, 2.0)]
