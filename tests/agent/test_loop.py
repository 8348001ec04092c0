"""The loop: when it goes on, and each of the ways in which it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.agent.loop import REFUSE_REPEATS, STOP_REPEATS, Repeats
from hermes_acp.content import TextBlock
from hermes_acp.events import (
    MessageCompleted,
    Notice,
    PlanEntry,
    PlanUpdated,
    StepStarted,
    ToolCallFinished,
    ToolRequest,
    TurnEnded,
    UsageUpdated,
)
from hermes_acp.llm.base import UserMessage
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import act, call, messages, say, serving

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
LOOK = call("list_dir", path=".")


async def test_the_loop_asks_and_acts_until_the_model_is_done(tmp_path: Path) -> None:
    script = [
        act({"text": "I look."}, call("write_file", path="a", content="1\n")),
        act(call("read_file", path="a"), call("list_dir", path=".")),
        say("All well."),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("go") == DONE
        assert [item.step for item in window.of(StepStarted)] == [1, 2, 3]
        assert window.texts == ["I look.", "", "All well."]
        assert [outcome for outcome, _ in window.results] == ["completed"] * 3
        check_all(window.seen)
        check_messages(messages(window.session))


async def test_results_stand_in_the_order_of_their_calls_however_fast_they_are(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(20)]
    script = [act(*(call("read_file", path=name) for name in names)), say("ok")]
    async with serving(tmp_path, script) as desk:
        for number, name in enumerate(names):
            (desk.folder / name).write_text(f"content {number}\n" * (2000 - 100 * number))
        window = await desk.new()
        assert await window.prompt("read") == DONE
        requests = window.of(MessageCompleted)[0].tool_calls
        history = messages(window.session)
        assert [item.call_id for item in history[2:22]] == [item.call_id for item in requests]
        for number, message in enumerate(history[2:22]):
            assert f"content {number}\n" in message.text


async def test_too_many_steps_end_the_turn_and_the_next_one_goes_on(tmp_path: Path) -> None:
    script = [act(call("list_dir", path="."), {"text": str(number)}) for number in range(3)]
    async with serving(tmp_path, [*script, say("finished")], max_steps=3) as desk:
        window = await desk.new()
        assert await window.prompt("go") == TurnEnded("max_turn_requests")
        assert [item.title for item in window.of(Notice)] == ["Stopped after 3 steps"]
        assert await window.prompt("go on") == DONE
        assert window.texts[-1] == "finished"


async def test_the_same_calls_with_the_same_results_are_refused_and_then_end_the_turn(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, [act(LOOK, when={"user": ""}), act(LOOK, when={"result": ""})]) as desk:
        window = await desk.new()
        assert await window.prompt("go") == TurnEnded("max_turn_requests")
        assert [outcome for outcome, _ in window.results] == ["completed"] * REFUSE_REPEATS + ["failed"] * (
            STOP_REPEATS - REFUSE_REPEATS + 1
        )
        assert "exactly this call 4 times" in window.results[REFUSE_REPEATS][1]
        assert "over and over" in window.of(Notice)[-1].title
        check_all(window.seen)
        check_messages(messages(window.session))


async def test_a_call_whose_result_changes_is_no_repetition(tmp_path: Path) -> None:
    step = [act(LOOK, call("write_file", path=f"f{number}", content="")) for number in range(9)]
    async with serving(tmp_path, [*step, say("ok")]) as desk:
        window = await desk.new()
        assert await window.prompt("go") == DONE
        assert {outcome for outcome, _ in window.results} == {"completed"}


def test_another_call_in_between_starts_the_count_anew() -> None:
    repeats = Repeats()
    same, other = (ToolRequest("c1", "a", "{}"),), (ToolRequest("c2", "b", "{}"),)
    done = [ToolCallFinished("c1", "completed", "r")]
    for _ in range(REFUSE_REPEATS):
        assert repeats.advice(same) == "run"
        repeats.note(same, done)
    assert repeats.advice(same) == "refuse"
    assert repeats.advice(other) == "run"
    repeats.note(other, done)
    assert repeats.advice(same) == "run"


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_tokens"), ("refusal", "refusal")])
async def test_calls_of_an_answer_that_is_not_whole_do_not_run(
    tmp_path: Path, finish: str, reason: str
) -> None:
    script = [
        act({"text": "well"}, call("write_file", path="a", content="x"), finish=finish),
        act({"text": "ok"}, when={"user": "and now"}),
    ]
    async with serving(tmp_path, script, mode="accept_edits") as desk:
        window = await desk.new()
        assert await window.prompt("go") == TurnEnded(reason)
        assert [outcome for outcome, _ in window.results] == ["failed"]
        assert list(desk.folder.iterdir()) == []
        assert await window.prompt("and now?") == DONE
        check_all(window.seen)
        check_messages(messages(window.session))


async def test_a_refused_turn_leaves_no_trace_in_the_history(tmp_path: Path) -> None:
    script = [
        say("hello"),
        act({"text": "I will not."}, finish="refusal"),
        act({"text": "sure"}, when={"user": "nice"}),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("hi")
        assert await window.prompt("something bad") == TurnEnded("refusal")
        assert await window.prompt("nice") == DONE
        said = [item.content for item in messages(window.session) if isinstance(item, UserMessage)]
        assert said == [(TextBlock("hi"),), (TextBlock("nice"),)]
        assert window.texts == ["hello", "I will not.", "sure"]


async def test_the_plan_reaches_the_windows(tmp_path: Path) -> None:
    entries = [{"content": "look", "status": "completed"}, {"content": "fix", "priority": "high"}]
    async with serving(tmp_path, [act(call("plan", entries=entries)), say("ok")]) as desk:
        window = await desk.new()
        await window.prompt("plan")
        assert window.of(PlanUpdated) == [
            PlanUpdated((PlanEntry("look", "completed"), PlanEntry("fix", "pending", "high")))
        ]


async def test_usage_is_told_after_every_answer_and_costs_add_up_over_restarts(tmp_path: Path) -> None:
    script = [
        act(LOOK, {"usage": {"input": 100, "output": 20, "cost": 0.25}}),
        act({"text": "x"}, {"usage": {"input": 150, "output": 30, "cost": 0.5}}),
        act({"text": "y" * 40}),
        act({"text": "z"}, {"usage": {"input": 10, "output": 2, "cost": 0.125}}),
    ]
    async with serving(tmp_path, [{"context_window": 1000}, *script]) as desk:
        window = await desk.new()
        await window.prompt("one")
        await window.prompt("two")
    async with serving(tmp_path, [{"context_window": 1000}, *script]) as desk:
        window = await desk.open(window.session.session_id)
        await window.prompt("three")
        assert window.of(UsageUpdated) == [
            UsageUpdated(120, 1000, 0.25),
            UsageUpdated(180, 1000, 0.75),
            UsageUpdated(190, 1000, 0.75),
            UsageUpdated(12, 1000, 0.875),
        ]
