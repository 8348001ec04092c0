"""What is being streamed right now: told to a window that joins, and kept for the time after a crash.

A message is alive from its first piece until it is completed or discarded, or its turn ends. Only
what was shown counts, so that a window that joins and one that was there before see the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import TypeAlias

from hermes_acp.events import (
    CompactionStarted,
    ContextCompacted,
    Envelope,
    Event,
    MessageCompleted,
    MessageDiscarded,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    TurnEnded,
)
from hermes_acp.records import mutable, record
from hermes_acp.storage.journal import Kind, Piece

Placed: TypeAlias = tuple[str, Event]
"""An event and the id of its turn."""


@mutable
class _Growing:
    """A text that only grows."""

    pieces: list[str] = field(default_factory=list[str])
    size: int = 0
    kept: int = 0
    """The pieces at the beginning that are on disk."""

    def grow(self, start: int, text: str) -> bool:
        """Take in what is new of a piece; one behind a gap is shown by nobody."""
        if not start <= self.size < start + len(text):
            return False
        self.pieces.append(text[self.size - start :])
        self.size = start + len(text)
        return True

    def rest(self) -> str:
        """What is not on disk; it is one piece from now on."""
        rest = "".join(self.pieces[self.kept :])
        self.pieces[self.kept :] = [rest] if rest else []
        return rest

    def __str__(self) -> str:
        return "".join(self.pieces)


@mutable
class _Message:
    turn_id: str
    thought: _Growing = field(default_factory=_Growing)
    text: _Growing = field(default_factory=_Growing)


@mutable
class _Compaction:
    turn_id: str
    started: CompactionStarted
    summary: _Growing = field(default_factory=_Growing)


@record
class Change:
    """What the disk does not know yet: messages that were discarded, and new pieces of others."""

    discarded: tuple[str, ...]
    pieces: tuple[Piece, ...]


class Drafts:
    """The messages of one session that are alive, and the summary that is being written."""

    def __init__(self) -> None:
        self.unkept = False
        """Whether something was shown that the disk may not know."""
        self._messages: dict[str, _Message] = {}
        self._discarded: set[str] = set()
        self._compaction: _Compaction | None = None

    def take(self, envelope: Envelope) -> None:
        """An event is shown now."""
        event = envelope.event
        match event:
            case TextDelta():
                self._grow(envelope.turn_id, event.message_id, "text", event.offset, event.text)
            case ThoughtDelta():
                self._grow(envelope.turn_id, event.message_id, "thought", event.offset, event.text)
            case MessageCompleted():
                self._messages.pop(event.message_id, None)
            case MessageDiscarded():
                self._discard(event.message_id)
            case CompactionStarted():
                self._compaction = _Compaction(envelope.turn_id, event)
            case SummaryDelta() if self._compaction is not None:
                self._compaction.summary.grow(event.offset, event.text)
            case ContextCompacted():
                self._compaction = None
            case TurnEnded():
                self._messages.clear()
                self._discarded.clear()
                self._compaction = None
            case _:
                pass

    def _grow(self, turn_id: str, message_id: str, kind: Kind, start: int, text: str) -> _Growing | None:
        """The text of which this was a new piece."""
        message = self._messages.get(message_id) or _Message(turn_id)
        growing = message.text if kind == "text" else message.thought
        if not growing.grow(start, text):
            return None
        self._messages[message_id] = message
        self.unkept = True
        return growing

    def _discard(self, message_id: str) -> None:
        if self._messages.pop(message_id, None) is not None:
            self._discarded.add(message_id)
            self.unkept = True

    # --- for a window that joins -----------------------------------------------------------------

    def so_far(self) -> Iterator[Placed]:
        """What is alive, as the events that begin it: pieces with offset 0."""
        for message_id, message in self._messages.items():
            if message.thought.size:
                yield message.turn_id, ThoughtDelta(message_id, str(message.thought), 0)
            if message.text.size:
                yield message.turn_id, TextDelta(message_id, str(message.text), 0)
        if (compaction := self._compaction) is not None:
            started, summary = compaction.started, compaction.summary
            yield compaction.turn_id, started
            if summary.size:
                yield compaction.turn_id, SummaryDelta(started.compaction_id, str(summary), 0)

    def alive(self, event: Event) -> bool:
        """Whether the event is a piece of something that is not complete."""
        match event:
            case TextDelta() | ThoughtDelta():
                return event.message_id in self._messages
            case CompactionStarted() | SummaryDelta():
                compaction = self._compaction
                return compaction is not None and compaction.started.compaction_id == event.compaction_id
            case _:
                return False

    # --- for the disk ----------------------------------------------------------------------------

    def change(self) -> Change:
        """What has to be written now; to be followed by `kept` or `not_kept`."""
        self.unkept = False
        return Change(tuple(self._discarded), tuple(self._new_pieces()))

    def _new_pieces(self) -> Iterator[Piece]:
        for message_id, message in self._messages.items():
            if rest := message.thought.rest():
                start = message.thought.size - len(rest)
                yield Piece(message.turn_id, message_id, "thought", start, rest)
            if rest := message.text.rest():
                yield Piece(message.turn_id, message_id, "text", message.text.size - len(rest), rest)

    def kept(self, change: Change) -> None:
        """It is on disk."""
        self._discarded.difference_update(change.discarded)
        for piece in change.pieces:
            if (message := self._messages.get(piece.message_id)) is not None:
                growing = message.text if piece.kind == "text" else message.thought
                growing.kept += 1

    def not_kept(self) -> None:
        """It could not be written: it is part of the next change."""
        self.unkept = True

    def recover(self, pieces: Iterable[Piece]) -> None:
        """Take in what the disk kept; what was shown here is known better here."""
        for piece in pieces:
            if piece.message_id not in self._discarded:
                growing = self._grow(piece.turn_id, piece.message_id, piece.kind, piece.start, piece.text)
                if growing is not None:
                    growing.kept = len(growing.pieces)

    def messages(self) -> list[MessageCompleted]:
        """What is alive, as far as it came, as messages without calls."""
        return [
            MessageCompleted(message_id, str(message.text), str(message.thought))
            for message_id, message in self._messages.items()
        ]
