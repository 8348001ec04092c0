"""The tool with which the agent shows its plan."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hermes_acp.events import PlanEntry
from hermes_acp.tools.base import Description, Params, ToolContext, ToolResult
from hermes_acp.tools.typed import tool

MAX_ENTRIES = 50
"""Steps of a plan; more is not a plan that anybody reads."""

MAX_CHARACTERS = 500
"""Length of one step."""


class Entry(BaseModel):
    """One step."""

    model_config = ConfigDict(extra="forbid")

    content: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    status: Literal["pending", "in_progress", "completed"] = "pending"
    priority: Literal["high", "medium", "low"] = "medium"


class Plan(Params):
    """All steps, in order."""

    entries: list[Entry] = Field(max_length=MAX_ENTRIES)


def _describe(params: Plan, _cwd: str) -> Description:
    current = next((entry.content for entry in params.entries if entry.status == "in_progress"), "")
    return Description(f"Plan: {current}" if current else "Plan")


@tool(Plan, kind="think", describe=_describe)
async def plan(params: Plan, context: ToolContext) -> ToolResult:
    """Show the user your plan for work of several steps. Send all entries each time; keep one in
    progress."""
    context.set_plan(
        tuple(PlanEntry(entry.content, entry.status, entry.priority) for entry in params.entries)
    )
    done = sum(entry.status == "completed" for entry in params.entries)
    return ToolResult(f"The plan is shown: {done} of {len(params.entries)} entries completed.")


TOOLS = (plan,)
