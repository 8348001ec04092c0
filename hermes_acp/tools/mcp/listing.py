"""Reads what tools a server has, leaving out what no model could use."""

from __future__ import annotations

import json
from typing import cast

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError

from hermes_acp.tools.mcp.config import Problems, RemoteTool
from hermes_acp.tools.mcp.wire import Wire

MAX_PAGES = 20
"""Pages of a tool listing that are read."""

MAX_SCHEMA_CHARS = 32_000
"""JSON text of one tool's input schema; a longer one costs more context than the tool is worth."""

MAX_TOLD = 20
"""Different problems with its listing that one server may have shown."""


class Listing:
    """Lists the tools of one server, as often as they change."""

    def __init__(self, name: str, max_tools: int, problems: Problems) -> None:
        self._name = name
        self._max_tools = max_tools
        self._problems = problems
        self._told: set[str] = set()

    async def read(self, session: ClientSession, wire: Wire) -> tuple[RemoteTool, ...]:
        """Ask for all pages. Raises MCPError and pydantic's ValidationError."""
        found: list[RemoteTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            try:
                page = await session.list_tools(params=params)
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:
                    return ()
                raise
            for problem in wire.dispatcher.broken:
                self.tell(f"Its tool {problem} has a broken definition and is left out.")
            found += [tool for item in page.tools if (tool := self._remote_tool(item))]
            cursor = page.next_cursor
            if not cursor or len(found) > self._max_tools:
                break
        if len(found) > self._max_tools or cursor:
            self.tell(f"It has more than {self._max_tools} tools; only so many are offered.")
        return tuple(found[: self._max_tools])

    def _remote_tool(self, item: types.Tool) -> RemoteTool | None:
        schema = cast("dict[str, object]", item.input_schema)
        if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
            self.tell(f"The schema of its tool {item.name} is too long; the tool is left out.")
            return None
        hints = item.annotations or types.ToolAnnotations()
        return RemoteTool(
            name=item.name,
            title=item.title or hints.title or "",
            description=item.description or "",
            # Some providers refuse an object without the member that says it is empty.
            schema={**schema, "properties": schema.get("properties", {})},
            read_only=hints.read_only_hint is True,
        )

    def tell(self, problem: str) -> None:
        """Show a problem of the listing to the user, once."""
        if problem not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(problem)
            self._problems.add(f"MCP server {self._name}", problem)
