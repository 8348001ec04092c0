"""What changes mean for the facts that there are, without a disk."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.memory import scopes, views
from hermes_acp.memory.facts import ids, undoing
from hermes_acp.memory.facts.changes import Amend, Change, Confirm, Remember, Retract, Supersede
from hermes_acp.memory.facts.edits import Edit, moved
from hermes_acp.memory.facts.fact import BadFact, Evidence, Fact
from hermes_acp.memory.facts.planning import Plan, plan
from hermes_acp.memory.facts.undoing import Void
from hermes_acp.memory.scopes import Move, Place
from tests.memory.memories import FEATURE, MAIN, PROOF, example, fact


class Book:
    """Facts in memory, changed step by step."""

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        self.clock = itertools.count(1_700_000_000)
        self.last: Plan | None = None

    def do(self, place: Place, *changes: Change) -> Sequence[str]:
        at = float(next(self.clock))
        self.last = plan(changes, self.facts, place, at, ids.rising(at))
        self.put(self.last.edits)
        return self.last.ids

    def put(self, edits: Sequence[Edit]) -> None:
        self.facts |= {edit.after.id: edit.after for edit in edits}

    def move(self, source: str, target: str) -> None:
        self.put(moved(self.facts, [Move("merged", source, target)]))

    def seen(self, place: Place) -> list[str]:
        return sorted(item.text for item in visible(self.facts, place))

    def states(self) -> dict[str, str]:
        return {item.text: item.status for item in self.facts.values()}


def visible(facts: Mapping[str, Fact], place: Place) -> list[Fact]:
    return scopes.visible(
        [[item for item in facts.values() if item.scope == scope] for scope in (*place.scopes, "user")]
    )


def test_the_newest_fact_with_a_key_holds_and_says_what_it_replaced() -> None:
    book = Book()
    for text in ("SQLite", "Postgres", "MySQL"):
        [last] = book.do(MAIN, fact(text, "Database"))
    assert book.states() == {"SQLite": "superseded", "Postgres": "superseded", "MySQL": "active"}
    assert len(book.facts[last].supersedes) == 2
    assert book.seen(MAIN) == ["MySQL"]


def test_what_comes_back_after_a_retraction_is_what_was_replaced_last() -> None:
    book = Book()
    made = [book.do(MAIN, fact(text, "database"))[0] for text in ("SQLite", "Postgres", "MySQL")]
    book.do(MAIN, Retract(made[1]))
    assert book.seen(MAIN) == ["MySQL"]
    book.do(MAIN, Retract(made[2]))
    assert book.seen(MAIN) == ["SQLite"]
    book.do(MAIN, Confirm(made[1]))
    assert book.seen(MAIN) == ["Postgres"]
    book.do(MAIN, Confirm(made[0]))
    assert book.seen(MAIN) == ["SQLite"]


def test_facts_without_a_key_are_replaced_by_id() -> None:
    book = Book()
    [first] = book.do(MAIN, fact("tests run with make"))
    book.do(MAIN, fact("use tabs"))
    [second] = book.do(MAIN, Supersede(first, "tests run with tox", evidence=PROOF))
    book.do(MAIN, Supersede(second, "tests run with nox", evidence=PROOF))
    assert book.seen(MAIN) == ["tests run with nox", "use tabs"]


def test_on_a_branch_only_what_depends_on_the_code_stays_there() -> None:
    book = Book()
    book.do(MAIN, fact("SQLite", "database"))
    book.do(FEATURE, fact("Postgres", "database"), fact("CI is slow", kind="environment"))
    book.do(FEATURE, Remember("preference", "short answers", author="user", reach="user"))
    assert book.seen(MAIN) == ["CI is slow", "SQLite", "short answers"]
    assert book.seen(FEATURE) == ["CI is slow", "Postgres", "short answers"]
    assert book.seen(Place("p", "overlay/other")) == book.seen(MAIN)


def test_an_agent_on_a_branch_does_not_reword_what_holds_beyond_it() -> None:
    book = Book()
    [known] = book.do(MAIN, fact("tests run with make"))
    book.do(FEATURE, Amend(known, text="tests run with tox", evidence=PROOF))
    assert (book.seen(MAIN), book.seen(FEATURE)) == (["tests run with make"], ["tests run with tox"])
    book.do(FEATURE, Amend(known, text="tests run with `make test`", author="user"))
    assert book.seen(MAIN) == ["tests run with `make test`"]


def test_a_merge_replaces_what_the_branch_had_replaced() -> None:
    book = Book()
    [make] = book.do(MAIN, fact("tests run with make"))
    book.do(MAIN, fact("SQLite", "database"))
    book.do(FEATURE, fact("Postgres", "database"), Supersede(make, "tests run with tox", evidence=PROOF))
    book.move("overlay/feature", "project")
    assert book.seen(MAIN) == ["Postgres", "tests run with tox"]
    assert book.states()["SQLite"] == book.states()["tests run with make"] == "superseded"


def test_of_two_facts_that_meet_in_a_merge_the_newer_one_holds() -> None:
    book = Book()
    book.do(FEATURE, fact("Postgres", "database"))
    book.do(MAIN, fact("MySQL", "database"))
    book.move("overlay/feature", "project")
    assert book.seen(MAIN) == ["MySQL"]


def test_what_nobody_said_is_a_proposal_until_it_is_confirmed() -> None:
    book = Book()
    [guess] = book.do(
        MAIN, Remember("decision", "use Redis", evidence=(Evidence("s", 1, "Redis", found=False),))
    )
    assert book.last is not None
    assert "No evidence" in book.last.notes[0]
    assert (book.seen(MAIN), book.facts[guess].status) == ([], "proposed")
    book.do(MAIN, Confirm(guess))
    assert book.seen(MAIN) == ["use Redis"]


def test_the_agent_does_not_overrule_the_user() -> None:
    book = Book()
    [ours] = book.do(MAIN, Remember("preference", "tabs", "indent", author="user"))
    [theirs] = book.do(MAIN, fact("spaces", "indent", "preference"))
    assert (book.seen(MAIN), book.facts[theirs].status) == (["tabs"], "proposed")
    book.do(MAIN, Amend(ours, text="three spaces", evidence=PROOF))
    assert book.seen(MAIN) == ["tabs"]
    book.do(MAIN, Confirm(theirs))
    assert book.seen(MAIN) == ["spaces"]


def test_the_same_again_is_one_fact_with_more_evidence() -> None:
    book = Book()
    [first] = book.do(MAIN, Remember("decision", "Use  sqlite"))
    again = Evidence("s2", 1, "use sqlite")
    [second] = book.do(MAIN, Remember("decision", "use SQLite", evidence=(again,)))
    [third] = book.do(FEATURE, fact("use sqlite"))
    assert first == second == third
    assert book.facts[first].status == "active"
    assert book.facts[first].evidence == (again, *PROOF)


@pytest.mark.parametrize(
    "change",
    [
        Retract("01M7ZM00000000000000000000"),
        Supersede("nobody", "x"),
        Remember("decision", " "),
        Remember("decision", "x" * 5_000),
        Remember("decision", "x", confidence=2.0, author="user"),
        Remember("decision", "x", derived_from=("y",), author="user"),
    ],
)
def test_what_makes_no_sense_is_refused_as_a_whole(change: Change) -> None:
    book = Book()
    with pytest.raises(BadFact):
        book.do(MAIN, fact("good"), change)
    assert book.facts == {}


# --- taking back -----------------------------------------------------------------------------------


def changes_of(book: Book, data: st.DataObject, place: Place) -> list[Change]:
    """Some changes that make sense now."""
    known = sorted(book.facts)
    made: list[Change] = []
    for _ in range(data.draw(st.integers(1, 3))):
        text = data.draw(st.sampled_from("abcdefgh"))
        key = data.draw(st.sampled_from(("", "k", "l")))
        derived = tuple(data.draw(st.lists(st.sampled_from(known), max_size=2))) if known else ()
        author = data.draw(st.sampled_from(("user", "agent")))
        new = Remember("decision", text, key, author=author, evidence=PROOF, derived_from=derived)
        one = data.draw(st.sampled_from(known)) if known else ""
        known_changes = [
            Supersede(one, text + text, evidence=PROOF),
            Amend(one, text=text * 3, author="user"),
        ]
        known_changes += [Retract(one), Confirm(one)]
        made.append(data.draw(st.sampled_from([new, *(known_changes if known else [])])))
    return made


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_change_that_is_taken_back_leaves_the_views_byte_by_byte_as_they_were(data: st.DataObject) -> None:
    book = Book()
    places = (MAIN, FEATURE)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.sampled_from(places))
        book.do(place, *changes_of(book, data, place))
    before = [views.render("project", visible(book.facts, place), 2_000).text for place in places]
    book.do(MAIN, *changes_of(book, data, MAIN))
    assert book.last is not None
    change = book.last.edits
    for place in places:
        # What comes later and rests on it falls with it.
        made = [edit.after.id for edit in change if edit.before is None]
        if made:
            book.do(
                place,
                Remember("pitfall", f"because of it at {place}", derived_from=tuple(made), author="user"),
            )
    book.put(undoing.revert(change, book.facts))
    assert [views.render("project", visible(book.facts, place), 2_000).text for place in places] == before


def test_taking_back_a_change_in_the_middle_is_as_if_it_had_never_been_made() -> None:
    for taken in range(3):
        book = Book()
        history = []
        for text in ("a", "b", "c"):
            book.do(MAIN, fact(text, "key"))
            assert book.last is not None
            history.append(book.last.edits)
        book.put(undoing.revert(history[taken], book.facts))
        assert book.seen(MAIN) == [["c"], ["c"], ["b"]][taken]
        left = [number for number in range(3) if number != taken]
        book.put(undoing.revert(history[left[1]], book.facts))
        assert book.seen(MAIN) == ["abc"[left[0]]]


def test_what_others_did_to_a_fact_since_stays() -> None:
    book = Book()
    [one] = book.do(MAIN, fact("first"))
    book.do(MAIN, Amend(one, text="second", author="user"))
    assert book.last is not None
    amended = book.last.edits
    book.do(MAIN, Amend(one, confidence=0.5, author="user"))
    book.put(undoing.revert(amended, book.facts))
    assert (book.facts[one].text, book.facts[one].confidence) == ("first", 0.5)


def test_taking_back_goes_through_all_that_was_derived_and_back_again() -> None:
    book = Book()
    [root] = book.do(MAIN, fact("root"))
    assert book.last is not None
    first = book.last.edits
    [leaf] = book.do(MAIN, Remember("decision", "leaf", author="user", derived_from=(root,)))
    book.do(MAIN, Remember("decision", "leaf of leaf", author="user", derived_from=(leaf, root)))
    book.do(MAIN, fact("other"))
    undone = undoing.revert(first, book.facts)
    book.put(undone)
    assert book.seen(MAIN) == ["other"]
    book.put(undoing.revert(undone, book.facts))
    assert book.seen(MAIN) == ["leaf", "leaf of leaf", "other", "root"]


def test_what_loses_its_evidence_is_retracted_with_what_was_derived_from_it_and_what_it_replaced_holds() -> (
    None
):
    here, elsewhere = Evidence("s", 3, "x"), Evidence("other", 3, "x")
    facts = {
        fact.id: fact
        for fact in (
            example(1, "old", status="superseded", author="user"),
            example(2, "new", evidence=(here,), author="user", supersedes=(example(1).id,)),
            example(3, "derived", derived_from=(example(2).id,)),
            example(4, "said twice", evidence=(here, elsewhere), author="user"),
            example(5, "confirmed", evidence=(here,)),
            example(6, "reworded", evidence=(here,), author="user"),
            example(7, "proposed", evidence=(here,), status="proposed"),
            example(8, "elsewhere", evidence=(elsewhere,), author="user"),
            example(9, "gone", evidence=(here,), status="retracted"),
        )
    }
    edits = undoing.unlearn(Void("s", {2, 3}, {example(6).id}), facts, 9_000.0)
    assert {edit.after.text: (edit.after.status, edit.after.evidence) for edit in edits} == {
        "old": ("active", ()),
        "new": ("retracted", (here,)),
        "derived": ("retracted", ()),
        "said twice": ("active", (elsewhere,)),
        "confirmed": ("active", ()),
        "reworded": ("active", ()),
        "proposed": ("retracted", (here,)),
    }


def test_what_stays_is_as_it_was_before_the_edits_but_for_what_somebody_changed_since() -> None:
    here, elsewhere = Evidence("s", 3, "x"), Evidence("other", 3, "x")
    old = example(1, "old", evidence=(elsewhere,), author="user")
    new = replace(old, text="new", key="colour", updated=2_000.0, evidence=(elsewhere, here))
    newest = replace(new, text="newest", updated=3_000.0)
    void = Void("s", {3}, edits=(Edit(old, new), Edit(new, newest)))

    def after(void: Void, fact: Fact) -> Fact:
        [edit] = undoing.unlearn(void, {fact.id: fact}, 9_000.0)
        return edit.after

    assert after(void, newest) == replace(old, updated=9_000.0)
    theirs = replace(newest, text="theirs", updated=4_000.0)
    assert after(void, theirs) == replace(theirs, key="", evidence=(elsewhere,))
    assert after(replace(void, owned={old.id}), newest) == replace(newest, evidence=(elsewhere,))
    # What has gone since has no history.
    assert after(replace(void, edits=()), newest) == replace(newest, evidence=(elsewhere,))
