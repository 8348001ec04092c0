"""MCP servers as a session is given them, and what their connections hand back: data without `mcp`.

The `mcp` package is slow to import, so everything that is needed before a session really has
servers is here or in `tools`; the modules that import it are loaded by `tools` later.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from hermes_acp.events import Notice
from hermes_acp.records import record

START_SECONDS = 20.0
"""A server that has not listed its tools by then is given up."""

CALL_SECONDS = 60.0
"""A call is cancelled after this long without an answer; progress and questions restart the clock."""

WAIT_SECONDS = 5.0
"""The first step of a session waits this long for servers; later ones join at the next step."""

MAX_TOOLS = 64
"""Tools of one server that the model is offered; the rest is left out, and the user told."""

MAX_RESULT_CHARS = 48_000
"""Text of one result that the model reads; the rest is cut, with a note."""

MAX_PROBLEMS = 32
"""Problems that wait to be shown; further ones go to the log only."""

logger = logging.getLogger(__name__)


@record
class McpServer:
    """One server, exactly as the client configured it.

    `command`, `args` and `env` belong to stdio, `url` and `headers` to the other two.
    """

    name: str
    transport: Literal["stdio", "http", "sse"]
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    url: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    call_seconds: float = CALL_SECONDS

    @property
    def identity(self) -> str:
        """What stands behind the name, as a digest: a permission is for this and not for the name."""
        behind = repr((self.transport, self.command, self.args, self.url))
        return hashlib.sha256(behind.encode("utf-8", "surrogatepass")).hexdigest()


@record
class McpLimits:
    """The bounds of a session's servers."""

    start_seconds: float = START_SECONDS
    wait_seconds: float = WAIT_SECONDS
    max_tools: int = MAX_TOOLS
    max_result_chars: int = MAX_RESULT_CHARS


@record
class Surroundings:
    """Where a session's servers run: `cwd` and `roots` are absolute, `env` has no secrets."""

    cwd: str
    roots: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


@record
class RemoteTool:
    """A tool as its server lists it."""

    name: str
    title: str
    description: str
    schema: dict[str, object]
    read_only: bool


class Problems:
    """What went wrong with a session's servers, in order, for the session to show."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Notice] = asyncio.Queue(MAX_PROBLEMS)

    def add(self, title: str, description: str) -> None:
        """Report a problem; never waits."""
        logger.warning("%s: %s", title, description)
        if not self._queue.full():
            self._queue.put_nowait(Notice("warning", title, description))

    async def next(self) -> Notice:
        """Wait for the next problem."""
        return await self._queue.get()
