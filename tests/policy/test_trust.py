"""What the user trusts: exactly what they were shown, in that place, for that project."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.policy.trust import (
    FEATURES_BOUND,
    VERSIONS,
    Feature,
    Standing,
    digest,
    enabled,
    granted,
    refused,
    rewritten,
    standing,
)

AGENTS = Feature("instructions", "AGENTS.md", digest("one"))
CHANGED = replace(AGENTS, digest=digest("two"))
NESTED = Feature("instructions", "sub/AGENTS.md", digest("one"))
TRUST = granted(None, "/p/.git", "id", [AGENTS, NESTED], "editor")
NEVER = refused("/p/.git", "id", "editor")

FEATURES = st.builds(
    Feature,
    kind=st.sampled_from(["instructions", "servers", "skills", "hooks", "checks"]),
    name=st.sampled_from(["a", "b", "A"]),
    digest=st.sampled_from(["1", "2"]),
)


def test_nothing_is_enabled_before_the_user_said_so() -> None:
    assert standing(None, "", [AGENTS]) == Standing(frozenset(), (AGENTS,), "unknown")
    assert standing(None, "", []) == Standing(frozenset())


def test_what_was_shown_is_enabled_and_not_asked_about_again() -> None:
    assert standing(TRUST, "id", [AGENTS]) == Standing(frozenset({AGENTS}))
    assert standing(TRUST, "id", []) == Standing(frozenset())


def test_a_change_is_asked_about_and_leaves_the_rest_enabled() -> None:
    assert standing(TRUST, "id", [CHANGED, NESTED]) == Standing(frozenset({NESTED}), (CHANGED,), "changed")


def test_another_project_in_the_same_place_is_not_trusted() -> None:
    for identity in ("other", ""):
        assert standing(TRUST, identity, [AGENTS]) == Standing(frozenset(), (AGENTS,), "replaced")


def test_never_enables_nothing_and_asks_nothing() -> None:
    assert standing(NEVER, "id", [AGENTS, CHANGED]) == Standing(frozenset())


def test_earlier_contents_stay_trusted_when_a_later_one_is() -> None:
    later = granted(TRUST, "/p/.git", "id", [CHANGED], "editor")
    assert standing(later, "id", [AGENTS, NESTED]) == Standing(frozenset({AGENTS, NESTED}))
    assert granted(TRUST, "/p/.git", "other", [CHANGED], "editor").features == (CHANGED,)
    assert granted(NEVER, "/p/.git", "id", [CHANGED], "editor").features == (CHANGED,)


def test_an_allowed_edit_of_what_is_trusted_is_trusted() -> None:
    now = rewritten(TRUST, AGENTS, CHANGED)
    assert now is not None
    assert enabled(now, "id", CHANGED)
    new = rewritten(TRUST, None, Feature("instructions", "CLAUDE.md", "x"))
    assert new is not None


def test_an_edit_of_what_is_not_trusted_makes_nothing_trusted() -> None:
    strange = replace(AGENTS, digest="strange")
    assert rewritten(TRUST, strange, CHANGED) is None
    assert rewritten(NEVER, None, CHANGED) is None
    assert rewritten(TRUST, AGENTS, AGENTS) is None


def test_what_is_remembered_is_bounded() -> None:
    trust = TRUST
    for number in range(VERSIONS + 5):
        trust = granted(trust, "/p/.git", "id", [replace(AGENTS, digest=str(number))], "editor")
    assert len([item for item in trust.features if item.name == "AGENTS.md"]) == VERSIONS
    many = [Feature("skills", str(number), "x") for number in range(FEATURES_BOUND + 5)]
    assert len(granted(None, "/p", "id", many, "editor").features) == FEATURES_BOUND


@given(st.lists(FEATURES), st.lists(FEATURES), st.booleans())
def test_only_what_was_shown_is_ever_enabled(shown: list[Feature], found: list[Feature], same: bool) -> None:
    trust = granted(None, "/p", "id", shown, "editor")
    stands = standing(trust, "id" if same else "other", found)
    assert stands.enabled <= (set(shown) & set(found) if same else set())
    assert stands.enabled.isdisjoint(stands.asks)
    assert stands.enabled | set(stands.asks) == set(found)
