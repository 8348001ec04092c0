"""The plan as the windows get it."""

import pytest
from terminal_context import RecordingContext, call

from hermes_acp.events import PlanEntry
from hermes_acp.tools.base import Description, ToolError, ToolResult
from hermes_acp.tools.plan import MAX_ENTRIES, plan
from hermes_acp.workspace.execution.local import LocalExecution


@pytest.fixture
def context(tmp_path):
    return RecordingContext(str(tmp_path), LocalExecution({}))


async def test_the_whole_plan_is_shown(context):
    entries = [
        {"content": "read", "status": "completed"},
        {"content": "write", "status": "in_progress", "priority": "high"},
    ]
    result = await call(plan, context, entries=entries)
    assert result == ToolResult("The plan is shown: 1 of 2 entries completed.")
    assert context.plans == [(PlanEntry("read", "completed"), PlanEntry("write", "in_progress", "high"))]


async def test_an_empty_plan_takes_the_plan_away(context):
    await call(plan, context, entries=[])
    assert context.plans == [()]


def test_a_plan_is_announced_by_its_current_step():
    arguments = {"entries": [{"content": "write", "status": "in_progress"}]}
    assert plan.accept(arguments).describe("/") == Description("Plan: write")
    assert plan.accept({"entries": []}).describe("/") == Description("Plan")


@pytest.mark.parametrize(
    "entries",
    [
        [{"content": ""}],
        [{"content": "a", "status": "done"}],
        [{"content": "a"}] * (MAX_ENTRIES + 1),
        "all",
        [None],
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_its_place(entries):
    with pytest.raises(ToolError, match="Wrong arguments for plan: entries"):
        plan.accept({"entries": entries})
