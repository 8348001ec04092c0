"""The background processes of one session: named, counted, and ended with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hermes_acp.tools.base import ToolError
from hermes_acp.workspace.execution.base import Process

MAX_PROCESSES = 16
"""Processes a session may have; over it a finished one is forgotten, or the start is refused."""


@dataclass(slots=True)
class BackgroundProcess:
    """One process; `position` counts the characters of its output that the model has read."""

    name: str
    command: str
    process: Process
    started: float
    position: int = 0


class BackgroundProcesses:
    """All background processes of one session."""

    def __init__(self, limit: int = MAX_PROCESSES) -> None:
        self._limit = limit
        self._processes: dict[str, BackgroundProcess] = {}
        self._count = 0

    async def make_room(self) -> None:
        """Forget the oldest finished process when all places are taken. Raises `ToolError`."""
        if len(self._processes) < self._limit:
            return
        for name, item in self._processes.items():
            if item.process.exit() is not None:
                del self._processes[name]
                await item.process.release()
                return
        raise ToolError(
            f"{self._limit} background processes are running, which is the limit: "
            'end one with process(action="kill", id=…) first.'
        )

    def add(self, process: Process, command: str) -> BackgroundProcess:
        """Take a process in; from here on the session ends it."""
        self._count += 1
        item = BackgroundProcess(f"p{self._count}", command, process, asyncio.get_running_loop().time())
        self._processes[item.name] = item
        return item

    def all(self) -> tuple[BackgroundProcess, ...]:
        """The processes, oldest first."""
        return tuple(self._processes.values())

    def find(self, name: str) -> BackgroundProcess:
        """The process of that name. Raises `ToolError` that lists the names there are."""
        if (item := self._processes.get(name)) is not None:
            return item
        known = ", ".join(self._processes) or "none"
        raise ToolError(f"There is no background process {name!r}. Known: {known}.")

    async def aclose(self) -> None:
        """End all of them."""
        processes, self._processes = self._processes, {}
        async with asyncio.TaskGroup() as group:
            for item in processes.values():
                group.create_task(item.process.release())
