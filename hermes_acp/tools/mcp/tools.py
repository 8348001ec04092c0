"""The tools of a session's MCP servers, offered to the model as `server__tool`."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hermes_acp.config import child_environment
from hermes_acp.content import TextBlock
from hermes_acp.events import Notice, ToolKind
from hermes_acp.llm.base import ToolSpec
from hermes_acp.policy.effects import Effect
from hermes_acp.records import record
from hermes_acp.tools.base import Call, Description, Tool, ToolContext, ToolResult
from hermes_acp.tools.mcp.config import McpLimits, McpServer, Problems, RemoteTool, Surroundings

if TYPE_CHECKING:
    from hermes_acp.tools.mcp.connection import Connection

MAX_NAME = 64
"""Characters of an offered name: what every model provider accepts."""

MAX_PREFIX = 24
"""Characters of it that the server's name may take."""

MAX_DESCRIPTION = 1024
"""Characters of a description that the model gets."""

MAX_SHOWN_ARGUMENTS = 20_000
"""Characters of the arguments that a permission question shows."""

CONNECTION_MODULE = "hermes_acp.tools.mcp.connection"


class McpSource:
    """The MCP servers of one session (`tools.base.ToolSource`); nothing of it is shared.

    The session runs `run` as a task and turns `next_problem` into notices. Cancelling `run`, or
    `aclose`, ends every process and connection within a second.
    """

    def __init__(
        self,
        servers: Sequence[McpServer],
        cwd: str,
        env: Mapping[str, str],
        roots: Sequence[str] = (),
        limits: McpLimits | None = None,
    ) -> None:
        self._servers = tuple(servers)
        self._surroundings = Surroundings(cwd, tuple(roots) or (cwd,), child_environment(env))
        self._limits = limits or McpLimits()
        self._problems = Problems()
        self._offers: tuple[tuple[str, Connection], ...] = ()
        self._settled = asyncio.Event()
        self._closing = asyncio.Event()
        self._running = False
        self._ended = asyncio.Event()
        self._wait_until: float | None = None

    async def run(self) -> None:
        """Own all connections until cancelled or closed; returns at once without servers."""
        if not self._servers or self._closing.is_set():
            self._settled.set()
            return
        self._running = True
        try:
            await self._connect()
        finally:
            self._settled.set()
            self._ended.set()

    async def next_problem(self) -> Notice:
        """Wait for the next thing the user should know about the servers."""
        return await self._problems.next()

    async def tools(self) -> Sequence[Tool]:
        """What the servers offer now; only the first call waits (`WAIT_SECONDS`) for their start."""
        if self._servers:
            await self._wait_for_start()
        return tuple(
            McpTool(name, remote, connection)
            for prefix, connection in self._offers
            for name, remote in offered_names(prefix, connection.tools)
        )

    async def aclose(self) -> None:
        """End all servers; returns when they are gone."""
        self._closing.set()
        if self._running:
            await self._ended.wait()

    async def _connect(self) -> None:
        # The mcp package costs most of a second of CPU: only sessions with servers pay for it, and
        # in a thread, so that the other sessions go on meanwhile.
        module = await asyncio.to_thread(importlib.import_module, CONNECTION_MODULE)
        connect: type[Connection] = module.Connection
        connections = [
            connect(server, self._surroundings, self._limits, self._problems) for server in self._servers
        ]
        self._offers = tuple(zip(prefixes([item.name for item in self._servers]), connections, strict=True))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(connection.run()) for connection in connections]
            group.create_task(self._settle(connections))
            await self._closing.wait()
            for task in tasks:
                task.cancel()

    async def _settle(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            await connection.settled.wait()
        self._settled.set()

    async def _wait_for_start(self) -> None:
        if self._wait_until is None:
            self._wait_until = asyncio.get_running_loop().time() + self._limits.wait_seconds
        try:
            async with asyncio.timeout_at(self._wait_until):
                await self._settled.wait()
        except TimeoutError:
            return


@record
class McpTool:
    """One tool of a server under the name that the model knows (`tools.base.Tool`)."""

    name: str
    remote: RemoteTool
    connection: Connection

    @property
    def spec(self) -> ToolSpec:
        """The server's own description and schema, the description cut."""
        text = self.remote.description or self.remote.title
        return ToolSpec(self.name, text[:MAX_DESCRIPTION], self.remote.schema)

    @property
    def kind(self) -> ToolKind:
        """`read` when the server says so; anything may hide behind the rest."""
        return "read" if self.remote.read_only else "other"

    @property
    def parallel(self) -> bool:
        """Only what changes nothing runs beside other calls."""
        return self.remote.read_only

    def accept(self, arguments: dict[str, object]) -> Call:
        """Take any object: the server checks it against its schema and answers with what is wrong."""
        return McpCall(self, arguments)


@record
class McpCall:
    """One call of a server's tool (`tools.base.Call`)."""

    tool: McpTool
    arguments: dict[str, object]

    def describe(self, cwd: str) -> Description:  # noqa: ARG002 -- the seam is the same for all tools
        """Server and tool; what the arguments mean only the server knows."""
        remote = self.tool.remote
        return Description(f"{self.tool.connection.name}: {remote.title or remote.name}")

    async def run(self, context: ToolContext) -> ToolResult:
        """Ask for permission, then call. Raises `ToolError` and `Refused`."""
        remote, connection = self.tool.remote, self.tool.connection
        effect = Effect(
            "mcp",
            f"call {remote.name} of the MCP server {connection.name}",
            tool=self.tool.name,
            read_only=remote.read_only,
            server=connection.identity,
        )
        permit = await context.permit(effect, shown=(TextBlock(_pretty(self.arguments)),))
        permit.check_tool(self.tool.name)
        return await connection.call(remote.name, self.arguments, context)


def prefixes(servers: Sequence[str]) -> tuple[str, ...]:
    """The first half of the names of each server's tools: unique, and without a double underscore.

    They depend on the configuration alone, never on which server was ready first.
    """
    taken: list[str] = []
    for server in servers:
        clean = re.sub(r"_+", "_", _plain(server)).strip("_")[:MAX_PREFIX].rstrip("_") or "server"
        name, number = clean, 2
        while name in taken:
            name, number = f"{clean}-{number}", number + 1
        taken.append(name)
    return tuple(taken)


def offered_names(prefix: str, tools: Sequence[RemoteTool]) -> tuple[tuple[str, RemoteTool], ...]:
    """Each tool under `prefix__name`: `[A-Za-z0-9_-]`, at most 64 characters, unique.

    A name that had to be changed gets a piece of the original's hash, so that it stays the same
    whatever else the server lists. The first of two equal names wins.
    """
    names: dict[str, RemoteTool] = {}
    for tool in tools:
        names.setdefault(_offered_name(prefix, tool.name), tool)
    return tuple(names.items())


def _offered_name(prefix: str, name: str) -> str:
    plain = f"{prefix}__{_plain(name)}"
    if plain == f"{prefix}__{name}" and len(plain) <= MAX_NAME:
        return plain
    mark = "_" + hashlib.sha256(name.encode()).hexdigest()[:6]
    return plain[: MAX_NAME - len(mark)] + mark


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _pretty(arguments: dict[str, object]) -> str:
    text = json.dumps(arguments, indent=2, ensure_ascii=False)
    if len(text) <= MAX_SHOWN_ARGUMENTS:
        return text
    return f"{text[:MAX_SHOWN_ARGUMENTS]}\n… ({len(text) - MAX_SHOWN_ARGUMENTS} more characters)"
