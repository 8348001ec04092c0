"""What the session says to slash commands, and does for them."""

from __future__ import annotations

from typing import Protocol

from hermes_acp.agent import compaction, ids
from hermes_acp.agent.commands import COMMANDS, Invocation
from hermes_acp.agent.turn import Turn
from hermes_acp.events import MessageCompleted, Option, StopReason
from hermes_acp.workspace import references


class Owner(Protocol):
    """What a command may do to its session."""

    def options(self) -> tuple[Option, ...]:
        """All options."""
        ...

    async def set_model(self, name: str) -> None:
        """Switch to any model by its name. Raises `ModelError`."""
        ...

    async def set_title(self, title: str) -> None:
        """Name the session."""
        ...

    async def rewind(self, command: str, rest: str) -> str:
        """Take turns back, or bring them back: what was done, or why it was not."""
        ...

    async def remember(self, rest: str) -> str:
        """Do what `/memory` says: what was done, or why it was not."""
        ...

    async def review(self, command: str, rest: str) -> str:
        """Do what a command says about the session's worktree: what was done, or why it was not."""
        ...


async def answer(owner: Owner, command: Invocation) -> str | None:
    """Do what needs no model that works, and say what was done; None for the other commands.

    Raises `ModelError` and `StorageError`.
    """
    match command.name:
        case "model":
            return await _model(owner, command.rest)
        case "title":
            return await _title(owner, command.rest)
        case "undo" | "redo" | "rewind":
            return await owner.rewind(command.name, command.rest)
        case "memory":
            return await owner.remember(command.rest)
        case "diff" | "apply" | "merge" | "discard":
            return await owner.review(command.name, command.rest)
        case "help":
            return _help()
        case _:
            return None


async def run(turn: Turn, command: Invocation) -> StopReason:
    """Do one of the other commands and tell the user. Raises `ModelError` and `StorageError`."""
    match command.name:
        case "compact":
            text = await _compact(turn, command.rest)
        case "tools":
            tools = await turn.tools.tools()
            text = "\n".join(
                f"- `{tool.spec.name}`: {_first_sentence(tool.spec.description)}" for tool in tools
            )
        case _:
            text = _usage(turn)
    turn.publish(MessageCompleted(ids.message(), text))
    return "end_turn"


def _help() -> str:
    commands = [f"- `/{item.name}`: {item.description}" for item in COMMANDS]
    forms = [f"- `{form.written}`: {form.about}" for form in references.FORMS]
    return "\n".join([*commands, "", "In a prompt these stand for what they name:", "", *forms])


async def _compact(turn: Turn, focus: str) -> str:
    if not turn.conversation.messages:
        return "There is nothing to summarise yet."
    await compaction.compact(turn, focus)
    return "The conversation was summarised."


async def _model(owner: Owner, name: str) -> str:
    if name:
        await owner.set_model(name)
        return f"This session now uses `{name}`."
    option = next(item for item in owner.options() if item.option_id == "model")
    lines = [
        f"- `{item.value}`{' (current)' if item.value == option.current else ''}" for item in option.values
    ]
    return "\n".join([*lines, "", "Switch with `/model provider/model`."])


async def _title(owner: Owner, title: str) -> str:
    if not title:
        return "Say the title after the command: `/title Fix the login test`."
    await owner.set_title(title)
    return f"This conversation is now called “{title}”."


def _usage(turn: Turn) -> str:
    used, size = turn.conversation.used, turn.model.context_window
    cost = turn.conversation.cost
    price = "unknown" if cost is None else f"{cost:.4f} US dollars"
    return f"Context: {used:,} of {size:,} tokens ({100 * used / size:.0f} %). Cost so far: {price}."


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")
