"""What a turn shows of its user, and what it does not: what the agent did by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hermes_acp.agent.memory.habits import seen
from hermes_acp.content import Location, ResourceBlock, TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Choice,
    Envelope,
    Event,
    ExitStatus,
    ToolCallFinished,
    ToolCallStarted,
    TurnStarted,
)

CHOICES = (Choice("allow_once", "Allow", "allow_once"), Choice("reject_once", "Reject", "reject_once"))


def told(*events: Event) -> list[tuple[str, int, str]]:
    """The answers of a turn, with the event that speaks for each and its words."""
    turn = [Envelope("s1", seq, "t", 5.0, event) for seq, event in enumerate(events, 1)]
    return [(item.answer.text, item.seq, item.quote) for item in seen(turn)]


def said(text: str) -> TurnStarted:
    return TurnStarted("m", (TextBlock(text),))


def ran(command: str, option: str | None = "allow_once", code: int = 0) -> Iterator[Event]:
    arguments = json.dumps({"command": command})
    yield ToolCallStarted("c1", "run_command", "Run", "execute", arguments)
    if option is not None:
        yield ApprovalRequested("r1", "c1", "Run", "", CHOICES)
        yield ApprovalResolved("r1", "c1", option)
    yield ToolCallFinished("c1", "completed", "", exit=ExitStatus(code))


def edited(path: str, option: str = "allow_once", call_id: str = "e1") -> Iterator[Event]:
    yield ToolCallStarted(call_id, "edit_file", "Edit", "edit", json.dumps({"path": path}), (Location(path),))
    yield ApprovalRequested(call_id, call_id, "Edit", "", CHOICES)
    yield ApprovalResolved(call_id, call_id, option)
    yield ToolCallFinished(call_id, "completed" if option == "allow_once" else "refused", "")


def test_a_command_that_the_user_allowed_and_that_worked_shows_its_tools() -> None:
    assert told(*ran("cd web && CI=1 uv run python -m pytest -q | tail")) == [
        ("Manages Python packages with uv.", 1, "uv"),
        ("Tests Python code with pytest.", 1, "pytest"),
    ]


@pytest.mark.parametrize(
    ("option", "code"), [(None, 0), ("reject_once", 0), ("allow_once", 1), ("", 0)], ids=str
)
def test_a_command_that_ran_unasked_or_failed_or_was_refused_shows_nothing(
    option: str | None, code: int
) -> None:
    assert told(*ran("npm install", option, code)) == []


def test_a_tool_that_the_user_names_is_theirs_unless_they_speak_against_it() -> None:
    assert told(said("Run the suite with pytest.")) == [("Tests Python code with pytest.", 1, "pytest")]
    assert told(said("Never use npm here!")) == []
    assert told(said("Why does pytest fail here?")) == []
    assert told(said("We could compare ruff, flake8, pylint and mypy.")) == []


def test_an_edit_shows_the_language_of_the_file_and_that_it_was_accepted() -> None:
    assert told(*edited("/p/src/shop.py")) == [
        ("Accepts most proposed edits as they are.", 1, ""),
        ("Works with Python.", 1, ".py"),
    ]


def test_one_edit_turned_down_makes_the_turn_one_that_turns_edits_down() -> None:
    assert told(*edited("/p/a.py", call_id="e1"), *edited("/p/b.rs", "reject_once", "e2")) == [
        ("Often turns proposed edits down.", 5, ""),
        ("Works with Python.", 1, ".py"),
    ]


def test_a_question_that_nobody_answered_is_no_refusal() -> None:
    assert told(*edited("/p/a.txt", "")) == []


def test_a_file_that_comes_along_shows_its_language_and_its_text_nothing() -> None:
    text = "Always add tests and comments, and use npm."
    started = TurnStarted("m", (TextBlock("Fix it."), ResourceBlock("file:///p/a.ts", text=text)))
    assert told(started) == [("Works with TypeScript.", 1, ".ts")]


def test_code_and_quotations_in_a_message_show_nothing() -> None:
    assert told(said("```\nadd tests with pytest\n```\n> use npm and add comments")) == []


def test_a_huge_turn_is_looked_at_within_bounds() -> None:
    text = "add tests with pytest and ruff and mypy " * 100_000
    command = "; ".join(["pnpm i"] * 100_000)
    assert told(said(text), *ran(command)) == []


def test_odd_arguments_show_nothing() -> None:
    call = ToolCallStarted("c1", "run_command", "Run", "execute", "no json")
    asked = (ApprovalRequested("r1", "c1", "Run", "", CHOICES), ApprovalResolved("r1", "c1", "allow_once"))
    assert told(call, *asked, ToolCallFinished("c1", "completed", "", exit=ExitStatus(0))) == []
