"""What a window knows of its session at one moment; `fold` makes the next one from each update."""

from __future__ import annotations

from typing import Literal

from hermes_acp.cli.attach.pieces import NO_PLAN, Card, Command, Option, Plan, Thought, Usage, UserText
from hermes_acp.records import record


@record
class Growing:
    """The message that is being received: `text` is what was not given out as a piece yet."""

    kind: Literal["agent", "thought", "user"]
    message_id: str
    text: str
    begun: bool = False
    """Whether a part of it was given out."""
    window: str = ""
    """Where a message of the user comes from."""


@record
class Queued:
    """A prompt of this window whose turn has not begun; `key` is chosen by the caller."""

    key: int
    said: UserText


@record
class State:
    """What is known of the session, and what is not finished."""

    title: str = ""
    options: tuple[Option, ...] = ()
    commands: tuple[Command, ...] = ()
    usage: Usage | None = None
    loading: bool = True
    """Whether what comes is the past."""
    working: bool = False
    """Whether a turn is known to run, of this window or another."""
    stopping: bool = False
    """Whether this window asked for the end of the turn."""
    end_told: bool = False
    """Whether how the last turn ended was given out, or needs not to be."""
    queue: tuple[Queued, ...] = ()
    growing: Growing | None = None
    cards: tuple[Card, ...] = ()
    plan: Plan = NO_PLAN
    plan_told: bool = True
    """Whether the plan was given out as it is."""
    thoughts: tuple[Thought, ...] = ()
    """Those of the last turn."""

    @property
    def busy(self) -> bool:
        """Whether something runs or waits to run."""
        return self.working or bool(self.queue)

    def option(self, category: str) -> Option | None:
        """The first option of a category."""
        return next((item for item in self.options if item.category == category), None)
