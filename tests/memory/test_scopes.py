"""Which facts hold where, and what becomes of those of a branch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.memory import scopes
from hermes_acp.memory.facts.fact import Fact
from hermes_acp.memory.scopes import Asked, Known, Place
from tests.memory.memories import example

layer = st.lists(
    st.builds(
        example,
        number=st.integers(0, 99),
        text=st.sampled_from("abc"),
        key=st.sampled_from(("", "k", "l")),
        status=st.sampled_from(("proposed", "active", "superseded", "retracted")),
    ),
    max_size=6,
    unique_by=lambda fact: fact.id,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(layer, max_size=4), st.randoms())
def test_the_narrowest_fact_of_a_key_is_seen_and_no_other_in_whatever_order(
    layers: list[list[Fact]], random: object
) -> None:
    seen = scopes.visible(layers)
    shuffled = [sorted(facts, key=lambda _: random.random()) for facts in layers]  # type: ignore[attr-defined]
    assert [fact.text for fact in scopes.visible(shuffled)] == [fact.text for fact in seen]
    assert all(fact.status == "active" for fact in seen)
    keys = [fact.key for fact in seen if fact.key]
    assert len(keys) == len(set(keys))
    for key in {fact.key for facts in layers for fact in facts if fact.status == "active" and fact.key}:
        narrowest = next(
            facts for facts in layers if any(f.key == key and f.status == "active" for f in facts)
        )
        newest = max((f for f in narrowest if f.key == key and f.status == "active"), key=lambda f: f.updated)
        assert newest in seen


def test_a_narrower_fact_hides_what_it_replaces_as_long_as_it_stands() -> None:
    wide = example(1, "make")
    narrow = example(2, "tox", supersedes=(wide.id,), scope="overlay/x")
    assert scopes.visible([[narrow], [wide]]) == [narrow]
    assert scopes.visible([[replace(narrow, status="retracted")], [wide]]) == [wide]
    assert scopes.visible([[replace(narrow, status="proposed")], [wide]]) == [wide]
    assert scopes.visible([[], [wide]]) == [wide]


def test_the_scope_of_a_place_follows_the_branch() -> None:
    assert scopes.scope_at("main", "main", "s1") == "project"
    assert scopes.scope_at("feature/x", "main", "s1") == "overlay/feature/x"
    assert scopes.scope_at("", "main", "s1") == "session/s1"
    assert scopes.scope_at("", "", "s1") == "project"
    assert Place("p", "overlay/x").scope_for("decision") == "overlay/x"
    assert Place("p", "overlay/x").scope_for("environment") == "project"


@dataclass(frozen=True)
class Now:
    default: str = "main"
    head: str = ""
    tips: dict[str, str] = field(default_factory=lambda: {"main": "m2"})
    landed: frozenset[str] = frozenset({"m1", "m2"})
    worked: frozenset[str] = frozenset()
    merged: frozenset[str] = frozenset()
    renamed: dict[str, str] = field(default_factory=dict)


WORKED = {"overlay/x": Known("x1", worked=True), "overlay/main": Known("m1", worked=False)}
FRESH = WORKED | {"overlay/x": Known("m1", worked=False)}


def moves(now: Now, known: dict[str, Known] = WORKED, scope: str = "overlay/x") -> list[tuple[str, str]]:
    return [(move.why, move.target) for move in scopes.reconcile([scope, "project", "user"], known, now)]


def test_a_branch_that_lives_on_keeps_its_facts() -> None:
    assert moves(Now(tips={"main": "m2", "x": "x2"})) == []
    assert moves(Now(tips={"main": "m2", "x": "m2"}), FRESH) == []
    assert moves(Now(tips={"main": "m2", "x": "x2"}), {}) == []


def test_merged_work_belongs_to_the_project_whatever_became_of_the_branch() -> None:
    merged = [("merged", "project")]
    assert moves(Now(tips={"main": "m2", "x": "m1"})) == merged
    assert moves(Now(landed=frozenset({"m1", "m2", "x1"}))) == merged
    assert moves(Now(tips={"main": "m2", "x": "m2"}, worked=frozenset({"x"})), FRESH) == merged
    assert moves(Now(merged=frozenset({"x"})), FRESH) == merged
    assert moves(Now(default="x", tips={"x": "x1"})) == merged


def test_a_branch_that_is_gone_without_a_merge_is_archived() -> None:
    assert moves(Now()) == moves(Now(), FRESH) == [("deleted", "archive/x")]


def test_facts_follow_a_branch_to_its_new_name() -> None:
    renamed = [("renamed", "overlay/y")]
    assert moves(Now(tips={"main": "m2", "y": "x9"}, renamed={"x": "y"})) == renamed
    assert moves(Now(tips={"main": "m2", "y": "x1"})) == renamed
    known = WORKED | {"overlay/y": Known("x1", worked=True)}
    assert moves(Now(tips={"main": "m2", "y": "x1"}), known) == [("deleted", "archive/x")]
    assert moves(Now(default="y", tips={"y": "x9"}, renamed={"x": "y"})) == [("renamed", "project")]


def test_the_work_of_a_detached_head_ends_on_a_branch_or_in_the_project() -> None:
    known = {"session/s": Known("x1", worked=True)}
    assert moves(Now(), known, "session/s") == []
    assert moves(Now(landed=frozenset({"x1"})), known, "session/s") == [("merged", "project")]
    assert moves(Now(tips={"main": "m2", "y": "x1"}), known, "session/s") == [("renamed", "overlay/y")]
    fresh = {"session/s": Known("m1", worked=False)}
    assert moves(Now(tips={"main": "m2", "y": "m1"}), fresh, "session/s") == []


def test_a_look_is_what_the_next_one_compares_with() -> None:
    now = Now(tips={"main": "m2", "x": "x2"}, head="d1")
    before = {
        "session/unused": Known("u", worked=True),
        "session/old": Known("o", worked=True),
        "overlay/gone": Known("g", worked=True),
    }
    found = scopes.look(before, now, {"session/old", "overlay/x"}, "s")
    assert found == {
        "overlay/main": Known("m2", worked=False),
        "overlay/x": Known("x2", worked=True),
        "session/old": Known("o", worked=True),
        "session/s": Known("d1", worked=True),
    }
    used = {"overlay/x", "session/s", "overlay/unknown"}
    assert scopes.asked(found, used) == Asked({"main": "m2", "x": "x2"}, ("x",), ("d1",))
