"""Claims about the user: how far they are believed, when they hold, and when no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.memory.facts.changes import Amend, Change, Confirm, Observe, Retract
from hermes_acp.memory.facts.fact import Evidence, Fact
from hermes_acp.memory.facts.ids import new
from hermes_acp.memory.facts.planning import plan
from hermes_acp.memory.facts.reading import reviews
from hermes_acp.memory.scopes import Place
from hermes_acp.memory.user_model import believing, claims
from hermes_acp.memory.user_model.claims import DAY, HALF_LIFE_DAYS, KEPT

NOW = 2_000_000_000.0
PNPM, NPM = "Manages JavaScript packages with pnpm.", "Manages JavaScript packages with npm."
KEY = "profile: javascript packages"


class Model:
    """What is believed about a user, as sessions speak one after the other."""

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        self.at = NOW
        self.sessions = 0

    def change(self, *changes: Change) -> None:
        for edit in plan(changes, self.facts, Place(""), self.at, self._ids()).edits:
            self.facts[edit.after.id] = edit.after

    def hear(self, text: str, times: int = 1, *, found: bool = True, session: str = "") -> None:
        for _ in range(times):
            self.sessions += 1
            where = session or f"s{self.sessions}"
            self.change(
                Observe(KEY, "environment", text, (Evidence(where, 3, "pnpm", found=found, at=self.at),))
            )

    def states(self) -> dict[str, tuple[str, int, int]]:
        """State and votes of each claim, by its text."""
        return {
            item.fact.text: (item.state, item.backed, item.against)
            for item in claims.standings(self.facts.values(), self.at)
        }

    def held(self) -> list[str]:
        return [
            fact.text
            for fact in claims.holding(list(self.facts.values()), self.at)
            if fact.status == "active"
        ]

    def one(self, text: str) -> Fact:
        return next(fact for fact in self.facts.values() if fact.text == text)

    def _ids(self) -> Iterator[str]:
        while True:
            yield new(self.at)


@pytest.fixture
def model() -> Model:
    return Model()


def test_a_claim_is_a_proposal_until_three_sessions_speak_for_it(model: Model) -> None:
    model.hear(PNPM, 2)
    assert (model.one(PNPM).status, model.one(PNPM).confidence) == ("proposed", 0.75)
    assert model.held() == []
    model.hear(PNPM)
    assert (model.one(PNPM).status, model.one(PNPM).confidence) == ("active", 0.8)
    assert model.held() == [PNPM]


def test_a_session_counts_once_however_often_it_says_it(model: Model) -> None:
    model.hear(PNPM, 10, session="s1")
    assert model.states() == {PNPM: ("collecting", 1, 0)}


def test_a_quote_that_was_not_found_counts_for_nothing(model: Model) -> None:
    model.hear(PNPM, 5, found=False)
    assert model.facts == {}


def test_what_speaks_for_another_answer_speaks_against_this_one(model: Model) -> None:
    model.hear(PNPM, 3)
    model.hear(NPM)
    assert model.one(PNPM).confidence == pytest.approx(4 / 6, abs=1e-4)
    assert model.held() == []
    model.hear(NPM, 8)
    assert model.held() == [NPM]
    assert model.states() == {NPM: ("holds", 9, 3), PNPM: ("replaced", 3, 9)}


def test_the_first_answer_holds_again_once_it_is_heard_more_often(model: Model) -> None:
    model.hear(PNPM, 3)
    model.at += 400 * DAY
    model.hear(NPM, 3)
    assert model.held() == [NPM]
    model.at += 400 * DAY
    model.hear(PNPM, 5)
    assert model.held() == [PNPM]
    assert model.states()[NPM][0] == "replaced"


def test_an_old_claim_fades_is_kept_and_comes_back(model: Model) -> None:
    model.hear(PNPM, 3)
    model.at += 2 * HALF_LIFE_DAYS * DAY
    assert model.held() == []
    assert model.states() == {PNPM: ("faded", 3, 0)}
    model.hear(PNPM, 2)
    assert model.held() == [PNPM]


def test_no_more_sessions_are_remembered_than_can_be_unlearned(model: Model) -> None:
    model.hear(PNPM, 3 * KEPT)
    assert [item.session for item in model.one(PNPM).evidence] == [
        f"s{2 * KEPT + number}" for number in range(1, KEPT + 1)
    ]


def test_a_claim_that_the_user_took_back_never_returns(model: Model) -> None:
    model.hear(PNPM, 3)
    model.change(Retract(model.one(PNPM).id))
    model.hear(PNPM, 9)
    assert model.states() == {PNPM: ("retracted", 3, 0)}
    assert model.held() == []
    model.hear(NPM, 3)
    assert model.held() == [NPM]


def test_a_claim_that_the_user_confirmed_needs_no_evidence_and_hears_no_other(model: Model) -> None:
    model.hear(PNPM)
    model.change(Confirm(model.one(PNPM).id))
    model.hear(NPM, 9)
    model.at += 4_000 * DAY
    assert model.held() == [PNPM]
    assert model.states() == {PNPM: ("settled", 1, 0)}


def test_a_claim_that_the_user_reworded_is_theirs(model: Model) -> None:
    model.hear(PNPM, 3)
    model.change(Amend(model.one(PNPM).id, "pnpm, but npm in old projects.", author="user"))
    model.hear(NPM, 9)
    model.hear(PNPM, 9)
    assert model.held() == ["pnpm, but npm in old projects."]


def test_claims_wait_for_evidence_and_not_for_an_answer(model: Model) -> None:
    model.hear(PNPM)
    assert reviews(model.facts, Place("")) == []


def test_a_clock_that_was_wrong_makes_nothing_count_more(model: Model) -> None:
    model.hear(PNPM, 3)
    model.at -= 1_000 * DAY
    assert model.held() == [PNPM]
    assert claims.standings(model.facts.values(), model.at)[0].confidence == 0.8


def test_other_facts_of_the_user_stay_as_they_are(model: Model) -> None:
    model.hear(PNPM, 3)
    other = replace(model.one(PNPM), id=new(NOW + 1), key="", evidence=(), confidence=0.1)
    model.at += 9_000 * DAY
    assert claims.holding([model.one(PNPM), other], model.at) == [other]


ages = st.lists(st.floats(0, 2_000), max_size=KEPT)


@given(ages, ages, st.floats(0, 2_000))
def test_confidence_is_a_share_falls_with_contradiction_and_goes_to_doubt_with_time(
    backed: list[float], against: list[float], later: float
) -> None:
    fact, rival = (
        Fact("0" * 26, "environment", "user", "x", NOW, NOW, KEY, evidence=tuple(_at(age) for age in days))
        for days in (backed, against)
    )
    now = claims.confidence(fact, [rival], NOW)
    assert 0 < now < 1
    assert now <= claims.confidence(fact, [], NOW)
    assert abs(claims.confidence(fact, [rival], NOW + later * DAY) - 0.5) <= abs(now - 0.5) + 1e-4


def _at(age: float) -> Evidence:
    return Evidence("s", 1, at=NOW - age * DAY)


def test_the_profile_says_how_far_each_claim_is_believed_and_why(model: Model) -> None:
    model.hear(PNPM, 4)
    model.hear(NPM)
    standings = claims.standings(model.facts.values(), model.at)
    lines = [line.partition("  ")[2] for line in believing.table(standings).splitlines()]
    assert lines == [
        f" 71%   4 for,  1 against  {PNPM} (sessions are told)",
        f" 29%   1 for,  4 against  {NPM} (not told: needs 3 sessions and 70%)",
    ]
    assert believing.member(standings[0]) == {
        "id": model.one(PNPM).id,
        "question": "javascript packages",
        "text": PNPM,
        "state": "holds",
        "confidence": 0.7143,
        "for": 4,
        "against": 1,
        "last": NOW,
    }
