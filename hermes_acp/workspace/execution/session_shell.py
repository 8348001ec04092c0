"""The shell of one session, as its commands see it one after the other."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from hermes_acp.workspace.execution.base import HeldProcess, Process, ShellLost
from hermes_acp.workspace.execution.shell_state import ShellState, changes, merged

ELSEWHERE = "an editor's terminal has a shell of its own: what this command changed in it does not last"

_CHANGING = re.compile(r"(?:^|[;&|({\s])(?:cd|pushd|popd|export|unset|alias|source|\.|set|shopt)\s")
"""Commands that are made to change the shell."""


class SessionShell:
    """Holds the state between commands; any number of them may run at once."""

    def __init__(self) -> None:
        self._state: ShellState | None = None

    def reset(self) -> None:
        """Forget what commands have changed."""
        self._state = None

    def state(self, home: str) -> ShellState:
        """The shell as it is now; a new one is in `home`."""
        return self._state or ShellState(home)

    async def enter(self, home: str) -> tuple[ShellState, str]:
        """The state for the next command, and what the model has to hear about it, mostly nothing."""
        state = self._state = self.state(home)
        if state.cwd == home or await asyncio.to_thread(Path(state.cwd).is_dir):
            return state, ""
        self._state = replace(state, cwd=home)
        return self._state, f"{state.cwd} is gone; back in {home}"

    async def leave(self, process: Process, command: str, before: ShellState) -> str:
        """Take over what an ended command changed since `before`; gives that in words, for the model."""
        if not isinstance(process, HeldProcess):
            return ELSEWHERE if _CHANGING.search(command) else ""
        try:
            after = await process.left()
        except ShellLost as why:
            return f"begun anew as it was before the command, because {why}"
        if self._state is None:
            # Forgotten while the command ran.
            return ""
        self._state = merged(self._state, before, after)
        return changes(before, after)
