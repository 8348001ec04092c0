"""The turns of a session as its user knows them: which count, which were taken back, what they recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

from hermes_acp.content import Block, Diff, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import (
    CheckpointMissed,
    CheckpointTaken,
    ContextCompacted,
    Envelope,
    Rewound,
    ToolCallFinished,
    ToolCallStarted,
    ToolKind,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.records import mutable

TITLE_LENGTH = 60
COUNTING = (TurnStarted, Rewound)
"""The events that say which turns count."""
LOOKING: tuple[ToolKind, ...] = ("read", "search", "think", "fetch")
"""Kinds of calls that change no files."""


@mutable
class Past:
    """A turn that counts; `at` is its beginning, in seconds since the epoch.

    `before` and `after` are what was recorded of its files; None where it changed none, or where
    `missed` says why there is nothing. `summarised`: the model knows of it by a summary, at least
    partly. `wrote` are the files of which it showed a change; `calls` are the times of the calls
    that may have changed something, each from its beginning to its end.
    """

    turn_id: str
    title: str
    at: float
    before: CheckpointTaken | None = None
    after: CheckpointTaken | None = None
    missed: str = ""
    summarised: bool = False
    ended: bool = False
    wrote: list[str] = field(default_factory=list[str])
    calls: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @property
    def unsettled(self) -> bool:
        """Whether it ended without a word about how it left the files."""
        return self.ended and self.before is not None and self.after is None and not self.missed


class History:
    """A fold over the whole journal of a session."""

    def __init__(self, envelopes: Iterable[Envelope] = ()) -> None:
        self.done: list[Past] = []
        """The turns that count now, the oldest first."""
        self.undone: list[Past] = []
        """Those that can be brought back, the next one last."""
        self.gone: set[str] = set()
        """The ids of all turns that were taken back and not brought back."""
        self.open_aside = ""
        """The id of a command's turn that has no end yet, and has not rewound anything."""
        self._aside = False
        self._running: dict[str, float] = {}
        for envelope in envelopes:
            self._apply(envelope)

    @property
    def last(self) -> Past | None:
        """The last turn that counts."""
        return self.done[-1] if self.done else None

    def _apply(self, envelope: Envelope) -> None:
        event = envelope.event
        match event:
            case TurnStarted():
                self._start(event, envelope)
            case TurnEnded():
                self.open_aside, self._aside = "", False
                if self.done:
                    self.done[-1].ended = True
            case Rewound():
                self._rewind(event)
            case ContextCompacted(status="completed"):
                for turn in self.done:
                    turn.summarised = True
            case _ if self.done and not self._aside:
                self._note(self.done[-1], envelope)
            case _:
                pass

    def _start(self, event: TurnStarted, envelope: Envelope) -> None:
        self._aside = event.aside
        if event.aside:
            self.open_aside = envelope.turn_id
            return
        self.undone.clear()
        self.done.append(Past(envelope.turn_id, title_of(event.content), envelope.at))

    def _rewind(self, event: Rewound) -> None:
        self.open_aside = ""
        source, target = (self.done, self.undone) if event.direction == "undo" else (self.undone, self.done)
        for _ in range(min(event.count, len(source))):
            turn = source.pop()
            target.append(turn)
            if event.direction == "undo":
                self.gone.add(turn.turn_id)
            else:
                self.gone.discard(turn.turn_id)

    def _note(self, turn: Past, envelope: Envelope) -> None:
        event = envelope.event
        match event:
            case CheckpointTaken(moment="before"):
                turn.before = event
            case CheckpointTaken():
                turn.after = event
            case CheckpointMissed():
                turn.missed = event.reason
            case ToolCallStarted() if event.kind not in LOOKING:
                self._running[event.call_id] = envelope.at
            case ToolCallFinished():
                if (began := self._running.pop(event.call_id, None)) is not None:
                    turn.calls.append((began, envelope.at))
                if event.outcome == "completed":
                    turn.wrote += [item.path for item in event.shown if isinstance(item, Diff)]
            case _:
                pass


def taken_back(envelopes: Sequence[Envelope]) -> set[str]:
    """The ids of the turns that were taken back and not brought back."""
    if not any(isinstance(item.event, Rewound) for item in envelopes):
        return set()
    return History(item for item in envelopes if isinstance(item.event, COUNTING)).gone


def tail(envelopes: Sequence[Envelope]) -> History:
    """What the last turn that counts, and the commands after it, have left."""
    for start in range(len(envelopes) - 1, -1, -1):
        event = envelopes[start].event
        if isinstance(event, TurnStarted) and not event.aside:
            return History(envelopes[start:])
    return History(envelopes)


def title_of(content: tuple[Block, ...]) -> str:
    """A message in one short line: a title for what begins with it."""
    texts = [_said(block) for block in content]
    texts += [block.uri for block in content if isinstance(block, ResourceBlock)]
    line = " ".join(" ".join(texts).split())
    if not line:
        return "New conversation"
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _said(block: Block) -> str:
    match block:
        case TextBlock():
            return block.text
        case LinkBlock():
            return f"@{block.name}"
        case _:
            return ""
