"""What the user can type besides prompts: the commands of the window itself. Pure."""

from __future__ import annotations

from hermes_acp.cli.attach.pieces import Command, Option, Value
from hermes_acp.cli.attach.state import State
from hermes_acp.records import record

COMMANDS = (
    Command("detach", "leave; the session goes on (Ctrl-D)"),
    Command("sessions", "leave and choose another session"),
    Command("steer", "say something into the running turn (Ctrl-S)", "what to say"),
    Command("cancel", "stop the running turn (Ctrl-C)"),
    Command("mode", "show what may happen unasked, or set it", "mode"),
    Command("model", "show the models, or switch", "provider/model"),
    Command("effort", "show how much the model thinks, or set it", "effort"),
    Command("thoughts", "print the thoughts of the last turn (Ctrl-T)"),
    Command("show", "print what was folded last, whole (Ctrl-O)"),
    Command("help", "the commands and keys"),
)
CATEGORIES = {"mode": "mode", "model": "model", "effort": "thought_level"}
"""The commands that set an option, with the option's category."""
KEYS = (
    ("Enter", "send; while a turn runs, the prompt waits for its end"),
    ("Alt-Enter, Ctrl-J", "a new line"),
    ("Ctrl-S", "send into the running turn"),
    ("Tab", "complete /commands and @files; in a question: type a prompt first"),
    ("Ctrl-C", "stop the turn, or clear what is typed"),
    ("Ctrl-D", "detach; the session goes on"),
    ("Ctrl-T, Ctrl-O", "the thoughts, what was folded"),
)


@record
class Typed:
    """A command of the window: its name and what stands behind it."""

    name: str
    rest: str = ""


def parse(text: str) -> Typed | None:
    """The command that was typed; None for everything that is a prompt."""
    name, _, rest = text.strip().partition(" ")
    known = name.startswith("/") and any(command.name == name[1:] for command in COMMANDS)
    return Typed(name[1:], rest.strip()) if known else None


def value(option: Option, word: str) -> Value | None:
    """The value that is meant: named in full, or the only one that contains the word."""
    exact = (item for item in option.values if word in (item.value, item.name))
    if (found := next(exact, None)) is not None:
        return found
    near = [item for item in option.values if word.casefold() in f"{item.value} {item.name}".casefold()]
    return near[0] if len(near) == 1 else None


def values(option: Option) -> str:
    """The values of an option, one a line, the current one marked."""
    return "\n".join(_line(item, item.value == option.current) for item in option.values)


def help_text(state: State) -> str:
    """The commands and keys, the agent's commands included."""
    own = [(_usage(command), command.description) for command in COMMANDS]
    known = {command.name for command in COMMANDS}
    theirs = [(_usage(item), item.description) for item in state.commands if item.name not in known]
    rows = [*own, *theirs, *KEYS]
    wide = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{wide}}  {what}" for name, what in rows)


def completions(state: State, text: str) -> tuple[tuple[str, str], ...]:
    """What a line that begins with a slash can go on with: the whole word and what it means."""
    name, space, rest = text.partition(" ")
    if not name.startswith("/") or "\n" in text:
        return ()
    if not space:
        known = {item.name: item.description for item in (*state.commands, *COMMANDS)}
        return tuple((f"/{each}", what) for each, what in sorted(known.items()) if each.startswith(name[1:]))
    option = state.option(CATEGORIES.get(name[1:], ""))
    found = option.values if option else ()
    return tuple((item.value, item.name) for item in found if rest.casefold() in item.value.casefold())


def _usage(command: Command) -> str:
    return f"/{command.name} {command.hint}".rstrip()


def _line(item: Value, current: bool) -> str:  # noqa: FBT001 (it is only a mark)
    about = f"  {item.description}" if item.description else ""
    return f"{'*' if current else ' '} {item.value}{about}"
