"""The background processes of one session: named, counted, and ended with it; and logs of long outputs."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hermes_acp.tools.base import ToolError
from hermes_acp.workspace.execution.base import Launch, Process

MAX_PROCESSES = 16
"""Processes a session may have; over it a finished one is forgotten, or the start is refused."""

MAX_LOGS = 32
"""Logs of ended commands that can be read by their names; the oldest is forgotten."""

LINE_BYTES = 2_000
"""Longest line of a log; a longer one is read as several."""


@dataclass(slots=True)
class BackgroundProcess:
    """One process; `position` counts the characters of its output that the model has read."""

    name: str
    launch: Launch
    process: Process
    started: float
    position: int = 0


class BackgroundProcesses:
    """All background processes of one session."""

    def __init__(self, limit: int = MAX_PROCESSES) -> None:
        self._limit = limit
        self._processes: dict[str, BackgroundProcess] = {}
        self._count = 0
        self._logs: dict[str, str] = {}
        self._log_count = 0

    async def make_room(self, name: str | None = None) -> None:
        """Forget an ended process of that name, and the oldest ended one when all places are taken.

        Raises `ToolError` when the name or all places are taken by what runs.
        """
        if name is not None and (item := self._processes.get(name)) is not None:
            if item.process.exit() is None:
                raise ToolError(f"{name} is running: kill it first, or choose another name.")
            await self._forget(item)
        if len(self._processes) < self._limit:
            return
        ended = (item for item in self._processes.values() if item.process.exit() is not None)
        if (item := next(ended, None)) is None:
            raise ToolError(
                f"{self._limit} background processes are running, which is the limit: "
                'end one with process(action="kill", id=…) first.'
            )
        await self._forget(item)

    def add(self, process: Process, launch: Launch, name: str | None = None) -> BackgroundProcess:
        """Take a process in; from here on the session ends it. Without a name it gets p1, p2, …"""
        while name is None or name in self._processes:
            self._count += 1
            name = f"p{self._count}"
        item = BackgroundProcess(name, launch, process, asyncio.get_running_loop().time())
        self._processes[name] = item
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

    def keep_log(self, path: str) -> str:
        """Give the log of a command a name by which it can be read."""
        self._log_count += 1
        name = f"log{self._log_count}"
        self._logs[name] = path
        while len(self._logs) > MAX_LOGS:
            del self._logs[next(iter(self._logs))]
        return name

    def log(self, name: str) -> str | None:
        """The file of a log that has this name."""
        return self._logs.get(name)

    async def aclose(self) -> None:
        """End all of them."""
        processes, self._processes = self._processes, {}
        async with asyncio.TaskGroup() as group:
            for item in processes.values():
                group.create_task(item.process.release())

    async def _forget(self, item: BackgroundProcess) -> None:
        del self._processes[item.name]
        await item.process.release()


def read_lines(path: str, first: int, count: int) -> tuple[int, str]:
    """At most `count` lines of a log from line `first` (1-based; from the end where negative).

    Gives the number of the first of them, and the text; blocks. Raises `ToolError`.
    """
    try:
        with Path(path).open("rb") as file:
            lines = enumerate(iter(lambda: file.readline(LINE_BYTES), b""), 1)
            if first < 0:
                found = list(deque(lines, -first))[:count]
            else:
                found = list(islice(lines, max(first, 1) - 1, max(first, 1) - 1 + count))
    except OSError as error:
        raise ToolError(
            f"The log cannot be read ({error.strerror}): logs are kept for a week, while there is room. "
            "Run the command again, with its output in a file of the project."
        ) from error
    number = found[0][0] if found else first
    return number, b"".join(line for _, line in found).decode("utf-8", "replace")
