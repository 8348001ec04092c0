"""The answers that are offered, and the rules that they make."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from hermes_acp.events import Choice
from hermes_acp.policy.rules.rules import Lesson, Origin, Rule, RuleDraft, Verdict, choices, code, learn

ORIGIN = Origin("/p/.git", "s1", "Zed", "pytest -q")


def lesson(*drafts: RuleDraft) -> Lesson:
    return Lesson(drafts, drafts[0])


def names(*drafts: RuleDraft) -> list[str]:
    return [choice.name for choice in choices(Verdict("ask", "", lesson(*drafts)))]


def test_every_choice_says_what_it_remembers() -> None:
    assert choices(Verdict("ask", "", lesson(RuleDraft("execute", "pytest -q", "/p")))) == (
        Choice("allow_once", "Allow once", "allow_once"),
        Choice("allow_session", "Allow `pytest -q` for this session", "allow_always"),
        Choice("allow_always", "Always allow `pytest -q` in this project", "allow_always"),
        Choice("reject_once", "Reject", "reject_once"),
        Choice("reject_always", "Never allow `pytest -q` in this project", "reject_always"),
    )


def test_what_cannot_be_remembered_is_only_allowed_or_rejected_once() -> None:
    assert choices(Verdict("ask", "")) == (
        Choice("allow_once", "Allow once", "allow_once"),
        Choice("reject_once", "Reject", "reject_once"),
    )


@pytest.mark.parametrize(
    ("draft", "name"),
    [
        (RuleDraft("write", ""), "Always allow edits in this project"),
        (RuleDraft("execute", "make", "/p/b", " in `b`"), "Always allow `make` in `b` in this project"),
        (RuleDraft("execute", "make " * 20, "/p"), "Always allow exactly this command in this project"),
        (RuleDraft("execute", "echo `id`", "/p"), "Always allow exactly this command in this project"),
        (RuleDraft("execute", "echo a\u202eb", "/p"), "Always allow exactly this command in this project"),
        (RuleDraft("read", "/usr/lib"), "Always allow reading `/usr/lib` in this project"),
        (RuleDraft("fetch", "a.org"), "Always allow connections to `a.org` in this project"),
        (RuleDraft("mcp", "db__x"), "Always allow the tool `db__x` in this project"),
    ],
)
def test_names_fit_on_a_line_and_hide_nothing(draft: RuleDraft, name: str) -> None:
    assert names(draft)[2] == name


def test_an_answer_to_several_parts_names_them_all_and_a_no_the_whole() -> None:
    parts = (
        RuleDraft("execute", "npm run build", form="meaning"),
        RuleDraft("execute", "make", form="meaning"),
    )
    whole = RuleDraft("execute", "npm run build && make", "/p")
    assert [choice.name for choice in choices(Verdict("ask", "", Lesson(parts, whole)))] == [
        "Allow once",
        "Allow `npm run build …` and `make …` for this session",
        "Always allow `npm run build …` and `make …` in this project",
        "Reject",
        "Never allow `npm run build && make` in this project",
    ]


def test_code_shows_invisible_characters_and_cuts_in_the_middle() -> None:
    assert code("a\x1b[31m\u202e`b") == "`a\ufffd[31m\ufffd\ufffdb`"
    assert code("a" * 50 + "b" * 50) == f"`{'a' * 29}…{'b' * 30}`"


@pytest.mark.parametrize(
    ("option_id", "decision", "scope"),
    [
        ("allow_session", "allow", "session"),
        ("allow_always", "allow", "project"),
        ("reject_always", "deny", "project"),
    ],
)
def test_a_lasting_answer_makes_a_rule_of_exactly_what_was_offered(
    option_id: str, decision: str, scope: str
) -> None:
    before = time.time()
    draft = RuleDraft("execute", "make", "/p/b", " in `b`", rests_on="Makefile", digest="d")
    (rule,) = learn(lesson(draft), option_id, ORIGIN)
    assert before <= rule.created_at <= time.time()
    assert replace(rule, rule_id="x", created_at=0.0) == Rule(
        "x", decision, "execute", "make", "/p/b", scope, 0.0, ORIGIN, "exact", "Makefile", "d"
    )


@pytest.mark.parametrize("option_id", ["allow_once", "reject_once", "", "ALLOW_ALWAYS", "allow_everything"])
def test_other_answers_make_no_rule(option_id: str) -> None:
    assert learn(lesson(RuleDraft("write", "")), option_id, ORIGIN) == ()


def test_rules_have_ids_of_their_own() -> None:
    made = [
        rule for _ in range(100) for rule in learn(lesson(RuleDraft("write", "")), "allow_always", ORIGIN)
    ]
    assert len({rule.rule_id for rule in made}) == 100
