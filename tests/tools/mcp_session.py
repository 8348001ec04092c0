"""A session with MCP servers as the tests see it: real servers, and a record of what calls did."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.config import environment
from hermes_acp.content import Shown
from hermes_acp.events import Field, Notice
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.tools.base import Reply, Tool, ToolError, ToolResult
from hermes_acp.tools.mcp.config import McpLimits, McpServer
from hermes_acp.tools.mcp.tools import McpSource

SERVERS = Path(__file__).parent / "mcp_servers"
ENV = {
    "PATH": environment()["PATH"],
    "HOME": "/nowhere",
    "OPENAI_API_KEY": "secret",
    "HERMES_EDITOR_MODEL": "x",
}
PATIENCE = 60.0
TRIES = 1000


async def eventually(check: Callable[[], bool]) -> None:
    """Wait until something outside of this process has happened."""
    for _ in range(TRIES):
        if await asyncio.to_thread(check):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


@dataclass
class Context:
    """Permits everything, or nothing, and answers questions with `reply`."""

    reply: Reply | None = None
    refusal: str = ""
    effects: list[Effect] = field(default_factory=list)
    shown: list[tuple[Shown, ...]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    questions: list[tuple[str, tuple[Field, ...]]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    withdrawn: asyncio.Event = field(default_factory=asyncio.Event)

    async def permit(self, effect, shown=(), locations=()):
        self.effects.append(effect)
        self.shown.append(shown)
        if self.refusal:
            raise Refused(self.refusal)
        return Permit(effect)

    def progress(self, output="", shown=None):
        self.outputs.append(output)

    async def ask(self, message, fields):
        self.questions.append((message, fields))
        self.asked.set()
        if self.reply is not None:
            return self.reply
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.withdrawn.set()


@dataclass
class Session:
    """The source of one session, while it runs, and a group for calls in the background."""

    source: McpSource
    group: asyncio.TaskGroup

    async def names(self) -> list[str]:
        return [tool.spec.name for tool in await self.source.tools()]

    async def tool(self, name: str) -> Tool:
        return {tool.spec.name: tool for tool in await self.source.tools()}[name]

    async def call(self, name: str, arguments: Mapping[str, object] = {}, context=None) -> ToolResult:
        tool = await self.tool(name)
        return await tool.accept(dict(arguments)).run(context or Context())

    async def error(self, name: str, arguments: Mapping[str, object] = {}) -> str:
        try:
            result = await self.call(name, arguments)
        except ToolError as error:
            return str(error)
        raise AssertionError(f"the call gave {result}")

    async def problem(self) -> Notice:
        async with asyncio.timeout(PATIENCE):
            return await self.source.next_problem()

    async def until_offered(self, name: str) -> None:
        """Wait, as the steps of a turn would, until a tool has appeared."""
        for _ in range(TRIES):
            if name in await self.names():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{name} was never offered")


@contextlib.asynccontextmanager
async def running(*servers: McpServer, cwd: Path, **limits) -> AsyncIterator[Session]:
    """A session's source, run as a task until the block ends."""
    source = McpSource(servers, str(cwd), ENV, limits=McpLimits(**limits))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(source.run())
        try:
            yield Session(source, group)
        finally:
            task.cancel()


def plain(*args: str, name: str = "plain", **more) -> McpServer:
    """The misbehaving server over stdio."""
    script = str(SERVERS / "plain.py")
    return McpServer(name, "stdio", command=sys.executable, args=(script, *args), **more)


@contextlib.asynccontextmanager
async def official(transport: str, **more) -> AsyncIterator[McpServer]:
    """The server of the official package over `http` or `sse`, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVERS / "official.py"), transport, stdout=asyncio.subprocess.PIPE
    )
    try:
        port = int(await process.stdout.readline())
        path = {"http": "mcp", "sse": "sse"}[transport]
        yield McpServer("web", transport, url=f"http://127.0.0.1:{port}/{path}", **more)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
