"""The agent loop: ask the model, do what it wants, until it is done."""

from __future__ import annotations

import contextlib
from typing import Literal

from hermes_acp.agent import answer, calls, compaction
from hermes_acp.agent.turn import Turn
from hermes_acp.events import Notice, StepStarted, StopReason, ToolCallFinished, ToolRequest
from hermes_acp.llm.base import ContextOverflow, ModelError

CUT_OFF = "Your answer was cut off at the token limit, so this call did not run."
DECLINED = "The model declined to go on, so this call did not run."
REPEATED = "You made exactly this call {count} times and the result was the same. Do something else."
REFUSE_REPEATS = 4
"""The same calls with the same results this often in a row are not run again."""
STOP_REPEATS = 7
"""And this often in a row they end the turn."""
COMPACTIONS = 8
"""How often one turn makes room before it has to: a context that stays full is not summarised for ever."""


async def run(turn: Turn) -> StopReason:
    """Run the turn to its end. Raises `ModelError` and `StorageError`; cancel it to stop it."""
    repeats = Repeats()
    compactions = COMPACTIONS
    for step in range(1, turn.max_steps + 1):
        await turn.join_steering()
        if compactions and compaction.due(turn):
            compactions -= 1
            await _make_room(turn)
        turn.publish(StepStarted(step, turn.model.name))
        said = await _ask(turn)
        requests = said.message.tool_calls
        if said.finish == "refusal":
            calls.refuse_all(turn, requests, DECLINED)
            return "refusal"
        if said.finish == "length":
            calls.refuse_all(turn, requests, CUT_OFF)
            return "max_tokens"
        if not requests and not turn.steering:
            return "end_turn"
        if requests and not await _act(turn, requests, repeats):
            return "max_turn_requests"
    turn.publish(Notice("warning", f"Stopped after {turn.max_steps} steps", "Say “go on” to continue."))
    return "max_turn_requests"


async def _make_room(turn: Turn) -> None:
    # There is room left, so a summary that failed is no reason to stop; the windows were told of it.
    with contextlib.suppress(ModelError):
        await compaction.compact(turn)


async def _ask(turn: Turn) -> answer.Answer:
    tools = tuple(tool.spec for tool in await turn.tools.tools())
    try:
        return await answer.ask(turn, tools)
    except ContextOverflow:
        await compaction.compact(turn)
        return await answer.ask(turn, tools)


async def _act(turn: Turn, requests: tuple[ToolRequest, ...], repeats: Repeats) -> bool:
    advice = repeats.advice(requests)
    if advice == "run":
        repeats.note(requests, await calls.run_all(turn, requests))
        return True
    calls.refuse_all(turn, requests, REPEATED.format(count=repeats.count))
    repeats.count += 1
    if advice == "stop":
        turn.publish(Notice("warning", "Stopped: the model repeats the same tool call over and over"))
    return advice != "stop"


class Repeats:
    """Notices a model that makes the same calls with the same results over and over."""

    def __init__(self) -> None:
        self.count = 0
        self._calls: list[tuple[str, str]] = []
        self._results: list[str] = []

    def advice(self, requests: tuple[ToolRequest, ...]) -> Literal["run", "refuse", "stop"]:
        """What to do with these calls, given what was seen before."""
        if self.count < REFUSE_REPEATS or _signature(requests) != self._calls:
            return "run"
        return "refuse" if self.count < STOP_REPEATS else "stop"

    def note(self, requests: tuple[ToolRequest, ...], finished: list[ToolCallFinished]) -> None:
        """Take in what came of the calls."""
        calls_made, results = _signature(requests), [item.result for item in finished]
        same = calls_made == self._calls and results == self._results
        self.count = self.count + 1 if same else 1
        self._calls, self._results = calls_made, results


def _signature(requests: tuple[ToolRequest, ...]) -> list[tuple[str, str]]:
    return [(request.name, request.arguments) for request in requests]
