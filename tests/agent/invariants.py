"""What must hold for every stream of events, whatever happened in it."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    CheckpointMissed,
    CheckpointTaken,
    CompactionStarted,
    ContextCompacted,
    Envelope,
    Event,
    QuestionAnswered,
    QuestionAsked,
    SessionStarted,
    TextDelta,
    ThoughtDelta,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.llm.base import AssistantMessage, Message, ToolMessage


def check_numbers(envelopes: Sequence[Envelope]) -> None:
    """Durable events count from 1 without a gap, and time never runs backwards."""
    durable = [envelope for envelope in envelopes if envelope.seq is not None]
    assert [envelope.seq for envelope in durable] == list(range(1, len(durable) + 1))
    times = [envelope.at for envelope in durable]
    assert times == sorted(times)
    assert isinstance(durable[0].event, SessionStarted)


def check_balance(events: Sequence[Event]) -> None:
    """Everything that was started is finished once, under its id, inside its turn."""
    calls: list[str] = []
    questions: list[tuple[str, str]] = []
    compactions: list[str] = []
    announced: list[str] = []
    finished: set[str] = set()
    running = False
    for event in events:
        match event:
            case TurnStarted():
                assert not running
                running = True
            case TurnEnded():
                assert running
                assert (calls, questions, compactions, announced) == ([], [], [], [])
                running = False
            case ToolCallAnnounced():
                announced.append(event.call_id)
            case ToolCallStarted():
                assert running
                assert event.call_id not in finished
                calls.append(event.call_id)
            case ToolCallFinished():
                calls.remove(event.call_id)
                finished.add(event.call_id)
                if event.call_id in announced:
                    announced.remove(event.call_id)
            case ApprovalRequested() | QuestionAsked():
                assert event.call_id in calls
                questions.append((event.request_id, event.call_id))
            case ApprovalResolved() | QuestionAnswered():
                questions.remove((event.request_id, event.call_id))
            case CompactionStarted():
                compactions.append(event.compaction_id)
            case ContextCompacted():
                if event.compaction_id in compactions:
                    compactions.remove(event.compaction_id)
            case _:
                pass
    assert not running


def check_places(envelopes: Sequence[Envelope]) -> None:
    """Durable events carry the id of their turn, and none of a turn follows its end.

    How a turn left the files may be said behind it.
    """
    turn_id = ""
    for envelope in envelopes:
        match envelope.event:
            case TurnStarted():
                turn_id = envelope.turn_id
            case SessionStarted():
                assert envelope.turn_id == ""
            case CheckpointTaken() | CheckpointMissed():
                assert envelope.turn_id == turn_id
            case _ if envelope.seq is not None:
                assert envelope.turn_id == turn_id != ""
            case _:
                pass
        if isinstance(envelope.event, TurnEnded):
            turn_id = ""


def check_deltas(events: Sequence[Event]) -> None:
    """The pieces of a message add up, each where the last one ended."""
    lengths: dict[tuple[type, str], int] = {}
    for event in events:
        if isinstance(event, TextDelta | ThoughtDelta):
            key = (type(event), event.message_id)
            assert event.offset == lengths.get(key, 0)
            lengths[key] = event.offset + len(event.text)


def check_messages(history: Sequence[Message]) -> None:
    """Providers accept the history: each call has one result, right behind its message, in order."""
    waiting: list[str] = []
    for message in history:
        match message:
            case ToolMessage():
                assert waiting.pop(0) == message.call_id
            case AssistantMessage():
                assert waiting == []
                assert message.text or message.tool_calls
                waiting = [request.call_id for request in message.tool_calls]
            case _:
                assert waiting == []
    assert waiting == []


def check_all(envelopes: Sequence[Envelope]) -> None:
    """Everything about a stream that was seen from its beginning to a quiet moment."""
    events = [envelope.event for envelope in envelopes]
    check_numbers(envelopes)
    check_balance(events)
    check_places(envelopes)
    check_deltas(events)
