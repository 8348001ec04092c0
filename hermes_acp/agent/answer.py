"""One answer of the model: the stream is shown as it comes and kept as one message."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from hermes_acp.agent import ids
from hermes_acp.agent.calls import refuse_all
from hermes_acp.agent.conversation import CHARACTERS_PER_TOKEN
from hermes_acp.agent.turn import Turn
from hermes_acp.events import (
    MessageCompleted,
    MessageDiscarded,
    Notice,
    TextDelta,
    ThoughtDelta,
    ToolCallAnnounced,
    ToolKind,
    ToolRequest,
    UsageUpdated,
)
from hermes_acp.llm.base import (
    FinishPart,
    OpaquePart,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolSpec,
    UsagePart,
)
from hermes_acp.llm.retry import Retrying, stream
from hermes_acp.records import record
from hermes_acp.storage.database import StorageError
from hermes_acp.tools.base import SessionTools

Finish = Literal["stop", "tool_calls", "length", "refusal"]


@dataclass(slots=True)
class _Draft:
    """The message while it arrives."""

    message_id: str = field(default_factory=ids.message)
    text: list[str] = field(default_factory=list[str])
    thought: list[str] = field(default_factory=list[str])
    text_size: int = 0
    thought_size: int = 0
    calls: dict[int, tuple[str, str, list[str]]] = field(
        default_factory=dict[int, "tuple[str, str, list[str]]"]
    )
    opaque: str | None = None
    finish: Finish = "stop"
    usage: UsagePart | None = None

    def requests(self) -> tuple[ToolRequest, ...]:
        """The calls as the model wrote them."""
        return tuple(
            ToolRequest(call_id, name, "".join(pieces)) for call_id, name, pieces in self.calls.values()
        )

    def message(self, *, calls: bool) -> MessageCompleted:
        """The message as far as it came; without the calls when they will not run."""
        requests = self.requests() if calls else ()
        return MessageCompleted(
            self.message_id, "".join(self.text), "".join(self.thought), requests, self.opaque
        )


@record
class Answer:
    """What the model said and why it stopped."""

    message: MessageCompleted
    finish: Finish


async def ask(turn: Turn, tools: tuple[ToolSpec, ...]) -> Answer:
    """Send the conversation and take in the answer. Raises `ModelError` and `StorageError`.

    When it breaks off (cancel, error), what was shown so far is kept and every announced call ends.
    """
    draft = _Draft()
    try:
        async with aclosing(stream(turn.model, turn.request(tools))) as parts:
            async for part in parts:
                if isinstance(part, Retrying):
                    draft = _again(turn, draft, part)
                else:
                    _take(turn, draft, part)
    except StorageError:
        raise
    except (Exception, asyncio.CancelledError):
        if draft.text or draft.thought:
            turn.publish(draft.message(calls=False))
        refuse_all(turn, draft.requests(), "The turn ended before this call was complete.")
        raise
    message = draft.message(calls=True)
    turn.publish(message)
    _account(turn, draft)
    return Answer(message, draft.finish)


def _again(turn: Turn, draft: _Draft, part: Retrying) -> _Draft:
    """The draft to go on with when the model is asked again."""
    title = f"The model did not answer; asking again in {part.delay:.0f} s (attempt {part.attempt})"
    turn.publish(Notice("warning", title, part.reason))
    if not part.discard:
        return draft
    turn.publish(MessageDiscarded(draft.message_id))
    refuse_all(turn, draft.requests(), "The answer broke off; the model is asked again.")
    return _Draft()


def _take(turn: Turn, draft: _Draft, part: object) -> None:
    match part:
        case TextPart(text):
            turn.hub.publish(TextDelta(draft.message_id, text, draft.text_size), turn.turn_id)
            draft.text.append(text)
            draft.text_size += len(text)
        case ThoughtPart(text):
            turn.hub.publish(ThoughtDelta(draft.message_id, text, draft.thought_size), turn.turn_id)
            draft.thought.append(text)
            draft.thought_size += len(text)
        case ToolCallPart():
            _take_call(turn, draft, part)
        case OpaquePart(data):
            draft.opaque = data
        case UsagePart():
            draft.usage = part
        case FinishPart(reason):
            draft.finish = reason
        case _:
            raise TypeError(f"unknown part {part!r}")


def _take_call(turn: Turn, draft: _Draft, part: ToolCallPart) -> None:
    known = draft.calls.get(part.index)
    if known is None:
        call_id = ids.call()
        draft.calls[part.index] = (call_id, part.name, [part.arguments])
        turn.publish(ToolCallAnnounced(call_id, part.name, _kind(turn.tools, part.name)))
    else:
        call_id, name, pieces = known
        pieces.append(part.arguments)
        draft.calls[part.index] = (call_id, name or part.name, pieces)


def _kind(tools: SessionTools, name: str) -> ToolKind:
    tool = tools.find(name)
    return tool.kind if tool is not None else "other"


def _account(turn: Turn, draft: _Draft) -> None:
    conversation = turn.conversation
    if draft.usage is not None:
        usage = draft.usage.usage
        used = usage.input_tokens + usage.output_tokens
        cost = conversation.cost if usage.cost is None else (conversation.cost or 0.0) + usage.cost
    else:
        used = conversation.used + (draft.text_size + draft.thought_size) // CHARACTERS_PER_TOKEN
        cost = conversation.cost
    turn.publish(UsageUpdated(used, turn.model.context_window, cost))
