"""Events to `session/update`: one renderer for each session that a client watches.

A renderer remembers only what the client has seen (how much of each message, which cards are open),
so that text is exact however deltas were merged or dropped, and a card is opened once.
"""

from __future__ import annotations

from collections.abc import Iterator

from hermes_acp.events import (
    ApprovalResolved,
    CommandsChanged,
    CompactionStarted,
    ContextCompacted,
    Envelope,
    MemoryChanged,
    MessageCompleted,
    Notice,
    OptionsChanged,
    PlaceChanged,
    PlanUpdated,
    QuestionAnswered,
    Rewound,
    SessionEnded,
    Steered,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    TitleChanged,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallProgress,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.records import record
from hermes_acp.server.acp.render import options, session
from hermes_acp.server.acp.render.calls import Calls, resolved
from hermes_acp.server.acp.render.messages import Messages, chunk, from_user
from hermes_acp.server.acp.render.notices import Notices, learned
from hermes_acp.server.messages import Json, encode

INTERRUPTED = "*This turn was interrupted: the server stopped before it was finished.*"
"""What a reopened conversation says where a turn broke off."""
TAKEN_BACK = "*The turn above was taken back: the model does not know of it.*"
"""What it says behind a turn that was taken back, which the protocol cannot remove."""


@record
class Abilities:
    """What the client can show."""

    notices: bool = False
    compaction: bool = False
    terminal_output: bool = False


class Renderer:
    """What one client has seen of one session."""

    def __init__(self, session_id: str, abilities: Abilities) -> None:
        self.taken_back: set[str] = set()
        """The turns of a replay that do not count any more."""
        self._session_id = session_id
        self._compaction = abilities.compaction
        self._messages = Messages()
        self._calls = Calls(abilities.terminal_output)
        self._notices = Notices(abilities.notices)

    def render(self, envelope: Envelope, *, label: str | None = None) -> bytes:
        """The lines to send for one event, possibly none.

        `label` names the client that is shown to, which shows its own messages and knows its own answers
        itself; None for the replay of a conversation, where messages are sent too.
        """
        if isinstance(envelope.event, TextDelta):
            return self._messages.delta(self._session_id, envelope.event)
        return b"".join(_line(self._session_id, update) for update in self._updates(envelope, label))

    def _updates(self, envelope: Envelope, label: str | None) -> Iterator[Json]:
        event = envelope.event
        match event:
            case TurnStarted() | Steered():
                if event.client != label:
                    yield from from_user(event, taken_back=envelope.turn_id in self.taken_back)
                if isinstance(event, TurnStarted):
                    yield from self._notices.begin_turn()
            case ThoughtDelta():
                yield from self._messages.thought(event)
            case MessageCompleted():
                yield from self._messages.completed(event)
            case ToolCallAnnounced() | ToolCallStarted():
                yield self._calls.open(event)
            case ToolCallProgress():
                yield from self._calls.progress(event, label)
            case ApprovalResolved() | QuestionAnswered():
                yield from resolved(event, label)
            case ToolCallFinished():
                yield self._calls.finish(event)
            case PlanUpdated():
                yield session.plan(event)
            case UsageUpdated():
                yield session.usage(event)
            case OptionsChanged():
                yield from options.changed(event)
            case TitleChanged() | PlaceChanged() | Rewound():
                yield session.info(event)
            case CommandsChanged():
                yield session.commands(event)
            case Notice():
                yield from self._notices.tell(event)
            case MemoryChanged(facts=(_, *_)):
                yield from self._notices.tell(learned(event))
            case SessionEnded() if event.reason and event.client != label:
                yield from self._notices.tell(Notice("warning", event.reason))
            case CompactionStarted() | SummaryDelta() | ContextCompacted() if self._compaction:
                yield from self._messages.compaction(event)
            case TurnEnded():
                yield from self._end_turn(event, envelope, label)
            case _:
                return

    def _end_turn(self, event: TurnEnded, envelope: Envelope, label: str | None) -> Iterator[Json]:
        self._notices.end_turn()
        if event.stop_reason == "interrupted":
            yield chunk("agent_message_chunk", f"interrupted-{envelope.turn_id}", INTERRUPTED)
        elif label is not None:
            yield session.ended(event, envelope.at, label)
        if envelope.turn_id in self.taken_back:
            yield chunk("agent_message_chunk", f"taken-back-{envelope.turn_id}", TAKEN_BACK)


def _line(session_id: str, update: Json) -> bytes:
    """One `session/update` notification."""
    params = {"sessionId": session_id, "update": update}
    return encode({"jsonrpc": "2.0", "method": "session/update", "params": params})
