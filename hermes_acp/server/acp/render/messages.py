"""Messages, thoughts and summaries: text that comes in pieces, exact however these were merged or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Literal, TypeAlias

import orjson

from hermes_acp.content import TextBlock
from hermes_acp.events import (
    CompactionStarted,
    ContextCompacted,
    MessageCompleted,
    Steered,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    TurnStarted,
)
from hermes_acp.records import mutable
from hermes_acp.server.acp.render.content import block
from hermes_acp.server.acp.render.meta import hermes
from hermes_acp.server.messages import Json

Kind: TypeAlias = Literal["agent_message_chunk", "agent_thought_chunk", "compaction_summary_chunk"]

DELTA = (
    b'{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"%b","update":'
    b'{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":%b},"messageId":"%b"}}}\n'
)
"""The hot path of streaming; ids are our own and need no escaping."""


@mutable
class Messages:
    """How much of each message the client has seen."""

    _sent: dict[tuple[Kind, str], int] = field(default_factory=dict["tuple[Kind, str]", int])

    def delta(self, session_id: str, event: TextDelta) -> bytes:
        """The line for a piece of an answer, empty when there is nothing new in it."""
        text = self._new(("agent_message_chunk", event.message_id), event.text, event.offset)
        return DELTA % (session_id.encode(), _quoted(text), event.message_id.encode()) if text else b""

    def thought(self, event: ThoughtDelta) -> Iterator[Json]:
        """A piece of a thought."""
        return self._rest("agent_thought_chunk", event.message_id, event.text, event.offset)

    def completed(self, event: MessageCompleted) -> Iterator[Json]:
        """What the client has not seen of a message and of the thought before it."""
        yield from self._rest("agent_thought_chunk", event.message_id, event.thought)
        yield from self._rest("agent_message_chunk", event.message_id, _said(event))
        self._sent.pop(("agent_thought_chunk", event.message_id), None)
        self._sent.pop(("agent_message_chunk", event.message_id), None)

    def compaction(self, event: CompactionStarted | SummaryDelta | ContextCompacted) -> Iterator[Json]:
        """How a summary takes the place of the messages before it."""
        update: Json = {"sessionUpdate": "compaction_update", "compactionId": event.compaction_id}
        key: tuple[Kind, str] = ("compaction_summary_chunk", event.compaction_id)
        match event:
            case CompactionStarted():
                yield update | {"status": "in_progress"}
            case SummaryDelta():
                if new := self._new(key, event.text, event.offset):
                    yield update | {"sessionUpdate": key[0], "content": block(TextBlock(new))}
            case ContextCompacted():
                self._sent.pop(key, None)
                update["status"] = event.status
                # It replaces the pieces, of which nothing is kept when there is no summary.
                update["summary"] = [block(TextBlock(event.summary))] if event.summary else []
                yield update | ({"error": event.error} if event.error else {})

    def _rest(self, kind: Kind, message_id: str, text: str, offset: int = 0) -> Iterator[Json]:
        if new := self._new((kind, message_id), text, offset):
            yield chunk(kind, message_id, new)

    def _new(self, key: tuple[Kind, str], text: str, offset: int) -> str:
        """What the client has not seen of a piece; nothing of one behind a gap, which is filled later."""
        sent = self._sent.get(key, 0)
        if not offset <= sent < offset + len(text):
            return ""
        self._sent[key] = offset + len(text)
        return text[sent - offset :]


def chunk(kind: Kind, message_id: str, text: str) -> Json:
    """A piece of what the agent says or thinks."""
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}, "messageId": message_id}


def from_user(event: TurnStarted | Steered, *, taken_back: bool) -> Iterator[Json]:
    """A message of the user; `taken_back` says that its turn does not count any more."""
    whose = hermes(client=event.client, takenBack=taken_back)
    name = _named(event.speaker) if isinstance(event, TurnStarted) else ""
    for item in (*((TextBlock(name),) if name else ()), *event.content):
        yield {
            "sessionUpdate": "user_message_chunk",
            "content": block(item),
            "messageId": event.message_id,
            **whose,
        }


def _named(speaker: str) -> str:
    """What stands before the words of somebody whose name is known, because they were imported."""
    return f"{speaker}: " if speaker else ""


def _said(event: MessageCompleted) -> str:
    return _named(event.speaker) + event.text if event.text else ""


def _quoted(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except TypeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode())
