"""Our own tools: `@tool` turns a parameter class and an async function into a `Tool`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from hermes_acp.events import ToolKind
from hermes_acp.llm.base import ToolSpec
from hermes_acp.tools.base import (
    Call,
    Description,
    Run,
    ToolContext,
    ToolError,
    ToolResult,
)

P = TypeVar("P", bound=BaseModel)
Describe = Callable[[P, str], Description]


@dataclass(frozen=True, slots=True)
class TypedCall(Generic[P]):
    """Validated parameters on their way to the function."""

    tool: TypedTool[P]
    params: P

    def describe(self, cwd: str) -> Description:
        """The title and places of this call."""
        return self.tool.describe(self.params, cwd)

    async def run(self, context: ToolContext) -> ToolResult:
        """Run the function."""
        return await self.tool.run(self.params, context)


@dataclass(frozen=True, slots=True)
class TypedTool(Generic[P]):
    """A tool whose parameters are a pydantic class."""

    params: type[P]
    spec: ToolSpec
    kind: ToolKind
    parallel: bool
    describe: Describe[P]
    run: Run[P]

    def accept(self, arguments: dict[str, object]) -> Call:
        """Validate; every problem is named with its place."""
        try:
            return TypedCall(self, self.params.model_validate(arguments))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
                for item in error.errors(include_url=False)
            )
            raise ToolError(f"Wrong arguments for {self.spec.name}: {problems}") from error


def tool(
    params: type[P], *, kind: ToolKind, describe: Describe[P], parallel: bool = False
) -> Callable[[Run[P]], TypedTool[P]]:
    """Make a tool of an async function; its docstring is the description the model reads."""

    def wrap(run: Run[P]) -> TypedTool[P]:
        name = cast("Any", run).__name__
        description = " ".join((run.__doc__ or "").split())
        spec = ToolSpec(name, description, lean_schema(params))
        return TypedTool(params, spec, kind, parallel, describe, run)

    return wrap


@functools.cache
def lean_schema(params: type[BaseModel]) -> dict[str, object]:
    """The JSON schema without what costs tokens and says nothing (titles, null defaults, docstrings).

    Made once for each class: every session has tools of its own with the same parameters.
    """
    schema = params.model_json_schema()
    return cast("dict[str, object]", _lean(schema))


def _lean(node: object) -> object:
    if isinstance(node, list):
        return [_lean(item) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    source = cast("dict[str, object]", node)
    kept = {
        key: {name: _lean(value) for name, value in cast("dict[str, object]", value).items()}
        if key in ("properties", "$defs")
        else _lean(value)
        for key, value in source.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
        and not (key == "description" and "properties" in source)
    }
    options = kept.get("anyOf")
    if isinstance(options, list):
        real = [item for item in cast("list[object]", options) if item != {"type": "null"}]
        if len(real) == 1:
            del kept["anyOf"]
            kept |= cast("dict[str, object]", real[0])
    return kept
