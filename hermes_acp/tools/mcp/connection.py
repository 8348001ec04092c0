"""One MCP server of one session: started, listed, called, and ended with the session.

This module and those that it imports load the `mcp` package; see `tools` for when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from pathlib import Path
from typing import Literal, cast

import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import FileUrl, ValidationError

from hermes_acp import __version__
from hermes_acp.records import record
from hermes_acp.tools.base import ToolContext, ToolError, ToolResult
from hermes_acp.tools.mcp.call import RunningCall, call_tool
from hermes_acp.tools.mcp.config import McpLimits, McpServer, Problems, RemoteTool, Surroundings
from hermes_acp.tools.mcp.content import cut, tool_result
from hermes_acp.tools.mcp.http import http_wire, sse_wire
from hermes_acp.tools.mcp.listing import Listing
from hermes_acp.tools.mcp.questions import read_form
from hermes_acp.tools.mcp.stdio import stdio_wire
from hermes_acp.tools.mcp.wire import Wire

MAX_REASON_CHARS = 1000
"""Characters of a server's error that are passed on."""

MAX_QUESTION_CHARS = 4000
"""Characters of a server's question to the user."""

RELIST_PAUSE_SECONDS = 0.1
"""Wait after a listing, so that a server that always has news cannot keep us busy."""

LAST_ANSWERS_SECONDS = 0.1
"""How long calls may still take in what arrived before a server was gone."""

CLOSED = "it closed the connection"
"""The reason when there is no better one."""

TERMINATED = "Session terminated"
"""What the library makes of a server that does not know our session any more (HTTP 404)."""

State = Literal["starting", "ready", "lost", "unavailable"]

logger = logging.getLogger(__name__)

# The library logs errors with their tracebacks that are told as problems here, in a sentence.
for _name in ("mcp", "client"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@record
class _Failure:
    """Why a call has no result, as a sentence for the model."""

    text: str


_Answer = types.CallToolResult | _Failure


@record
class _Line:
    """What exists while a server is up."""

    session: ClientSession
    wire: Wire
    tasks: asyncio.TaskGroup
    requests: set[asyncio.Task[_Answer]] = field(default_factory=set["asyncio.Task[_Answer]"])


class Connection:
    """The connection to one server; `run` owns it, `call` uses it.

    A server that stops is started again by the next call, once: another time only after a call has
    succeeded since. One that cannot be started is unavailable from then on, and has no tools.
    """

    def __init__(
        self, server: McpServer, surroundings: Surroundings, limits: McpLimits, problems: Problems
    ) -> None:
        self.name = server.name
        self.identity = server.identity
        self.tools: tuple[RemoteTool, ...] = ()
        self.settled = asyncio.Event()
        self._server = server
        self._surroundings = surroundings
        self._limits = limits
        self._problems = problems
        self._listing = Listing(server.name, limits.max_tools, problems)
        self._state: State = "starting"
        self._may_restart = True
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._line: _Line | None = None
        self._calls: list[RunningCall] = []
        self._heard = ""

    async def run(self) -> None:
        """Serve until the server is unavailable, or cancelled; then all of it is gone."""
        try:
            while self._stopped(await self._serve_apart()):
                await self._wanted.wait()
        finally:
            self._state, self.tools = "unavailable", ()
            self.settled.set()

    async def call(self, name: str, arguments: dict[str, object], context: ToolContext) -> ToolResult:
        """Call a tool. Raises `ToolError`.

        Cancelling it returns at once; the server is told to stop by the connection's own tasks.
        """
        line = await self._connected()
        async with RunningCall(context, self._server.call_seconds) as call:
            request = line.tasks.create_task(self._request(line, call, name, arguments))
            line.requests.add(request)
            request.add_done_callback(line.requests.discard)
            self._calls.append(call)
            try:
                await asyncio.wait({request})
            finally:
                self._calls.remove(call)
                request.cancel()
        answer = _Failure(self._no_answer()) if request.cancelled() else request.result()
        if isinstance(answer, _Failure):
            raise ToolError(cut(answer.text, MAX_REASON_CHARS))
        self._may_restart = True
        return tool_result(answer, self._limits.max_result_chars)

    # --- its life ----------------------------------------------------------------------------------

    async def _serve_apart(self) -> str:
        # In a task of its own: where a connection breaks, the library takes a cancellation of ours
        # for one of its own, and swallows it.
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._serve())
        return CLOSED if serving.cancelled() else serving.result()

    async def _serve(self) -> str:
        """Start the server and keep it until it is lost; returns the reason."""
        reason, wire = "", None
        clock = asyncio.timeout(self._limits.start_seconds)
        try:
            async with clock, self._wire() as wire, self._session(wire) as session:
                await _greet(session)
                self.tools = await self._listing.read(session, wire)
                clock.reschedule(None)
                await self._attend(session, wire)
        except Exception as error:  # boundary: whatever a server makes the library raise is its own end
            logger.debug("the MCP server %s is lost", self.name, exc_info=True)
            late = f"it did not answer within {self._limits.start_seconds:g} seconds"
            reason = late if clock.expired() else _reason(error)
        reason, self._heard = reason or self._heard, ""
        why = wire.why() if wire else ""
        return cut("; ".join(part for part in (reason, why) if part), MAX_REASON_CHARS) or CLOSED

    async def _attend(self, session: ClientSession, wire: Wire) -> None:
        """Keep an open line until nothing can come over it any more."""
        async with asyncio.TaskGroup() as tasks:
            line = _Line(session, wire, tasks)
            own = {tasks.create_task(self._relist(line)), tasks.create_task(self._listen(session))}
            self._line, self._state = line, "ready"
            self.settled.set()
            try:
                await wire.gone.wait()
                self._lose()
                await _wait_for(line.requests)
            finally:
                self._lose()
                await _cancel(own | line.requests)

    def _wire(self) -> AbstractAsyncContextManager[Wire]:
        match self._server.transport:
            case "stdio":
                return stdio_wire(self._server, self._surroundings)
            case "http":
                return http_wire(self._server)
            case "sse":
                return sse_wire(self._server)

    def _session(self, wire: Wire) -> ClientSession:
        return ClientSession(
            dispatcher=wire.dispatcher,
            elicitation_callback=self._elicit,
            list_roots_callback=self._roots,
            message_handler=self._notified,
            client_info=types.Implementation(name="hermes-editor", version=__version__),
        )

    def _stopped(self, reason: str) -> bool:
        """Tell the user; whether the next call may start it again."""
        again = self._state == "ready" and self._may_restart
        failed = "did not start again" if self.tools else "did not start"
        title = f"MCP server {self.name} {'stopped' if self._state == 'ready' else failed}"
        self._state = "lost" if again else "unavailable"
        self._wanted.clear()
        self.settled.set()
        what_now = (
            "The next call of one of its tools starts it again."
            if again
            else "Its tools are unavailable in this session."
        )
        self._problems.add(title, f"{_sentence(reason)} {what_now}")
        return again

    def _lose(self) -> None:
        """No call may use the line any more; the next one waits for what becomes of the server."""
        self._line = None
        self.settled.clear()

    async def _connected(self) -> _Line:
        await self.settled.wait()
        if self._state == "lost":
            self._state, self._may_restart = "starting", False
            self.settled.clear()
            self._wanted.set()
        # Of several calls the first one restarts the server, the others wait here with it.
        await self.settled.wait()
        if self._line is None:
            raise ToolError(self._unavailable())
        return self._line

    def _unavailable(self) -> str:
        return f"The MCP server {self.name} stopped; its tools are unavailable. Go on without them."

    def _no_answer(self) -> str:
        why = f" ({self._heard})" if self._heard else ""
        again = "Check that first; calling the tool again starts the server once more."
        return (
            f"The MCP server {self.name} stopped before it answered{why}; nobody knows whether the call had "
            "an effect. "
            f"{again if self._may_restart else 'Its tools are unavailable now: go on without them.'}"
        )

    # --- its tools ---------------------------------------------------------------------------------

    async def _relist(self, line: _Line) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._limits.start_seconds):
                    self.tools = await self._listing.read(line.session, line.wire)
            except (MCPError, ValidationError, TimeoutError) as error:
                self._listing.tell(f"Its tools changed, but it does not list them: {_reason(error)}")
            await asyncio.sleep(RELIST_PAUSE_SECONDS)

    async def _listen(self, session: ClientSession) -> None:
        """Since protocol 2026-07-28 a server tells only those who ask that its tools have changed."""
        if session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        try:
            async with listen(session, tools_list_changed=True) as news:
                async for _ in news:
                    self._changed.set()
        except (MCPError, SubscriptionLost):
            logger.debug("the MCP server %s does not tell of changed tools", self.name, exc_info=True)

    # --- one call ----------------------------------------------------------------------------------

    async def _request(
        self, line: _Line, call: RunningCall, name: str, arguments: dict[str, object]
    ) -> _Answer:
        try:
            return await call.timed(call_tool(line.session, call, name, arguments))
        except TimeoutError:
            seconds = self._server.call_seconds
            return _Failure(
                f"The MCP server {self.name} did not answer within {seconds:g} seconds and was told to stop; "
                "the call may still have had an effect. Do something smaller, or something else."
            )
        except MCPError as error:
            return self._refused(line, error)
        except Exception as error:  # noqa: BLE001 -- boundary, as in _serve
            return _Failure(f"The MCP server {self.name} gave an answer that is not MCP: {_reason(error)}")

    def _refused(self, line: _Line, error: MCPError) -> _Failure:
        http = self._server.transport != "stdio"
        # Over HTTP the library says in several ways that a stream has ended; over stdio in one, and
        # a server may use the code for something of its own.
        closed = error.code == types.CONNECTION_CLOSED and (http or error.message == "Connection closed")
        if closed or (http and error.message == TERMINATED):
            self._heard = "" if error.message == "Connection closed" else error.message
            line.wire.gone.set()
            if self._line is line:
                self._lose()
            return _Failure(self._no_answer())
        detail = f" ({why})" if http and (why := line.wire.why()) else ""
        return _Failure(f"The MCP server {self.name} refused the call: {error.message}{detail}")

    # --- what the server wants of us ---------------------------------------------------------------

    async def _notified(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed.set()

    async def _elicit(
        self,
        context: ClientRequestContext,  # noqa: ARG002 -- the library's signature
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult:
        """Ask the user, if one of our calls is running; which of several, the protocol does not say."""
        form = read_form(params) if isinstance(params, types.ElicitRequestFormParams) else None
        if form is None or not self._calls:
            return types.ElicitResult(action="decline")
        question = cut(f"The MCP server {self.name} asks: {params.message}", MAX_QUESTION_CHARS)
        return form.answer(await self._calls[-1].ask(question, form.fields))

    async def _roots(
        self,
        context: ClientRequestContext,  # noqa: ARG002 -- the library's signature
    ) -> types.ListRootsResult:
        paths = [Path(root) for root in self._surroundings.roots]
        return types.ListRootsResult(
            roots=[types.Root(uri=FileUrl(path.as_uri()), name=path.name) for path in paths]
        )


async def _greet(session: ClientSession) -> None:
    """The handshake that nearly all servers know; then the newer one, for those that know no other."""
    try:
        await session.initialize()
    except MCPError as refusal:
        if refusal.code not in (types.UNSUPPORTED_PROTOCOL_VERSION, types.METHOD_NOT_FOUND):
            raise
        await session.discover()


async def _wait_for(requests: set[asyncio.Task[_Answer]]) -> None:
    if requests:
        await asyncio.wait(requests, timeout=LAST_ANSWERS_SECONDS)


async def _cancel(tasks: Collection[asyncio.Task[None] | asyncio.Task[_Answer]]) -> None:
    """Cancel, and again: the first time the library tries for seconds to tell a stuck server."""
    for task in tasks:
        task.cancel()
    _, stuck = await asyncio.wait(tasks, timeout=LAST_ANSWERS_SECONDS)
    for task in stuck:
        task.cancel()


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
