"""Closes honestly what a server that died left open: a pure function over the journal."""

from __future__ import annotations

from collections.abc import Iterable

from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Durable,
    Event,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)

UNKNOWN = (
    "The server stopped while this ran: its outcome is unknown. It was not run again. "
    "Check what it did before you go on."
)


def closing_events(events: Iterable[Event], drafts: Iterable[MessageCompleted] = ()) -> list[Durable]:
    """The events that end everything that was started and never finished, in a legal order.

    `drafts` are the messages that the last turn streamed, as far as they came: those that the
    journal does not have are completed with what is there.
    """
    completed: set[str] = set()
    calls: dict[str, ToolCallStarted] = {}
    approvals: dict[str, ApprovalRequested] = {}
    questions: dict[str, QuestionAsked] = {}
    running = False
    for event in events:
        match event:
            case TurnStarted():
                running = True
            case TurnEnded():
                running = False
            case MessageCompleted():
                completed.add(event.message_id)
            case ToolCallStarted():
                calls[event.call_id] = event
            case ToolCallFinished():
                calls.pop(event.call_id, None)
            case ApprovalRequested():
                approvals[event.request_id] = event
            case ApprovalResolved():
                approvals.pop(event.request_id, None)
            case QuestionAsked():
                questions[event.request_id] = event
            case QuestionAnswered():
                questions.pop(event.request_id, None)
            case _:
                pass
    closing: list[Durable] = [
        *(draft for draft in drafts if running and draft.message_id not in completed),
        *(ApprovalResolved(item.request_id, item.call_id, None) for item in approvals.values()),
        *(QuestionAnswered(item.request_id, item.call_id, "unanswered") for item in questions.values()),
        *(ToolCallFinished(call_id, "unknown", UNKNOWN) for call_id in calls),
    ]
    return [*closing, TurnEnded("interrupted")] if running else closing
