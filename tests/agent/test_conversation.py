"""The conversation that the model sees, folded from events."""

from __future__ import annotations

import pytest

from hermes_acp.agent.conversation import NO_RESULT, NOTES, SUMMARY, Conversation
from hermes_acp.content import ImageBlock, TextBlock
from hermes_acp.events import (
    ContextCompacted,
    Event,
    MessageCompleted,
    Notice,
    Rewound,
    SessionStarted,
    Steered,
    StopReason,
    ToolCallFinished,
    ToolCallStarted,
    ToolRequest,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.llm.base import AssistantMessage, Message, ToolMessage, UserMessage

HELLO = (TextBlock("hello"),)
ONE, TWO = ToolRequest("c1", "read_file", "{}"), ToolRequest("c2", "glob", "{}")


def fold(*events: Event) -> tuple[Message, ...]:
    return Conversation(events).messages


def test_messages_and_results_stand_where_providers_want_them() -> None:
    image = ImageBlock("QQ==", "image/png")
    assert fold(
        SessionStarted("/p"),
        TurnStarted("m1", HELLO),
        MessageCompleted("m2", "look", "think", (ONE, TWO), "{}"),
        ToolCallStarted("c1", "read_file", "Read", "read", "{}"),
        ToolCallStarted("c2", "glob", "Glob", "search", "{}"),
        ToolCallFinished("c2", "completed", "two"),
        Steered("m3", (TextBlock("wait"),)),
        ToolCallFinished("c1", "failed", "one", images=(image,)),
        Notice("info", "x"),
    ) == (
        UserMessage(HELLO),
        AssistantMessage("look", (ONE, TWO), "think", "{}"),
        ToolMessage("c1", "read_file", "one", (image,)),
        ToolMessage("c2", "glob", "two"),
        UserMessage((TextBlock("wait"),)),
    )


def test_a_call_without_a_result_says_so_and_results_without_a_call_are_nothing() -> None:
    assert fold(
        TurnStarted("m1", HELLO),
        MessageCompleted("m2", "", tool_calls=(ONE,)),
        ToolCallFinished("c9", "failed", "of an answer that was cut"),
        TurnEnded("end_turn"),
        ToolCallFinished("c1", "completed", "too late"),
    ) == (UserMessage(HELLO), AssistantMessage("", (ONE,)), ToolMessage("c1", "read_file", NO_RESULT))


def test_an_empty_answer_is_no_message() -> None:
    assert fold(TurnStarted("m1", HELLO), MessageCompleted("m2", "", "thought")) == (UserMessage(HELLO),)


@pytest.mark.parametrize("reason", sorted(NOTES))
def test_a_turn_that_did_not_end_well_is_noted(reason: StopReason) -> None:
    *_, last = fold(TurnStarted("m1", HELLO), TurnEnded(reason))
    assert last == UserMessage((TextBlock(NOTES[reason]),))


def test_a_refused_turn_is_left_out() -> None:
    assert fold(
        TurnStarted("m1", HELLO),
        MessageCompleted("m2", "hi"),
        TurnEnded("end_turn"),
        TurnStarted("m3", (TextBlock("bad"),)),
        MessageCompleted("m4", "no", tool_calls=(ONE,)),
        ToolCallFinished("c1", "failed", "x"),
        TurnEnded("refusal"),
    ) == (UserMessage(HELLO), AssistantMessage("hi"))


def test_a_summary_takes_the_place_of_everything_before_it() -> None:
    conversation = Conversation(
        [
            TurnStarted("m1", HELLO),
            MessageCompleted("m2", "", tool_calls=(ONE,)),
            ToolCallFinished("c1", "completed", "x"),
            UsageUpdated(900, 1000, 0.5),
            ContextCompacted("r1", "failed", error="no"),
            ContextCompacted("r2", "cancelled"),
            ContextCompacted("r3", "completed", "S" * 40),
        ]
    )
    assert conversation.messages == (UserMessage((TextBlock(SUMMARY + "S" * 40),)),)
    assert (conversation.used, conversation.cost) == (10, 0.5)
    conversation.apply(TurnEnded("refusal"))
    assert len(conversation.messages) == 1


def turn(words: str, *said: Event, used: int = 0) -> list[Event]:
    return [
        TurnStarted("m", (TextBlock(words),)),
        *said,
        MessageCompleted("m", f"on {words}"),
        UsageUpdated(used, 1000),
        TurnEnded("end_turn"),
    ]


def aside(*said: Event) -> list[Event]:
    return [
        TurnStarted("m", (TextBlock("/x"),), aside=True),
        *said,
        MessageCompleted("m", "done"),
        TurnEnded("end_turn"),
    ]


def words(*events: Event) -> list[str]:
    return [message.content[0].text for message in fold(*events) if isinstance(message, UserMessage)]


UNDO, REDO = Rewound(1, "undo"), Rewound(1, "redo")


def test_a_turn_aside_is_not_seen_by_the_model() -> None:
    assert fold(*turn("a"), *aside(), *aside(Steered("m", HELLO))) == fold(*turn("a"))


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([*aside(UNDO)], ["a", "b"]),
        ([*aside(Rewound(2, "undo"))], ["a"]),
        ([*aside(Rewound(99, "undo"))], []),
        ([*aside(UNDO), *aside(UNDO), *aside(REDO)], ["a", "b"]),
        ([*aside(Rewound(3, "undo")), *aside(Rewound(2, "redo"))], ["a", "b"]),
        ([*aside(UNDO), *turn("d"), *aside(REDO)], ["a", "b", "d"]),
        ([*aside(UNDO), *turn("d"), *aside(UNDO), *aside(REDO)], ["a", "b", "d"]),
        ([*aside(REDO)], ["a", "b", "c"]),
    ],
)
def test_turns_are_taken_back_and_brought_back(events: list[Event], left: list[str]) -> None:
    assert words(*turn("a"), *turn("b"), *turn("c"), *events) == left


def test_calls_keep_their_results_on_the_way_back_and_forth() -> None:
    asked = [
        TurnStarted("m1", HELLO),
        MessageCompleted("m2", "", tool_calls=(ONE, TWO)),
        ToolCallFinished("c1", "completed", "one"),
        TurnEnded("cancelled"),
    ]
    assert fold(*turn("a"), *asked, *aside(UNDO), *aside(REDO)) == fold(*turn("a"), *asked)


def test_tokens_go_back_with_their_turn() -> None:
    conversation = Conversation([*turn("a", used=100), *turn("b", used=200), *aside(UNDO)])
    assert conversation.used == 100
    for event in aside(REDO):
        conversation.apply(event)
    assert conversation.used == 200


def test_a_summary_stays_and_what_came_after_it_goes() -> None:
    compacted = ContextCompacted("r", "completed", "S")
    events = [*turn("a"), *aside(compacted), *turn("b")]
    assert words(*events, *aside(Rewound(2, "undo"))) == [SUMMARY + "S"]
    assert words(*events, *aside(Rewound(2, "undo")), *aside(Rewound(2, "redo"))) == [SUMMARY + "S", "b"]
    within = [*turn("a"), *turn("b", compacted)]
    assert fold(*within, *aside(UNDO)) == (UserMessage((TextBlock(SUMMARY + "S"),)),)
    assert fold(*within, *aside(UNDO), *aside(REDO)) == fold(*within)
