"""Makes room in the context: the conversation so far is replaced by the model's summary of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from hermes_acp.agent import ids, prompts
from hermes_acp.agent.turn import Turn
from hermes_acp.content import TextBlock
from hermes_acp.events import CompactionStarted, ContextCompacted, SummaryDelta, UsageUpdated
from hermes_acp.llm.base import (
    ContextOverflow,
    Message,
    ModelError,
    Request,
    TextPart,
    ToolMessage,
    UsagePart,
    UserMessage,
)
from hermes_acp.llm.retry import Retrying, stream

FULL = 0.8
"""The share of the context window from which the conversation is compacted."""
ATTEMPTS = 4
"""How often the oldest half is left out when even the request for a summary is too long."""
TOO_LONG = "The conversation is too long even to be summarised. Start a new session."
LEFT_OUT = "[The beginning of the conversation was left out because it is too long.]"


def due(turn: Turn) -> bool:
    """Whether the context is nearly full."""
    return turn.conversation.used > FULL * turn.model.context_window


async def compact(turn: Turn, focus: str = "") -> None:
    """Summarise and replace. Raises `ModelError`; a cancelled or failed one changes nothing."""
    compaction_id = ids.request()
    turn.publish(CompactionStarted(compaction_id))
    try:
        summary, cost = await _summarise(turn, compaction_id, focus)
    except asyncio.CancelledError:
        turn.publish(ContextCompacted(compaction_id, "cancelled"))
        raise
    except ModelError as error:
        turn.publish(ContextCompacted(compaction_id, "failed", error=str(error)))
        raise
    except Exception as bug:
        turn.publish(ContextCompacted(compaction_id, "failed", error=f"{type(bug).__name__}: {bug}"))
        raise
    turn.publish(ContextCompacted(compaction_id, "completed", summary))
    conversation = turn.conversation
    spent = conversation.cost if cost is None else (conversation.cost or 0.0) + cost
    turn.publish(UsageUpdated(conversation.used, turn.model.context_window, spent))


async def _summarise(turn: Turn, compaction_id: str, focus: str) -> tuple[str, float | None]:
    """The summary and what it cost."""
    messages = turn.conversation.messages
    for _ in range(ATTEMPTS):
        try:
            return await _ask(turn, compaction_id, _request(messages, focus))
        except ContextOverflow:
            messages = _newer_half(messages)
    raise ContextOverflow(TOO_LONG)


def _request(messages: tuple[Message, ...], focus: str) -> Request:
    wish = "Summarise the conversation above." + (f" Pay attention to: {focus}" if focus else "")
    return Request(system=prompts.render("compact"), messages=(*messages, UserMessage((TextBlock(wish),))))


async def _ask(turn: Turn, compaction_id: str, request: Request) -> tuple[str, float | None]:
    pieces: list[str] = []
    shown = 0
    cost: float | None = None
    async with aclosing(stream(turn.model, request)) as parts:
        async for part in parts:
            if isinstance(part, Retrying) and part.discard:
                pieces.clear()
            elif isinstance(part, TextPart):
                pieces.append(part.text)
                turn.publish(SummaryDelta(compaction_id, part.text, shown))
                shown += len(part.text)
            elif isinstance(part, UsagePart):
                cost = part.usage.cost
    text = "".join(pieces).strip()
    if not text:
        raise ModelError("The model gave an empty summary. Try /compact again or switch the model.")
    return text, cost


def _newer_half(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The later half of the conversation, cut where providers accept it. Raises `ContextOverflow`."""
    start = len(messages) // 2 + 1
    while start < len(messages) and isinstance(messages[start], ToolMessage):
        start += 1
    if start >= len(messages):
        # A summary of nothing would throw everything away.
        raise ContextOverflow(TOO_LONG)
    return (UserMessage((TextBlock(LEFT_OUT),)), *messages[start:])
