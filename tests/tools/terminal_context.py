"""Surroundings of a tool call: a real execution, and a record of what the call showed and asked."""

import asyncio
import json
from dataclasses import dataclass, field

from hermes_acp.content import Location, Shown
from hermes_acp.events import Field, PlanEntry
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.tools.base import Reply, Tool, ToolResult
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.execution.base import Execution


@dataclass
class RecordingContext:
    """Permits everything (or nothing) and answers questions with `reply`."""

    cwd: str
    execution: Execution
    refusal: str = ""
    reply: Reply = field(default_factory=lambda: Reply("unanswered", {}))
    call_id: str = "call-1"
    news: asyncio.Event = field(default_factory=asyncio.Event)
    effects: list[Effect] = field(default_factory=list)
    asked: list[tuple[Shown, ...]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shown: list[tuple[Shown, ...]] = field(default_factory=list)
    plans: list[tuple[PlanEntry, ...]] = field(default_factory=list)
    questions: list[tuple[str, tuple[Field, ...]]] = field(default_factory=list)

    @property
    def roots(self) -> tuple[str, ...]:
        return (self.cwd,)

    @property
    def documents(self) -> Documents:
        return Documents(self.roots)

    async def permit(
        self, effect: Effect, shown: tuple[Shown, ...] = (), locations: tuple[Location, ...] = ()
    ) -> Permit:
        self.effects.append(effect)
        self.asked.append(shown)
        if self.refusal:
            raise Refused(self.refusal)
        return Permit(effect)

    def progress(self, output: str = "", shown: tuple[Shown, ...] | None = None) -> None:
        self.outputs.append(output)
        if shown is not None:
            self.shown.append(shown)
        self.news.set()

    def set_plan(self, entries: tuple[PlanEntry, ...]) -> None:
        self.plans.append(entries)

    async def ask(self, message: str, fields: tuple[Field, ...]) -> Reply:
        self.questions.append((message, fields))
        return self.reply


async def call(tool: Tool, context: RecordingContext, **arguments: object) -> ToolResult:
    """Call a tool as the loop does: with arguments that went through JSON."""
    return await tool.accept(json.loads(json.dumps(arguments))).run(context)
