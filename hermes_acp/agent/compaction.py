"""Makes room in the context: the conversation so far is replaced by the model's summary of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from hermes_acp.agent import ids, prompts
from hermes_acp.agent.turn import Turn
from hermes_acp.events import CompactionStarted, ContextCompacted, TextBlock
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    Message,
    ModelError,
    Request,
    TextPart,
    ToolMessage,
    UserMessage,
)
from hermes_acp.llm.retry import Retrying, stream

FULL = 0.8
"""The share of the context window from which the conversation is compacted."""
ATTEMPTS = 4
"""How often the oldest half is left out when even the request for a summary is too long."""


def due(turn: Turn) -> bool:
    """Whether the context is nearly full."""
    return turn.conversation.used > FULL * turn.model.context_window


async def compact(turn: Turn, focus: str = "") -> None:
    """Summarise and replace. Raises `ModelError`; a cancelled or failed one changes nothing."""
    compaction_id = ids.request()
    turn.publish(CompactionStarted(compaction_id))
    try:
        summary = await _summarise(turn, focus)
    except asyncio.CancelledError:
        turn.publish(ContextCompacted(compaction_id, "cancelled"))
        raise
    except ModelError as error:
        turn.publish(ContextCompacted(compaction_id, "failed", error=str(error)))
        raise
    turn.publish(ContextCompacted(compaction_id, "completed", summary))


async def _summarise(turn: Turn, focus: str) -> str:
    messages = turn.conversation.messages
    for _ in range(ATTEMPTS):
        try:
            return await _ask(turn, messages, focus)
        except ContextOverflow:
            messages = _newer_half(messages)
    raise ContextOverflow("The conversation is too long even to be summarised. Start a new session.")


async def _ask(turn: Turn, messages: tuple[Message, ...], focus: str) -> str:
    wish = "Summarise the conversation above." + (f" Pay attention to: {focus}" if focus else "")
    request = Request(system=prompts.render("compact"), messages=(*messages, UserMessage((TextBlock(wish),))))
    pieces: list[str] = []
    async with aclosing(stream(turn.model, request)) as parts:
        async for part in parts:
            if isinstance(part, Retrying) and part.discard:
                pieces.clear()
            if isinstance(part, TextPart):
                pieces.append(part.text)
    text = "".join(pieces).strip()
    if not text:
        raise ModelError("The model gave an empty summary. Try /compact again or switch the model.")
    return text


def _newer_half(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    start = len(messages) // 2
    while start < len(messages) and isinstance(messages[start], AssistantMessage | ToolMessage):
        start += 1
    return messages[start:]
