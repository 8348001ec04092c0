"""Runs the model's tool calls: every started call finishes once, on cancel too."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import cast

import orjson

from hermes_acp.agent.approvals import Asker
from hermes_acp.agent.turn import Turn
from hermes_acp.content import Location, Shown, TextBlock
from hermes_acp.events import (
    Event,
    Field,
    PlanEntry,
    PlanUpdated,
    QuestionAnswered,
    ToolCallFinished,
    ToolCallProgress,
    ToolCallStarted,
    ToolKind,
    ToolOutcome,
    ToolRequest,
)
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.policy.masking import Stream
from hermes_acp.records import record
from hermes_acp.storage.database import StorageError
from hermes_acp.tools.base import Call, Reply, Tool, ToolError, ToolResult
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.execution.base import Execution, ExecutionError
from hermes_acp.workspace.locations import DocumentError

PARALLEL_BOUND = 8
"""Reading calls that run beside each other."""
MEND_BOUND = 200_000
"""Characters of malformed arguments that are looked at; mending takes time that grows with them."""
QUOTED = re.compile(r"""(["'])(?:(?!\1)[^\\]|\\.)*\1""", re.DOTALL)
"""A string, also in the single quotes that some models write."""

logger = logging.getLogger(__name__)


@record
class CallContext:
    """What one running call may use (`tools.base.ToolContext`); `stream` carries its live output."""

    turn: Turn
    call_id: str
    title: str
    stream: Stream

    @property
    def session_id(self) -> str:
        """The session."""
        return self.turn.hub.session_id

    @property
    def cwd(self) -> str:
        """The session's working directory."""
        return self.turn.place.cwd

    @property
    def roots(self) -> tuple[str, ...]:
        """The working directory and the additional ones."""
        return self.turn.place.roots

    @property
    def documents(self) -> Documents:
        """The files."""
        return self.turn.place.documents

    @property
    def execution(self) -> Execution:
        """Where commands run."""
        return self.turn.place.execution

    async def permit(
        self, effect: Effect, shown: tuple[Shown, ...] = (), locations: tuple[Location, ...] = ()
    ) -> Permit:
        """Pass the policy. Raises `Refused`."""
        shown = await self.turn.screen.shown(shown)
        permit = await self.turn.approvals.permit(self._asker(), effect, shown, locations)
        if effect.kind != "read":
            # A call that only reads so far may have to ask for more.
            self.progress()
        return permit

    def progress(self, output: str = "", shown: tuple[Shown, ...] | None = None) -> None:
        """Show how it goes."""
        if output and not (output := self.stream.add(output)) and shown is None:
            return
        self.turn.publish(ToolCallProgress(self.call_id, output, shown))

    def end(self) -> None:
        """Show what was held back of the output."""
        if rest := self.stream.end():
            self.turn.publish(ToolCallProgress(self.call_id, rest))

    def set_plan(self, entries: tuple[PlanEntry, ...]) -> None:
        """Replace the plan."""
        self.turn.publish(PlanUpdated(entries))

    async def ask(self, message: str, fields: tuple[Field, ...]) -> Reply:
        """Ask the user."""
        answer = await self.turn.approvals.question(self._asker(), message, fields)
        values = cast("dict[str, object]", orjson.loads(answer.values)) if answer.values else {}
        return Reply(answer.outcome, values)

    def _asker(self) -> Asker:
        turn = self.turn
        flush, tainted = turn.hub.flush, turn.screen.tainted
        return Asker(self.call_id, self.title, self._publish, flush, turn.files, tainted)

    def _publish(self, event: Event) -> None:
        """What the user answers goes to the tool as it is, and without its secrets to everybody else."""
        if isinstance(event, QuestionAnswered) and event.values is not None:
            event = replace(event, values=self.turn.screen.masks.hide(event.values, given=True))
        self.turn.publish(event)


async def run_all(turn: Turn, requests: Sequence[ToolRequest]) -> list[ToolCallFinished]:
    """Run the calls in order; neighbouring calls that only read run beside each other.

    When cancelled, every call that has not ended is ended before the cancellation goes on.
    """
    waiting = {request.call_id: request for request in requests}
    finished: list[ToolCallFinished] = []
    try:
        for beside, group in itertools.groupby(requests, lambda request: _parallel(turn, request)):
            if beside:
                finished += await _run_beside(turn, waiting, list(group))
            else:
                for request in group:
                    finished.append(await _run(turn, waiting, request))
    except asyncio.CancelledError:
        _end_all(turn, list(waiting.values()), "cancelled", "The user stopped the turn before this call ran.")
        raise
    return finished


def refuse_all(turn: Turn, requests: Sequence[ToolRequest], reason: str) -> None:
    """End calls that must not run, telling the model why."""
    _end_all(turn, requests, "failed", reason)


async def parse(arguments: str) -> dict[str, object]:
    """The arguments as an object; small mistakes are mended. Raises `ToolError`.

    Text in which something is still open was cut off: mending it would invent an ending.
    """
    if not arguments.strip():
        return {}
    try:
        value = cast("object", orjson.loads(arguments))
    except orjson.JSONDecodeError as error:
        if len(arguments) > MEND_BOUND or not _whole(arguments):
            raise ToolError(f"The arguments are not complete JSON ({error}). Send the call again.") from error
        value = await asyncio.to_thread(_mended, arguments)
    if not isinstance(value, dict):
        raise ToolError("The arguments must be one JSON object. Send the call again.")
    return cast("dict[str, object]", value)


def _whole(arguments: str) -> bool:
    """Whether the text ends like an object and every string and bracket in it is closed."""
    rest = QUOTED.sub("", arguments).rstrip()
    closed = all(rest.count(left) <= rest.count(right) for left, right in ("{}", "[]"))
    return rest.endswith("}") and closed and not any(quote in rest for quote in "\"'")


def _mended(arguments: str) -> object:
    # Rarely needed, and not worth its share of every start.
    return import_module("json_repair").loads(arguments)


async def _run_beside(
    turn: Turn, waiting: dict[str, ToolRequest], requests: list[ToolRequest]
) -> list[ToolCallFinished]:
    gate = asyncio.Semaphore(PARALLEL_BOUND)

    async def bounded(request: ToolRequest) -> ToolCallFinished:
        async with gate:
            return await _run(turn, waiting, request)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(request)) for request in requests]
    except* StorageError as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _run(turn: Turn, waiting: dict[str, ToolRequest], request: ToolRequest) -> ToolCallFinished:
    try:
        call = _find(turn, request).accept(await parse(request.arguments))
        description = call.describe(turn.place.cwd)
    except ToolError as error:
        return _reject(turn, waiting.pop(request.call_id), _failure(error))
    except Exception as bug:  # boundary: a bug in one tool must not end the turn
        logger.exception("tool %s failed", request.name)
        return _reject(turn, waiting.pop(request.call_id), _bug(bug))
    del waiting[request.call_id]
    _start(turn, request, description.title, description.locations)
    context = CallContext(turn, request.call_id, description.title, turn.screen.stream())
    try:
        outcome, result = await _ended(call, context, request)
        context.end()
        result = await turn.screen.result(request.name, _kind(turn, request), result, turn.publish)
    except asyncio.CancelledError:
        _finish(turn, request, "cancelled", ToolResult("The user stopped this call.", failed=True))
        raise
    finally:
        if turn.files is not None:
            turn.files.ended(request.call_id)
    return _finish(turn, request, outcome, result)


async def _ended(call: Call, context: CallContext, request: ToolRequest) -> tuple[ToolOutcome, ToolResult]:
    """How a call ends that is not cancelled. Raises `StorageError`."""
    try:
        result = await call.run(context)
    except Refused as refusal:
        return "refused", _failure(refusal)
    except (ToolError, DocumentError, ExecutionError) as error:
        return "failed", _failure(error)
    except StorageError:
        raise
    except Exception as bug:  # boundary: a bug in one tool must not end the turn
        logger.exception("tool %s failed", request.name)
        return "failed", _bug(bug)
    return "failed" if result.failed else "completed", result


def _find(turn: Turn, request: ToolRequest) -> Tool:
    tool = turn.tools.find(request.name)
    if tool is None:
        raise ToolError(f"There is no tool {request.name!r}. Use one of the tools you were given.")
    return tool


def _parallel(turn: Turn, request: ToolRequest) -> bool:
    tool = turn.tools.find(request.name)
    return tool is not None and tool.parallel


def _start(turn: Turn, request: ToolRequest, title: str, locations: tuple[Location, ...] = ()) -> None:
    kind = _kind(turn, request)
    turn.publish(ToolCallStarted(request.call_id, request.name, title, kind, request.arguments, locations))


def _kind(turn: Turn, request: ToolRequest) -> ToolKind:
    tool = turn.tools.find(request.name)
    return tool.kind if tool is not None else "other"


def _finish(turn: Turn, request: ToolRequest, outcome: ToolOutcome, result: ToolResult) -> ToolCallFinished:
    event = ToolCallFinished(
        call_id=request.call_id,
        outcome=outcome,
        result=result.text,
        shown=result.shown or (TextBlock(result.text),),
        locations=result.locations,
        images=result.images,
        exit=result.exit,
        title=result.title,
    )
    turn.publish(event)
    return event


def _end_all(turn: Turn, requests: Sequence[ToolRequest], outcome: ToolOutcome, reason: str) -> None:
    for request in requests:
        _start(turn, request, request.name)
        _finish(turn, request, outcome, ToolResult(reason, failed=True))


def _reject(turn: Turn, request: ToolRequest, problem: ToolResult) -> ToolCallFinished:
    _start(turn, request, request.name)
    return _finish(turn, request, "failed", problem)


def _bug(bug: Exception) -> ToolResult:
    problem = f"The tool failed with an internal error ({type(bug).__name__}: {bug}). Try another way."
    return ToolResult(problem, failed=True)


def _failure(error: Exception) -> ToolResult:
    return ToolResult(str(error), failed=True)
