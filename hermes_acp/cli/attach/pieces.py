"""What a terminal shows of a session: plain data; every text in it is safe to print."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.records import record

CardStatus: TypeAlias = Literal["pending", "in_progress", "completed", "failed"]
STATUSES: dict[str, CardStatus] = {
    "pending": "pending",
    "in_progress": "in_progress",
    "completed": "completed",
    "failed": "failed",
}


@record
class UserText:
    """A message of the user: from this window (`here`), or from another one, by name where it is known."""

    text: str
    here: bool = True
    window: str = ""
    steered: bool = False


@record
class AgentText:
    """A part of an answer, as Markdown; `first` where the answer begins."""

    text: str
    first: bool = True


@record
class Thought:
    """What the model thought before it went on."""

    text: str


@record
class Change:
    """The change of a file; `before` is None for a new one."""

    path: str
    before: str | None
    after: str


@record
class Shown:
    """Text that a tool shows, with the code fence around it taken off."""

    text: str


Content: TypeAlias = Change | Shown


@record
class Card:
    """A tool call; `output` is what its command printed so far, the end of it, as it came."""

    call_id: str
    title: str = ""
    kind: str = "other"
    status: CardStatus = "pending"
    content: tuple[Content, ...] = ()
    output: str = ""
    outcome: str = ""
    exit_code: int | None = None


@record
class Step:
    """One line of the plan."""

    text: str
    status: CardStatus


@record
class Plan:
    """The agent's plan as a checklist."""

    steps: tuple[Step, ...]


NO_PLAN = Plan(())


@record
class Note:
    """Something the server or this window has to say."""

    text: str
    severity: Literal["info", "warning", "error"] = "info"


@record
class Asked:
    """A request for permission with everything that would run or change; nothing of it is folded."""

    title: str
    reason: str
    content: tuple[Content, ...]


@record
class Ended:
    """The end of a turn that did not simply end: its stop reason, the error, the window that cancelled it."""

    reason: str
    error: str = ""
    window: str = ""


Piece: TypeAlias = UserText | AgentText | Thought | Card | Plan | Note | Asked | Ended


@record
class Value:
    """A value of an option."""

    value: str
    name: str
    description: str = ""


@record
class Option:
    """A setting of the session."""

    option_id: str
    category: str
    current: str
    values: tuple[Value, ...]


@record
class Command:
    """A slash command of the agent."""

    name: str
    description: str
    hint: str = ""


@record
class Usage:
    """How full the context is, in tokens, and what the session cost so far, in US dollars."""

    used: int
    size: int
    cost: float | None = None
