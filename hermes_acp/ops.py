"""What windows want of a session: pure data, as the events are that come back."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.content import Block
from hermes_acp.records import record


@record
class Prompt:
    """A message of the user; `turn_id` is chosen by the caller and comes back on every event."""

    turn_id: str
    content: tuple[Block, ...]
    client: str = ""


@record
class Steer:
    """A message that joins the running turn at its next step."""

    content: tuple[Block, ...]
    client: str = ""


@record
class Cancel:
    """Stop the turn `turn_id`, running or queued; None: everything running and queued."""

    turn_id: str | None = None
    client: str = ""


@record
class Answer:
    """The reply to an approval (`option_id`) or a question (`outcome`, `values` as JSON text).

    `option_id` None and `outcome` "unanswered" mean that this window cannot answer: others still may.
    """

    request_id: str
    option_id: str | None = None
    outcome: Literal["answered", "declined", "unanswered"] = "unanswered"
    values: str | None = None
    client: str = ""


Op: TypeAlias = Prompt | Steer | Cancel | Answer
