"""The seam for running commands: here, in the editor's terminal, later in a container."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Permit


@dataclass(frozen=True, slots=True)
class Launch:
    """A shell command to start in `cwd` (absolute).

    What a command leaves running when its shell ends is ended with it, unless it is a `background`
    command: that one lasts as long as anything of it does.
    """

    command: str
    cwd: str
    background: bool = False


@dataclass(frozen=True, slots=True)
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


class Execution(Protocol):
    """Something that can run commands."""

    async def start(self, permit: Permit, launch: Launch) -> Process:
        """Start a command. Raises `ExecutionError` when it cannot be started."""
        ...


class ExecutionError(Exception):
    """A command could not be started; `str()` says why."""
