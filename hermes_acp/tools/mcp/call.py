"""One running call of a server's tool: its clock, its progress, and the server's questions meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.shared.exceptions import MCPError

from hermes_acp.events import Field
from hermes_acp.tools.base import Reply, ToolContext

T = TypeVar("T")

LONGEST_SECONDS = 3600.0
"""Progress and answered questions keep a call alive, but never longer than this without a question."""

MAX_INPUT_ROUNDS = 10
"""Times that a server may answer one call with a question (protocol 2026-07-28)."""

INPUT_PAUSE_SECONDS = 0.1
"""Wait before such a call is repeated when the server asked nothing."""

MAX_QUESTIONS = 20
"""Questions of a server during one call; further ones are declined."""

MAX_PROGRESS = 1000
"""Progress reports of one call that are shown."""

MAX_PROGRESS_CHARS = 500
"""Characters of one of them."""


class RunningCall:
    """What a server may do while one of its tools runs: take its time, report, and ask.

    Entered by the task of the tool call, so that open questions end with it; what a question raises
    leaves from there.
    """

    def __init__(self, context: ToolContext, seconds: float) -> None:
        self._context = context
        self._seconds = seconds
        self._clock: asyncio.Timeout | None = None
        self._last = 0.0
        self._group = asyncio.TaskGroup()
        self._questions: set[asyncio.Task[Reply]] = set()
        self._failure: Exception | None = None
        self._reports = 0
        self._open = False

    async def __aenter__(self) -> RunningCall:
        """Open it for the server."""
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End open questions; nothing that the server does later is shown."""
        self._open = False
        for question in self._questions:
            question.cancel()
        await self._group.__aexit__(kind, error, trace)
        if self._failure is not None:
            raise self._failure

    async def timed(self, request: Awaitable[T]) -> T:
        """Wait for the server's answer. Raises TimeoutError when the clock runs out."""
        self._last = asyncio.get_running_loop().time() + LONGEST_SECONDS
        async with asyncio.timeout(self._seconds) as clock:
            self._clock = clock
            try:
                return await request
            finally:
                self._clock = None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Show a report of the server and restart the clock."""
        if not self._open:
            return
        self._restart_clock()
        self._reports += 1
        if self._reports <= MAX_PROGRESS:
            share = f"{progress:g}/{total:g}" if total else f"{progress:g}"
            line = f"[{share}] {(message or '')[:MAX_PROGRESS_CHARS]}".rstrip()
            self._context.progress(output=line + "\n")

    async def ask(self, message: str, fields: tuple[Field, ...]) -> Reply:
        """Ask the user for the server; the clock stands still until there is an answer."""
        if not self._open or len(self._questions) == MAX_QUESTIONS:
            return Reply("declined", {})
        question = self._group.create_task(self._put(message, fields))
        self._questions.add(question)
        self._stop_clock()
        try:
            await asyncio.wait({question})
        finally:
            question.cancel()
            self._last = asyncio.get_running_loop().time() + LONGEST_SECONDS
            self._restart_clock()
        return Reply("unanswered", {}) if question.cancelled() else question.result()

    async def _put(self, message: str, fields: tuple[Field, ...]) -> Reply:
        try:
            return await self._context.ask(message, fields)
        except Exception as error:  # noqa: BLE001 -- raised again where the call ends
            self._failure = error
            return Reply("unanswered", {})

    def _stop_clock(self) -> None:
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(None)

    def _restart_clock(self) -> None:
        if self._clock is None or self._clock.expired() or not all(item.done() for item in self._questions):
            return
        now = asyncio.get_running_loop().time()
        self._clock.reschedule(min(now + self._seconds, self._last))


async def call_tool(
    session: ClientSession, call: RunningCall, name: str, arguments: dict[str, object]
) -> types.CallToolResult:
    """Call, and answer the questions that a server of protocol 2026-07-28 has first."""
    responses: types.InputResponses | None = None
    state: str | None = None
    for _ in range(MAX_INPUT_ROUNDS):
        result = await session.call_tool(
            name,
            arguments,
            progress_callback=call.progress,
            input_responses=responses,
            request_state=state,
            allow_input_required=True,
        )
        if isinstance(result, types.CallToolResult):
            return result
        state, responses = result.request_state, {}
        for key, question in (result.input_requests or {}).items():
            context = ClientRequestContext(session=session, request_id=key)
            response = await session.dispatch_input_request(context, question)
            if isinstance(response, types.ErrorData):
                raise MCPError.from_error_data(response)
            responses[key] = response
        if not responses:
            await asyncio.sleep(INPUT_PAUSE_SECONDS)
    raise MCPError(types.INVALID_REQUEST, f"it asked for input more than {MAX_INPUT_ROUNDS} times")
