"""What becomes of a session as a whole: plan, usage, commands, title, place, turns. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime

from hermes_acp.events import (
    CommandsChanged,
    PlaceChanged,
    PlanUpdated,
    Rewound,
    TitleChanged,
    TurnEnded,
    UsageUpdated,
)
from hermes_acp.server.acp.render.meta import hermes
from hermes_acp.server.messages import Json


def plan(event: PlanUpdated) -> Json:
    """The plan of the agent, whole."""
    entries = [
        {"content": item.content, "priority": item.priority, "status": item.status} for item in event.entries
    ]
    return {"sessionUpdate": "plan", "entries": entries}


def usage(event: UsageUpdated) -> Json:
    """How full the context is, and the cost in dollars where it is known."""
    update: Json = {"sessionUpdate": "usage_update", "used": event.used, "size": event.size}
    if event.cost is not None:
        update["cost"] = {"amount": event.cost, "currency": "USD"}
    return update


def commands(event: CommandsChanged) -> Json:
    """The slash commands that there are now."""
    available = [
        {"name": item.name, "description": item.description}
        | ({} if item.hint is None else {"input": {"hint": item.hint}})
        for item in event.commands
    ]
    return {"sessionUpdate": "available_commands_update", "availableCommands": available}


def info(event: TitleChanged | PlaceChanged | Rewound) -> Json:
    """What the session is called, where it works, or how many turns were taken back or came again."""
    match event:
        case TitleChanged():
            return _info(title=event.title)
        case PlaceChanged():
            return _info(_meta={"hermes": {"cwd": event.cwd}})
        case Rewound():
            return _info(_meta={"hermes": {"rewound": {"direction": event.direction, "turns": event.count}}})


def ended(event: TurnEnded, at: float, label: str) -> Json:
    """How a turn ended, for the client with this label; `at` is in seconds since 1970."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    other = None if event.client == label else event.client
    how = hermes(stopReason=event.stop_reason, cancelledBy=other, error=event.error)
    return _info(updatedAt=moment, **how)


def _info(**members: object) -> Json:
    return {"sessionUpdate": "session_info_update", **members}
