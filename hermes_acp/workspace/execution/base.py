"""The seam for running commands: here, in the editor's terminal, later in a container."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Permit
from hermes_acp.records import record
from hermes_acp.workspace.execution.shell_state import ShellState


@record
class WindowSize:
    """The size of a terminal, in characters."""

    columns: int = 80
    rows: int = 24


@record
class Launch:
    """A shell command to start in `cwd` (absolute).

    What a command leaves running when its shell ends is ended with it, unless it is a `background`
    command: that one lasts as long as anything of it does. `shell` is what earlier commands have left
    (its directory is not used: `cwd` says where), None for a shell that knows of no other and
    reports nothing. `terminal` gives the command a terminal of that size instead of pipes.
    """

    command: str
    cwd: str
    background: bool = False
    shell: ShellState | None = None
    terminal: WindowSize | None = None

    @property
    def altered(self) -> tuple[str, ...]:
        """What gives the command another meaning than in a new shell (`policy.effects.Effect.altered`)."""
        return () if self.shell is None else self.shell.altered(self.command)


@record
class Output:
    """What a command has printed so far: the tail of it, and how many characters were dropped.

    `head` is the beginning, where it was kept: `head`, then `dropped` characters, then `text`.
    """

    text: str
    dropped: int = 0
    head: str = ""


class Process(Protocol):
    """A command that was started. All its children belong to it and end with it."""

    @property
    def terminal_id(self) -> str | None:
        """The editor's terminal that shows it, None when the output has to be sent."""
        ...

    def chunks(self) -> AsyncIterator[str]:
        """New output as it arrives, decoded; ends when the command has exited."""
        ...

    async def output(self) -> Output:
        """The output so far, bounded."""
        ...

    def exit(self) -> ExitStatus | None:
        """How it ended, None while it runs."""
        ...

    async def wait(self) -> ExitStatus:
        """Wait for its end."""
        ...

    async def kill(self) -> None:
        """End it with all its children; returns when they are gone."""
        ...

    async def release(self) -> None:
        """Forget it (and let the editor free its terminal); kills it when it still runs."""
        ...


@runtime_checkable
class HeldProcess(Process, Protocol):
    """A command that the server itself holds at both ends; an editor's terminal is not one."""

    @property
    def confined(self) -> bool:
        """Whether it runs in the sandbox."""
        ...

    @property
    def takes_input(self) -> bool:
        """Whether something can be sent now: it has a terminal or an open pipe, and runs."""
        ...

    @property
    def log(self) -> str | None:
        """The file that holds the whole output, None while all of it fits into `output`."""
        ...

    @property
    def log_problem(self) -> str:
        """Why the log does not hold everything; empty while it does."""
        ...

    async def send(self, permit: Permit, text: str) -> None:
        """Type `text`; `END_OF_INPUT` at its end ends the input. The permit is for `typed(…)`.

        Raises `ExecutionError` when the command does not take it.
        """
        ...

    async def asks(self) -> bool:
        """Whether it has been quiet for a while and waits for input."""
        ...

    async def asked(self) -> bool:
        """Wait until it `asks`; False when it ended instead. Cancelling the wait changes nothing."""
        ...

    async def left(self) -> ShellState:
        """After its end, the shell as the command left it. Raises `ShellLost` when nobody knows."""
        ...


class Execution(Protocol):
    """Something that can run commands."""

    async def start(self, permit: Permit, launch: Launch) -> Process:
        """Start a command. Raises `ExecutionError` when it cannot be started."""
        ...


class ExecutionError(Exception):
    """A command could not be started, or not be given its input; `str()` says why."""


class ShellLost(Exception):
    """What a command did to its shell is not known; `str()` says why, to follow on "because"."""


END_OF_INPUT = "\x04"
"""What a terminal's user types to end the input (Ctrl-D)."""


def typed(command: str, text: str) -> str:
    """A running command with input, written as one command: it is what the policy judges."""
    return f"{command} <<< {shlex.quote(text)}"
