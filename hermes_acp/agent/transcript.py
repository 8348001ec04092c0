"""What happens in a session, told to its windows and kept for its model."""

from __future__ import annotations

from collections.abc import Iterable

from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.inbox import Inbox
from hermes_acp.events import Envelope, Event


class Transcript:
    """The events of one session. What publishes raises `StorageError` where the journal is broken."""

    def __init__(self, hub: Hub, inbox: Inbox) -> None:
        self.conversation = Conversation()
        """What the model knows."""
        self._hub = hub
        self._inbox = inbox

    def begin(self, envelopes: Iterable[Envelope]) -> None:
        """Let the conversation be what the journal says."""
        self.conversation = Conversation(envelope.event for envelope in envelopes)

    def publish(self, event: Event, turn_id: str) -> None:
        """Publish an event of a turn; without an id it belongs to none."""
        self.conversation.apply(self._hub.publish(event, turn_id))

    def tell(self, event: Event) -> None:
        """Publish something that belongs to the running turn, if there is one."""
        self.publish(event, self._inbox.running or "")

    def publish_of(self, turn_id: str, event: Event) -> None:
        """Publish something of a turn, or behind it once it has ended."""
        self.publish(event, turn_id if self._inbox.running == turn_id else "")
