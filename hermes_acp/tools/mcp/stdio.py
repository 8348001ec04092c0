"""The stdio transport of MCP: a server process of our own, newline-delimited JSON on its pipes.

The library's own transport reads lines without a bound, inherits parts of our environment and may
take four seconds to end a server; this one has bounds, the environment it is given, and ends the
whole process group within a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from hermes_acp.tools.mcp.config import McpServer, Surroundings
from hermes_acp.tools.mcp.wire import MAX_MESSAGE_BYTES, ListingDispatcher, Wire

MAX_GARBAGE_LINES = 100
"""Lines of stdout that are no messages (some servers log there); more, and the server is ended."""

MAX_STDERR_LOGGED = 64 * 1024
"""Characters of a server's stderr that go to our log; the rest is read and dropped."""

STDERR_CHUNK = 16 * 1024
"""Bytes of stderr that are read at once."""

STDERR_TAIL = 500
"""Characters of stderr that are told with the reason why a server stopped."""

OUTBOX = 64
"""Messages to a server that does not read its stdin; then senders wait, within their own bounds."""

LAST_WORDS_SECONDS = 0.3
"""How long the pipe may outlive the process, when a child of it holds it open."""

CLOSE_SECONDS, TERMINATE_SECONDS, KILL_SECONDS = 0.3, 0.3, 0.2
"""How long a server has to leave after its stdin closed, after SIGTERM, and after SIGKILL."""

logger = logging.getLogger(__name__)


@asynccontextmanager
async def stdio_wire(server: McpServer, surroundings: Surroundings) -> AsyncGenerator[Wire]:
    """Start the server; leaving ends it with all its children. Raises OSError, ValueError."""
    process = await _start(server, surroundings)
    # Nothing may be awaited before the try: a cancellation there would leave the process behind.
    inbox, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outbox = anyio.create_memory_object_stream[SessionMessage](OUTBOX)
    try:
        async with asyncio.TaskGroup() as group:
            work = (process.read(inbox), process.write(outbox), process.drain_stderr(), process.watch())
            tasks = [group.create_task(part) for part in work]
            try:
                yield Wire(ListingDispatcher(read, write), process.gone, process.why)
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        for stream in (inbox, read, write, outbox):
            stream.close()
        await process.end()


async def _start(server: McpServer, surroundings: Surroundings) -> _ServerProcess:
    transport, pipes = await asyncio.get_running_loop().subprocess_exec(
        _Pipes,
        server.command,
        *server.args,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=surroundings.cwd,
        env={**surroundings.env, **dict(server.env)},
        start_new_session=True,
    )
    return _ServerProcess(server.name, transport, pipes)


class _Pipes(SubprocessStreamProtocol):
    """Tells the exit of the process itself; asyncio's own waiting may wait for its children too."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(limit=MAX_MESSAGE_BYTES, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


class _ServerProcess:
    """A running server and its pipes; `gone` once no message can come any more."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, pipes: _Pipes) -> None:
        self.gone = asyncio.Event()
        self._name = name
        self._transport = transport
        self._pipes = pipes
        self._exit_code: int | None = None
        self._complaint = ""
        self._garbage_lines = 0
        self._stderr_tail = ""
        self._logged = 0

    async def read(self, inbox: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Messages to the session, until the pipe ends or there is too much that is no message."""
        stdout = cast("asyncio.StreamReader", self._pipes.stdout)
        try:
            while self._garbage_lines <= MAX_GARBAGE_LINES and (line := await stdout.readline()):
                if message := self._message(line):
                    await inbox.send(message)
        except ValueError:
            self._complain(f"it sent a message of more than {MAX_MESSAGE_BYTES:,} bytes")
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("the pipe of the MCP server %s broke", self._name, exc_info=True)
        finally:
            inbox.close()
            self.gone.set()

    async def write(self, outbox: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Messages to the server, until its stdin is closed."""
        stdin = cast("asyncio.StreamWriter", self._pipes.stdin)
        with suppress(OSError), outbox:
            async for message in outbox:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                stdin.write(text.encode() + b"\n")
                await stdin.drain()

    async def drain_stderr(self) -> None:
        """Keep stderr flowing into our log, bounded, and remember the end of it."""
        stderr = cast("asyncio.StreamReader", self._pipes.stderr)
        while chunk := await stderr.read(STDERR_CHUNK):
            text = chunk.decode("utf-8", "replace")
            self._stderr_tail = (self._stderr_tail + text)[-STDERR_TAIL:]
            self._log(text)

    async def watch(self) -> None:
        """A dead server is gone even when a child of it holds the pipe open."""
        await self._pipes.exited.wait()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        self.gone.set()

    def why(self) -> str:
        """What is known about its end, best asked after it; the exit code if it left by itself."""
        parts = [self._complaint]
        code = self._exit_code
        if code is not None and (code != 0 or not self._complaint):
            parts.append(f"it exited with code {code}" if code >= 0 else f"it was killed by signal {-code}")
        if tail := " ".join(self._stderr_tail.split()):
            parts.append(f"the end of its stderr: {tail}")
        return "; ".join(part for part in parts if part)

    async def end(self) -> None:
        """Close stdin, then SIGTERM, then SIGKILL for the group; the last even when interrupted."""
        cast("asyncio.StreamWriter", self._pipes.stdin).close()
        try:
            if await self._exited(CLOSE_SECONDS):
                self._exit_code = self._transport.get_returncode() if self.gone.is_set() else None
            else:
                self._signal(signal.SIGTERM)
                await self._exited(TERMINATE_SECONDS)
        finally:
            # Also when the server itself has left: what it started may still be there.
            self._signal(signal.SIGKILL)
            self._transport.close()
        await self._exited(KILL_SECONDS)

    def _message(self, line: bytes) -> SessionMessage | None:
        if not line.strip():
            return None
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError:
            self._garbage_lines += 1
            self._complain(f"it wrote something to stdout that is no message: {line[:200]!r}")
            return None
        self._complaint = ""
        return SessionMessage(message)

    def _complain(self, complaint: str) -> None:
        self._complaint = complaint
        self._log(complaint)

    def _log(self, text: str) -> None:
        if self._logged < MAX_STDERR_LOGGED:
            self._logged += len(text)
            logger.info("MCP server %s: %s", self._name, text.rstrip())

    async def _exited(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._pipes.exited.wait()
        except TimeoutError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        # The process leads its own group, so that its children are reached when it has left too.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)
