"""The conversation as the model sees it: a fold over the session's events."""

from __future__ import annotations

from collections.abc import Iterable

from hermes_acp.events import (
    ContextCompacted,
    Event,
    MessageCompleted,
    Steered,
    TextBlock,
    ToolCallFinished,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.llm.base import AssistantMessage, Message, ToolMessage, UserMessage

CHARACTERS_PER_TOKEN = 4
"""The usual estimate where nobody counted tokens."""
NO_RESULT = "This call did not run."
SUMMARY = "The conversation so far was summarised to save space:\n\n"
NOTES = {
    "cancelled": "[The user stopped the turn above.]",
    "interrupted": "[The turn above broke off because the server stopped.]",
    "error": "[The turn above ended with an error.]",
}


class Conversation:
    """Messages in order, always a sequence that providers accept: each call has one result."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.used = 0
        self.cost: float | None = None
        self._messages: list[Message] = []
        self._slots: dict[str, int] = {}
        self._turn_start = 0
        for event in events:
            self.apply(event)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history to send."""
        return tuple(self._messages)

    def apply(self, event: Event) -> None:
        """Take in one event; those that the model does not see change nothing."""
        match event:
            case TurnStarted():
                self._turn_start = len(self._messages)
                self._messages.append(UserMessage(event.content))
            case Steered():
                self._messages.append(UserMessage(event.content))
            case MessageCompleted():
                self._add_answer(event)
            case ToolCallFinished():
                self._set_result(event)
            case ContextCompacted(status="completed"):
                self._messages = [UserMessage((TextBlock(SUMMARY + event.summary),))]
                self._slots.clear()
                self._turn_start = 1
                self.used = len(event.summary) // CHARACTERS_PER_TOKEN
            case UsageUpdated():
                self.used, self.cost = event.used, event.cost
            case TurnEnded():
                self._end_turn(event)
            case _:
                pass

    def _add_answer(self, event: MessageCompleted) -> None:
        if not (event.text or event.tool_calls):
            return
        self._messages.append(AssistantMessage(event.text, event.tool_calls, event.thought, event.opaque))
        for call in event.tool_calls:
            self._slots[call.call_id] = len(self._messages)
            self._messages.append(ToolMessage(call.call_id, call.name, NO_RESULT))

    def _set_result(self, event: ToolCallFinished) -> None:
        slot = self._slots.pop(event.call_id, None)
        if slot is not None:
            message = self._messages[slot]
            assert isinstance(message, ToolMessage)
            self._messages[slot] = ToolMessage(event.call_id, message.name, event.result, event.images)

    def _end_turn(self, event: TurnEnded) -> None:
        if event.stop_reason == "refusal":
            del self._messages[self._turn_start :]
        elif note := NOTES.get(event.stop_reason):
            self._messages.append(UserMessage((TextBlock(note),)))
        self._slots.clear()
