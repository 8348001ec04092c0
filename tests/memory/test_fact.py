"""A fact and its file: everything comes back, and what is none is told."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example as hypothesis_example
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.memory.facts import ids
from hermes_acp.memory.facts.fact import (
    KINDS,
    BadFact,
    Evidence,
    Fact,
    check,
    clean,
    clean_key,
    decode,
    encode,
    format_file,
    moment,
    parse_file,
)
from tests.memory.memories import example

words = st.text(max_size=60).map(clean)
idents = st.floats(0, 3e10).map(ids.new)
moments = st.floats(0, 3e10).map(moment)
evidence = st.builds(
    Evidence,
    session=words,
    seq=st.integers(0, 10**9),
    quote=words,
    commit=words,
    anchor=words,
    found=st.booleans(),
)
facts = st.builds(
    Fact,
    id=idents,
    kind=st.sampled_from(KINDS),
    scope=words.filter(bool),
    text=words.filter(bool),
    created=moments,
    updated=moments,
    key=words.map(clean_key).filter(lambda key: len(key) <= 100),
    status=st.sampled_from(("proposed", "active", "superseded", "retracted")),
    author=st.sampled_from(("user", "agent", "import")),
    confidence=st.floats(0, 1),
    supersedes=st.lists(idents, max_size=3).map(tuple),
    derived_from=st.lists(idents, max_size=3).map(tuple),
    evidence=st.lists(evidence, max_size=3).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(facts)
def test_a_fact_comes_back_from_its_file_and_the_file_from_the_fact(fact: Fact) -> None:
    text = format_file(check(fact))
    assert parse_file(text) == fact
    assert format_file(parse_file(text)) == text
    assert parse_file(text.replace("\n", "\r\n")) == fact


@settings(max_examples=25, deadline=None)
@given(st.lists(facts, max_size=4))
def test_facts_come_back_from_the_index(listed: list[Fact]) -> None:
    assert decode(encode(listed)) == tuple(listed)


@given(st.text(max_size=400))
@hypothesis_example("---\n---\n")
@hypothesis_example("---\nid: [\n---\nx")
@hypothesis_example("---\n" + "evidence:\n- {}\n" + "---\nx")
def test_whatever_is_in_a_file_is_a_fact_or_said_to_be_none(text: str) -> None:
    with pytest.raises(BadFact):
        parse_file(text)


@settings(max_examples=50, deadline=None)
@given(facts, st.data())
def test_a_damaged_file_is_never_another_error(fact: Fact, data: st.DataObject) -> None:
    text = format_file(fact)
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 5)) :]
    try:
        parse_file(damaged)
    except BadFact as error:
        assert str(error)


def test_the_file_is_what_people_read() -> None:
    fact = example(
        7,
        "SQLite: one writer\n---\nis enough",
        key="database: orders",
        confidence=0.9,
        supersedes=("01M7ZM00000000000000000003",),
        evidence=(
            Evidence("s1", 3, "let us take SQLite", anchor="db.py@1234"),
            Evidence("s2", 9, found=False),
        ),
    )
    assert format_file(fact) == (
        "---\n"
        "id: 01M7ZM00000000000000000007\n"
        "kind: decision\n"
        'key: "database: orders"\n'
        "status: active\n"
        "scope: project\n"
        "author: agent\n"
        "confidence: 0.9\n"
        "created: 1970-01-01T00:16:47.000Z\n"
        "updated: 1970-01-01T00:16:47.000Z\n"
        'supersedes: ["01M7ZM00000000000000000003"]\n'
        "evidence:\n"
        '- {"session":"s1","seq":3,"quote":"let us take SQLite","anchor":"db.py@1234"}\n'
        '- {"session":"s2","seq":9,"found":false}\n'
        "---\n"
        "\n"
        "SQLite: one writer\n---\nis enough\n"
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("kind: decision", "kind: idea"), "kind is wrong"),
        (("status: active\n", ""), "lacks status"),
        (("scope: project", "scope: project\nscope: user"), "Line 6"),
        (("scope: project", "scope: project\ncolour: red"), "Line 6"),
        (("confidence: 1.0", "confidence: 2"), "confidence"),
        (("confidence: 1.0", "confidence: much"), "no number"),
        (("created: 1970", "created: soon 1970"), "no time"),
        (("id: 01M7ZM", "id: x1M7ZM"), "no ULID"),
        (("SQLite\n", "\n"), "no text"),
        (("SQLite\n", "x" * 4_001), "longer than 4,000"),
        (("---\nid", "--\nid"), "does not begin"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(change: tuple[str, str], complaint: str) -> None:
    text = format_file(example(1))
    assert change[0] in text
    with pytest.raises(BadFact, match=complaint):
        parse_file(text.replace(*change))


def test_ids_rise_and_tell_their_time() -> None:
    made = [
        *dict.fromkeys(number for number, _ in zip(ids.rising(1_700_000_000.5), range(1_000), strict=False))
    ]
    assert made == sorted(made)
    assert len(made) == 1_000
    assert all(ids.ID.fullmatch(number) for number in made)
    assert ids.new(1.0) < ids.new(2.0) < ids.new(1_700_000_000.0)


def test_a_fact_that_cannot_be_kept_is_refused() -> None:
    for members in (
        {"text": " x"},
        {"text": ""},
        {"key": "A"},
        {"confidence": -0.1},
        {"updated": 1e12},
        {"scope": ""},
    ):
        with pytest.raises(BadFact):
            check(dataclasses.replace(example(), **members))
