"""Slash commands: what the user can tell the session itself instead of the model."""

from __future__ import annotations

from hermes_acp.content import Block, TextBlock
from hermes_acp.events import Command
from hermes_acp.records import record

COMMANDS = (
    Command("compact", "Summarise the conversation to make room", "what to pay attention to (optional)"),
    Command("model", "Show the models or switch to one", "provider/model (optional)"),
    Command("title", "Name this conversation", "the new title"),
    Command("undo", "Take back the last turn: its files and its words", "how many turns (optional)"),
    Command("redo", "Bring back what was taken back", "how many turns (optional)"),
    Command("rewind", "Go back to before an earlier turn", "how many turns (optional: lists them)"),
    Command("diff", "Show what the session changed in its worktree"),
    Command("apply", "Bring the session's changes into your own files, wholly or not at all"),
    Command("merge", "Commit the session's changes and merge its branch into yours", "message (optional)"),
    Command("discard", "Remove the session's worktree; for 30 days it can be recovered"),
    Command(
        "memory",
        "Show what is remembered here, why, and what the agent proposes",
        "review | why ID | revert ID | forget ID",
    ),
    Command("tools", "List the tools that the agent can use"),
    Command("usage", "Show how full the context is and what the session cost"),
    Command("help", "List these commands, and what `@diff` and the like stand for in a prompt"),
)
REWINDING = ("undo", "redo", "rewind")


@record
class Invocation:
    """A command as the user typed it."""

    name: str
    rest: str


def parse(content: tuple[Block, ...]) -> Invocation | None:
    """The command in a prompt; None when it is an ordinary message."""
    if not content or not isinstance(content[0], TextBlock):
        return None
    word, rest = [*content[0].text.split(maxsplit=1), "", ""][:2]
    known = word.startswith("/") and any(command.name == word[1:] for command in COMMANDS)
    return Invocation(word[1:], rest.strip()) if known else None


def rewinds(content: tuple[Block, ...]) -> bool:
    """Whether a prompt takes turns back or brings them back."""
    command = parse(content)
    return command is not None and command.name in REWINDING
