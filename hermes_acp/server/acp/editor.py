"""What the editor lends to a session: its open files (`fs/*`) and its terminals (`terminal/*`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Permit, PermitMismatch
from hermes_acp.records import record
from hermes_acp.server.acp import schema
from hermes_acp.server.acp.render.content import terminal
from hermes_acp.server.messages import Json
from hermes_acp.server.rpc import Disconnected, Peer, RemoteError
from hermes_acp.workspace.editors import EditorError, EditorGone
from hermes_acp.workspace.execution.base import ExecutionError, Launch, Output

FILE_TIMEOUT = 30.0
"""Seconds that an editor may take to read or write a file."""
KILL_TIMEOUT = 2.0
"""Seconds that an editor may take to end and free a terminal."""
OUTPUT_LIMIT = 256 * 1024
"""Bytes of output that the editor keeps for us."""

RELEASE_WAIT = 0.05
"""Seconds that the end of a call waits for the editor to free its terminal."""
LOST = ExitStatus(None, "unknown: the editor lost the terminal")

T = TypeVar("T", bound=BaseModel)


async def ask(peer: Peer, method: str, params: Json, answer: type[T], timeout: float | None) -> T:
    """Send a request and read its answer. Raises `EditorError`, and `EditorGone` when it left."""
    if peer.closed:
        raise EditorGone("The editor has left.", asked=False)
    try:
        async with asyncio.timeout(timeout):
            return answer.model_validate(await peer.request(method, params) or {})
    except TimeoutError:
        raise EditorError(f"The editor did not answer {method} within {timeout:.0f} seconds.") from None
    except Disconnected as error:
        raise EditorGone(f"The editor left before it answered {method}.", asked=True) from error
    except RemoteError as error:
        raise EditorError(f"The editor could not do {method}: {error}") from error
    except ValidationError as error:
        raise EditorError(f"The editor's answer to {method} is not valid.") from error


@record
class ClientFiles:
    """The editor's buffers (`workspace.documents.EditorFiles`)."""

    peer: Peer
    session_id: str
    can_read: bool
    can_write: bool

    async def read_text(self, path: str) -> str:
        """The text in the buffer, unsaved changes included."""
        params: Json = {"sessionId": self.session_id, "path": path}
        reply = await ask(self.peer, "fs/read_text_file", params, schema.FileText, FILE_TIMEOUT)
        return reply.content

    async def write_text(self, path: str, text: str) -> None:
        """Replace the text through the buffer."""
        params: Json = {"sessionId": self.session_id, "path": path, "content": text}
        await ask(self.peer, "fs/write_text_file", params, schema.Empty, FILE_TIMEOUT)


@record
class ClientTerminals:
    """Commands in the editor's own terminals (`workspace.execution.base.Execution`)."""

    peer: Peer
    session_id: str
    label: str
    """Of the window: it begins the ids of its terminals, which are its own alone."""

    async def start(self, permit: Permit, launch: Launch) -> ClientProcess:
        """Create a terminal that runs the command. Raises `ExecutionError`."""
        permit.check_command(launch.command)
        if permit.confinement is not None:
            raise PermitMismatch("no permit to run outside the sandbox")
        params: Json = {
            "sessionId": self.session_id,
            "command": "/bin/bash",
            "args": ["-c", launch.command],
            "cwd": launch.cwd,
            "env": [{"name": "PAGER", "value": "cat"}, {"name": "GIT_PAGER", "value": "cat"}],
            "outputByteLimit": OUTPUT_LIMIT,
        }
        try:
            created = await ask(self.peer, "terminal/create", params, schema.TerminalCreated, FILE_TIMEOUT)
        except EditorError as error:
            raise ExecutionError(str(error)) from error
        if self.peer.closed:
            raise ExecutionError("The editor left before its terminal ran the command.")
        target: Json = {"sessionId": self.session_id, "terminalId": created.terminal_id}
        return ClientProcess(self.peer, terminal(self.label, created.terminal_id), target)


class ClientProcess:
    """A command in a terminal of the editor (`workspace.execution.base.Process`)."""

    def __init__(self, peer: Peer, terminal_id: str, target: Json) -> None:
        self.terminal_id: str | None = terminal_id
        self._peer = peer
        self._target = target
        self._exit: ExitStatus | None = None
        self._last = Output("")
        self._ending = False
        self._end = peer.spawn(self._follow())

    async def chunks(self) -> AsyncIterator[str]:
        """Nothing: the editor shows the output itself. Ends when the command has exited."""
        await asyncio.wait([self._end])
        return
        yield ""

    async def output(self) -> Output:
        """What the editor kept of the output."""
        if not self._ending:
            with contextlib.suppress(EditorError):
                reply = await ask(
                    self._peer, "terminal/output", self._target, schema.TerminalOutput, FILE_TIMEOUT
                )
                self._last = Output(reply.output, dropped=1 if reply.truncated else 0)
        return self._last

    def exit(self) -> ExitStatus | None:
        """How it ended."""
        return LOST if self._exit is None and self._end.done() else self._exit

    async def wait(self) -> ExitStatus:
        """Wait for its end."""
        await asyncio.wait([self._end])
        return self._exit or LOST

    async def kill(self) -> None:
        """Ask the editor to end it."""
        if self.exit() is None:
            with contextlib.suppress(EditorError):
                await ask(self._peer, "terminal/kill", self._target, schema.Empty, KILL_TIMEOUT)
            await asyncio.wait([self._end], timeout=KILL_TIMEOUT)

    async def release(self) -> None:
        """End and free the terminal; waits only a moment, so that a slow editor cannot delay a cancel."""
        if self._ending or self._peer.closed:
            return
        self._ending = True
        await asyncio.wait([self._peer.spawn(self._free())], timeout=RELEASE_WAIT)

    async def _free(self) -> None:
        await self.kill()
        with contextlib.suppress(EditorError):
            await ask(self._peer, "terminal/release", self._target, schema.Empty, KILL_TIMEOUT)

    async def _follow(self) -> None:
        try:
            reply = await ask(
                self._peer, "terminal/wait_for_exit", self._target, schema.TerminalExit, timeout=None
            )
        except EditorError:
            self._exit = LOST
        else:
            self._exit = ExitStatus(reply.exit_code, reply.signal)
