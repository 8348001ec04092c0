"""Which facts fit a message."""

from __future__ import annotations

from hermes_acp.agent.memory.offers import fitting
from tests.memory.memories import example

FACTS = [
    example(1, "The orders are kept in SQLite."),
    example(2, "Deploys run on Fridays from the release branch."),
    example(3, "Tests of the orders need the fake clock."),
]


def test_facts_that_share_words_are_offered_with_the_reason() -> None:
    found = fitting("Why do tests of orders hang?", FACTS)
    assert [(offer.fact.id, offer.why) for offer in found] == [
        (FACTS[2].id, "the message says tests, orders")
    ]


def test_one_word_of_many_is_no_reason() -> None:
    assert fitting("Please put all orders into the archive folder", FACTS) == []


def test_the_budget_is_kept_and_a_message_without_words_fits_nothing() -> None:
    many = [example(number, f"Orders tests note {number} " + "x" * 300) for number in range(100)]
    found = fitting("orders tests", many)
    assert 0 < sum(len(offer.fact.text) for offer in found) <= 2_400
    assert fitting("…", FACTS) == []
