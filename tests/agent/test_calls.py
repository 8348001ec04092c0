"""Tool calls: every one ends once, whatever its arguments and its tool do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import Field

from hermes_acp.agent import calls
from hermes_acp.agent.turn import Turn
from hermes_acp.events import ToolCallFinished, ToolCallStarted, ToolRequest, TurnEnded
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import act, call, messages, say, serving
from tests.agent.turns import turn_with

DONE = TurnEnded("end_turn")


class Nothing(Params):
    """No parameters."""


class Number(Params):
    """Which of many calls this is."""

    number: int = Field(ge=0)


def named(params: object, _cwd: str) -> Description:
    return Description(type(params).__name__)


def undescribable(_params: object, _cwd: str) -> Description:
    raise KeyError("no title")


@tool(Nothing, kind="read", describe=named, parallel=True)
async def buggy(params: Nothing, context: ToolContext) -> ToolResult:
    """Has a bug."""
    raise ZeroDivisionError("division by zero")


@tool(Nothing, kind="read", describe=undescribable, parallel=True)
async def nameless(params: Nothing, context: ToolContext) -> ToolResult:
    """Cannot even say what it would do."""
    return ToolResult("never")


@tool(Nothing, kind="read", describe=named)
async def failing(params: Nothing, context: ToolContext) -> ToolResult:
    """Fails as expected."""
    raise ToolError("The thing is missing: make it first.")


@tool(Nothing, kind="execute", describe=named)
async def endless(params: Nothing, context: ToolContext) -> ToolResult:
    """Lasts for ever."""
    await asyncio.Event().wait()
    return ToolResult("never")


class Crowd:
    """Counts how many of its calls run at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def tool(self) -> Tool:
        """The tool that does the counting."""

        @tool(Number, kind="read", describe=named, parallel=True)
        async def count(params: Number, context: ToolContext) -> ToolResult:
            """Count."""
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(20 - params.number):
                await asyncio.sleep(0)
            self.now -= 1
            return ToolResult(str(params.number))

        return count


def requests(*names: str, arguments: str = "{}") -> tuple[ToolRequest, ...]:
    return tuple(ToolRequest(f"c{number}", name, arguments) for number, name in enumerate(names))


async def told(turn: Turn, wanted: tuple[ToolRequest, ...]) -> list[tuple[str, str]]:
    """Outcome and words of every call, in order."""
    return [(item.outcome, item.result) for item in await calls.run_all(turn, wanted)]


async def test_a_bug_in_a_tool_is_told_to_the_model_and_harms_nothing_else(tmp_path: Path) -> None:
    async with turn_with(tmp_path, buggy, nameless, failing) as turn:
        outcomes = await told(turn, requests("buggy", "nameless", "failing", "buggy"))
        words = "The tool failed with an internal error (ZeroDivisionError: division by zero)."
        assert [outcome for outcome, _ in outcomes] == ["failed"] * 4
        assert outcomes[0][1].startswith(words)
        assert "KeyError" in outcomes[1][1]
        assert outcomes[2][1] == "The thing is missing: make it first."
        await turn.hub.flush()
        journal = [item.event for item in await turn.hub.journal.read("s1")]
        started = [item.call_id for item in journal if isinstance(item, ToolCallStarted)]
        finished = [item.call_id for item in journal if isinstance(item, ToolCallFinished)]
        assert sorted(started) == sorted(finished) == ["c0", "c1", "c2", "c3"]


async def test_reading_calls_run_beside_each_other_within_a_bound_and_keep_their_order(
    tmp_path: Path,
) -> None:
    crowd = Crowd()
    wanted = tuple(ToolRequest(f"c{number}", "count", f'{{"number": {number}}}') for number in range(20))
    async with turn_with(tmp_path, crowd.tool()) as turn:
        outcomes = await told(turn, wanted)
        assert outcomes == [("completed", str(number)) for number in range(20)]
        assert crowd.most == calls.PARALLEL_BOUND


async def test_a_cancelled_step_ends_the_call_that_runs_and_those_that_wait(tmp_path: Path) -> None:
    async with turn_with(tmp_path, endless, failing) as turn:
        reader = turn.hub.subscribe(answers=False)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(calls.run_all(turn, requests("endless", "failing", "unknown")))
            await reader.batch()
            running.cancel()
        await turn.hub.flush()
        finished = [item.event for item in await turn.hub.journal.read("s1")][1:]
        assert [item.outcome for item in finished if isinstance(item, ToolCallFinished)] == ["cancelled"] * 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1,}', {"a": 1}),
        ("{'a': 'b'}", {"a": "b"}),
        ('{a: "b"}', {"a": "b"}),
        ('{"a": True, "b": None}', {"a": True, "b": None}),
        ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
        ('{"a": "say "hi" now"}', {"a": 'say "hi" now'}),
        ('{"a": 1}}', {"a": 1}),
        ('{"a": "}{"}', {"a": "}{"}),
    ],
)
async def test_arguments_with_small_mistakes_are_mended(text: str, value: dict[str, object]) -> None:
    assert await calls.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "a',
        '{"path": "a}',
        "{'path': 'a}",
        '{"command": "echo ${HOME}',
        '{"a": [1, 2}',
        '{"a": {"b": 1}',
        '{"content": "if (x) { return }',
        "[1]",
        "7",
        '"text"',
        "null",
        "not JSON",
        '{"a": 1} {"b": 2}',
        "{" * 5_000,
        '{"a": "' + 'x"y' * 100_000 + '",}',
    ],
)
async def test_arguments_that_were_cut_off_or_are_no_object_are_never_guessed(text: str) -> None:
    with pytest.raises(ToolError, match="Send the call again"):
        await calls.parse(text)


async def test_wrong_calls_are_explained_to_the_model(tmp_path: Path) -> None:
    parts = [
        call("nonsense", x=1),
        {"tool": "read_file", "raw": '{"path": "a'},
        call("read_file", path="a", colour="red"),
        call("write_file", path="b"),
        {"tool": "read_file", "raw": "[" * 30_000 + "]" * 30_000},
        {"tool": "read_file", "raw": '{"path": ' + "[" * 30_000 + "]" * 30_000 + "}"},
    ]
    async with serving(tmp_path, [act(*parts), say("I see")]) as desk:
        window = await desk.new()
        assert await window.prompt("go") == DONE
        words = [text for _, text in window.results]
        assert [outcome for outcome, _ in window.results] == ["failed"] * 6
        assert "There is no tool 'nonsense'" in words[0]
        assert "not complete JSON" in words[1]
        assert "colour: Extra inputs are not permitted" in words[2]
        assert "content: Field required" in words[3]
        check_all(window.seen)
        check_messages(messages(window.session))
