"""Views: what is worth its room, the same bytes each time, and edits that are read back."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.memory import views
from hermes_acp.memory.facts.changes import Amend, Remember, Retract
from hermes_acp.memory.facts.fact import KINDS, Fact
from hermes_acp.memory.views import Conflict, ReadBack, View
from tests.memory.memories import example

FACTS = [
    example(1, "SQLite: one writer\nis enough"),
    example(2, "Run the tests with make test", kind="procedure"),
    example(3, "Never edit generated files", kind="pitfall", author="user"),
    example(4, "Write short commits", kind="preference", author="user"),
]


def page(facts: list[Fact] = FACTS, budget: int = views.PROJECT_CHARS) -> View:
    return views.render("project", facts, budget)


def back(edited: str, facts: list[Fact] = FACTS, now: list[Fact] | None = None) -> ReadBack:
    known = {fact.id: fact for fact in (facts if now is None else now)}
    return views.read_back(page(facts), edited, known)


def test_a_view_is_a_page_with_a_line_for_each_fact() -> None:
    assert page().text == (
        "# What is known of this project\n"
        "\n"
        "## Preferences\n"
        "- Write short commits ^000004\n"
        "\n"
        "## Decisions\n"
        "- SQLite: one writer is enough ^000001\n"
        "\n"
        "## Procedures\n"
        "- Run the tests with make test ^000002\n"
        "\n"
        "## Pitfalls\n"
        "- Never edit generated files ^000003\n"
    )
    assert views.render("user", [], 1_000) == View("user", "", (), 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(
            example,
            number=st.integers(0, 10**9),
            text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90).map(
                lambda text: text.strip() or "x"
            ),
            kind=st.sampled_from(KINDS),
            author=st.sampled_from(("user", "agent")),
            confidence=st.floats(0, 1),
        ),
        max_size=30,
        unique_by=lambda fact: fact.id,
    ),
    st.integers(0, 1_500),
    st.randoms(),
)
def test_a_view_keeps_its_budget_counts_the_rest_and_means_nothing_when_it_comes_back(
    facts: list[Fact], budget: int, order: random.Random
) -> None:
    view = page(facts, budget)
    order.shuffle(facts)
    assert page(facts, budget) == view
    assert len(view.text) <= budget
    assert len(view.lines) + view.left_out == len(facts)
    assert (f"({view.left_out:,} more did not fit" in view.text) == bool(view.left_out and view.lines)
    known = {fact.id: fact for fact in facts}
    assert views.read_back(view, view.text, known) == ReadBack()
    assert views.read_back(view, view.text.replace("\n", "\r\n"), known) == ReadBack()


def test_value_decides_what_fits_and_age_only_between_equals() -> None:
    old = example(1, "old but said by the user", author="user")
    new = example(2, "new guess of the agent's", confidence=0.3)
    used = example(3, "used again and again", confidence=0.6)
    idle = example(4, "never used since then", confidence=0.6)
    room = len(page([old], 2_000).text) + 90
    assert page([new, old], room).lines[0].fact == old
    assert [line.fact for line in views.render("project", [idle, used], room, {used.id: 9}).lines] == [used]
    newer, older = example(6, "one of two equals"), example(5, "two of two equals")
    assert [line.fact for line in page([older, newer], room).lines] == [newer]
    assert [line.fact for line in views.render("project", [older, newer], room, {}, [newer.id]).lines] == [
        older
    ]


def test_stale_facts_say_so() -> None:
    view = views.render("project", FACTS, 2_000, stale=[FACTS[0].id])
    assert "- SQLite: one writer is enough ^000001 (the code has changed since)\n" in view.text
    assert views.read_back(view, view.text, {fact.id: fact for fact in FACTS}) == ReadBack()


def test_edits_become_changes_of_the_user() -> None:
    edited = (
        page().text.replace("one writer is enough", "one writer will do")
        .replace("- Never edit generated files ^000003\n", "* Always   regenerate files\n")
        .replace("- Write short commits ^000004\n", "")
    )  # fmt: skip
    assert back(edited) == ReadBack(
        (
            Retract(FACTS[3].id),
            Amend(FACTS[0].id, text="SQLite: one writer will do", kind="decision", author="user"),
            Retract(FACTS[2].id),
            Remember("pitfall", "Always regenerate files", author="user"),
        )
    )


def test_a_line_that_lost_its_mark_is_the_one_it_resembles() -> None:
    edited = page().text.replace("- Never edit generated files ^000003", "- Never edit the generated files")
    assert back(edited).changes == (
        Amend(FACTS[2].id, text="Never edit the generated files", kind="pitfall", author="user"),
    )
    assert back(page().text.replace(" ^000003", "")) == ReadBack()


def test_a_copied_line_is_one_more_fact_and_a_moved_one_changes_its_kind() -> None:
    line = "- Run the tests with make test ^000002\n"
    text = page().text
    copied = text.replace(line, f"{line}- Run the docs with make docs ^000002\n")
    assert back(copied).changes == (Remember("procedure", "Run the docs with make docs", author="user"),)
    moved = text.replace(line, "").replace("## Pitfalls\n", f"## Pitfalls\n{line}")
    assert back(moved).changes == (Amend(FACTS[1].id, kind="pitfall", author="user"),)
    assert back("\n".join(row for row in text.splitlines() if not row.startswith("#"))) == ReadBack()


def test_new_lines_go_where_the_page_belongs() -> None:
    view = views.render("user", [FACTS[3]], 1_000)
    edited = f"{view.text}\nI know Rust well\n"
    assert views.read_back(view, edited, {FACTS[3].id: FACTS[3]}).changes == (
        Remember("preference", "I know Rust well", author="user", reach="user"),
    )
    assert views.read_back(page([]), "Use Redis", {}).changes == (
        Remember("decision", "Use Redis", author="user"),
    )


def test_an_empty_page_takes_nothing_back() -> None:
    for edited in ("", "\n\n", "# What is known of this project\n"):
        found = back(edited)
        assert found.changes == ()
        assert "Nothing was retracted" in found.conflicts[0].why


def test_what_changed_meanwhile_is_for_somebody_to_decide() -> None:
    other = example(1, "Postgres")
    gone = example(2, FACTS[1].text, status="retracted", kind="procedure")
    now = [other, gone, *FACTS[2:]]
    edited = page().text.replace("one writer is enough", "fine").replace("make test", "tox")
    assert back(edited, now=now).conflicts == (
        Conflict(FACTS[0].id, "SQLite: fine", "It was changed meanwhile: Postgres"),
        Conflict(FACTS[1].id, "Run the tests with tox", "It was replaced or retracted meanwhile."),
    )
    assert back(page().text, now=now) == ReadBack()


def test_a_fact_that_was_cut_is_not_replaced_by_its_beginning() -> None:
    long = example(1, "word " * 200 + "end")
    view = page([long], 2_000)
    assert "…" in view.text
    edited = view.text.replace("word word", "words word", 1)
    found = views.read_back(view, edited, {long.id: long})
    assert (found.changes, "memory edit" in found.conflicts[0].why) == ((), True)
