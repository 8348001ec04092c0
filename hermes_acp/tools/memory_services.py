"""What the model can ask the memory services of the user: a tool for each question that a service answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from hermes_acp.llm.base import ToolSpec
from hermes_acp.memory.providers.base import ProviderError, ProviderTool
from hermes_acp.memory.providers.guarded import QUERY_CHARS, Guarded
from hermes_acp.policy.effects import Effect
from hermes_acp.storage.errors import StorageError
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import TypedTool, lean_schema

NOTHING = "The memory service has nothing on this."
FAILED = "The memory service {name} gave no answer: {error}. Go on without it."


class Outside(Protocol):
    """The memory services of one session."""

    @property
    def services(self) -> Sequence[Guarded]:
        """All of them, by their names."""
        ...

    async def ask(self, service: str, tool: str, cwd: str, query: str) -> Sequence[str]:
        """The passages that answer a question. Raises `ProviderError` and `StorageError`."""
        ...


class Query(Params):
    """What to look for."""

    query: str = Field(min_length=1, max_length=QUERY_CHARS)


def service_tools(outside: Outside) -> tuple[Tool, ...]:
    """The tools of the services of one session."""
    return tuple(_tool(outside, service, tool) for service in outside.services for tool in service.tools)


def _tool(outside: Outside, service: Guarded, tool: ProviderTool) -> Tool:
    async def run(params: Query, context: ToolContext) -> ToolResult:
        summary = f"Ask the memory service {service.name} at {service.host}"
        await context.permit(Effect("fetch", summary, host=service.host))
        try:
            passages = await outside.ask(service.name, tool.name, context.cwd, params.query)
        except (ProviderError, StorageError) as error:
            raise ToolError(FAILED.format(name=service.name, error=error)) from error
        return ToolResult("\n\n".join(passages) or NOTHING)

    def describe(params: Query, _cwd: str) -> Description:
        return Description(f"{service.name}: {' '.join(params.query.split())[:100]}")

    spec = ToolSpec(f"{service.name}_{tool.name}", tool.description, lean_schema(Query))
    return TypedTool(Query, spec, "fetch", False, describe, run)
