"""What a server that died left open is closed, honestly and in a legal order."""

from __future__ import annotations

from hermes_acp.agent.recovery import UNKNOWN, closing_events
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    SessionStarted,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)


def started(call_id: str) -> ToolCallStarted:
    return ToolCallStarted(call_id, "run_command", "Run", "execute", "{}")


def test_nothing_is_open_in_an_empty_or_a_quiet_journal() -> None:
    quiet: list[Event] = [SessionStarted("/p"), TurnStarted("m1", ()), TurnEnded("end_turn")]
    assert [closing_events(quiet[:end]) for end in (0, 1, 3)] == [[], [], []]


def test_a_turn_that_broke_off_is_interrupted() -> None:
    assert closing_events([TurnStarted("m1", ()), MessageCompleted("m2", "x")]) == [TurnEnded("interrupted")]


def test_open_questions_are_unanswered_and_running_calls_of_unknown_outcome() -> None:
    events: list[Event] = [
        TurnStarted("m1", ()),
        started("c1"),
        started("c2"),
        started("c3"),
        ApprovalRequested("r1", "c1", "Run", "", ()),
        QuestionAsked("r2", "c2", "Well?", ()),
        ToolCallFinished("c3", "completed", "x"),
    ]
    assert closing_events(events) == [
        ApprovalResolved("r1", "c1", None),
        QuestionAnswered("r2", "c2", "unanswered"),
        ToolCallFinished("c1", "unknown", UNKNOWN),
        ToolCallFinished("c2", "unknown", UNKNOWN),
        TurnEnded("interrupted"),
    ]


def test_what_was_closed_needs_no_closing_again() -> None:
    events: list[Event] = [TurnStarted("m1", ()), started("c1")]
    assert closing_events([*events, *closing_events(events)]) == []


def test_what_was_streamed_of_a_message_is_completed_first() -> None:
    events: list[Event] = [TurnStarted("m1", ()), started("c1")]
    draft = MessageCompleted("m2", "Half a", "thought")
    closing = [draft, ToolCallFinished("c1", "unknown", UNKNOWN), TurnEnded("interrupted")]
    assert closing_events(events, [draft]) == closing
    assert closing_events([*events, draft], [draft]) == closing[1:]
    assert closing_events([*events, *closing], [draft]) == []


def test_a_draft_without_a_running_turn_is_nothing() -> None:
    assert closing_events([TurnStarted("m1", ()), TurnEnded("end_turn")], [MessageCompleted("m2", "x")]) == []
