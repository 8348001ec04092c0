"""What a bash is told so that it begins where an earlier one ended, and reports where it ends itself.

Every command has a shell of its own. A long-lived shell would hang with a command that hangs, die with
one that is killed, and could not run two at once; its state is all that is worth keeping of it.

A report is written when the command is over, to a named pipe that is opened only then: a descriptor
that is open all the time could be written to by any command with a redirection, and so the state of
the shell by a file of the project.
"""

from __future__ import annotations

import shlex

from hermes_acp.records import record
from hermes_acp.workspace.execution.shell_state import ShellState

OURS = "HERMES_EDITOR_"
"""Variables of the shell that begin so are ours and not kept."""

END = b"end"
"""The last section of a report that is complete."""

STARTUP = frozenset({"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT"})
"""Variables that make a bash run files or change its ways before it does what it was told."""

_REPORT = (
    r"{ \builtin pwd -P; \builtin printf '\0'; \builtin declare -p; \builtin printf '\0'; "
    r"\builtin declare -f; \builtin printf '\0'; \builtin declare -F; \builtin printf '\0'; "
    r"\builtin alias -p; \builtin printf '\0'; \builtin shopt -p; \builtin set +o; \builtin umask -p; "
    r"\builtin printf '\0end'; } >"
)
_NO_ALIASES = "shopt -u expand_aliases"
_SHOWING = ("xtrace", "verbose")
_TOO_EARLY = ("set -o noexec", "set -o onecmd")
"""Options with which a shell would run nothing, or only its first line."""


@record
class Around:
    """What surrounds one command: a terminal to take, a descriptor to source, a pipe to report to."""

    terminal: str = ""
    source: int | None = None
    report: str = ""


def script(command: str, state: ShellState | None, around: Around) -> str:
    """What `bash -c` gets to run a command in a shell of that state.

    All of it but the command is on the line where the command begins, so that bash counts the lines of
    the command; the options come with it, because tracing must not show what is ours.
    """
    if state is None and not around.terminal:
        return command
    # The leader of a session takes a terminal by opening it: nothing has to run between fork and exec.
    take = f": <{shlex.quote(around.terminal)}; " if around.terminal else ""
    if state is None:
        return f"{take}eval -- {shlex.quote(command)}"
    read = "" if around.source is None else f". /dev/fd/{around.source}; exec {around.source}<&-; "
    aliases = "" if _NO_ALIASES in state.options else "shopt -s expand_aliases; "
    run = f"\\builtin eval -- {shlex.quote(_late(state) + command)}"
    before, after = _reporting(around.report) if around.report else ("", "")
    return f"{take}{read}{aliases}{before}{run}{after}"


def _reporting(path: str) -> tuple[str, str]:
    """What comes before and after a command, so that its shell reports, once, however it exits."""
    said = shlex.quote(f"{_REPORT}{shlex.quote(path)} || :")
    once = f'[ -n "${{{OURS}DONE-}}" ] || \\builtin eval "${OURS}REPORT"'
    before = f"{OURS}REPORT={said}; trap '{{ {once}; }} 2>/dev/null' EXIT; "
    now = f'{OURS}STATUS=$?; \\builtin eval "${OURS}REPORT"; {OURS}DONE=1; \\builtin exit "${OURS}STATUS"'
    return before, f"\n{{ {now}; }} 2>/dev/null"


def definitions(state: ShellState) -> bytes:
    """Commands to source before anything else; empty when the environment and directory say it all."""
    functions = state.functions
    early = ("shopt ", "umask ")
    lines = [option for option in state.options if option.startswith(early) and option != _NO_ALIASES]
    lines += [
        f"export {name}={shlex.quote(value)}" for name, value in state.exported.items() if name in STARTUP
    ]
    lines += state.variables.values()
    lines += [functions.text] if functions.text else []
    lines += [f"export -f {shlex.quote(name)}" for name in sorted(functions.exported)]
    # Last, because what is defined after an alias would be read with it.
    lines += state.aliases.values()
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _late(state: ShellState) -> str:
    """The options that would end or show what comes before the command; those that show it last."""
    late = [option for option in state.options if option.startswith("set ") and option not in _TOO_EARLY]
    return "".join(f"{option}; " for option in sorted(late, key=lambda option: option.endswith(_SHOWING)))
