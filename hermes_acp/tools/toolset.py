"""Puts together the tools of one session: our own, and those of a source such as MCP servers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hermes_acp.events import Notice
from hermes_acp.tools import ask, files, patch, plan, search
from hermes_acp.tools.background import BackgroundProcesses
from hermes_acp.tools.base import Tool, ToolSource
from hermes_acp.tools.git import git_tools
from hermes_acp.tools.memory import Opening, memory_tools
from hermes_acp.tools.recall import History, recall_tools
from hermes_acp.tools.terminal import DEFAULT_TIMEOUT, terminal_tools


class Toolset:
    """What one session can do (`tools.base.SessionTools`); `env` is the environment for git.

    With a `history` it recalls what was said in its project, with a `notebook` it remembers; `more` are
    tools of the user's own services.
    """

    def __init__(
        self,
        source: ToolSource | None = None,
        command_timeout: float = DEFAULT_TIMEOUT,
        env: Mapping[str, str] = MappingProxyType({}),
        history: History | None = None,
        notebook: Opening | None = None,
        more: tuple[Tool, ...] = (),
    ) -> None:
        self._source = source
        self._background = BackgroundProcesses()
        self._own: tuple[Tool, ...] = (
            *files.TOOLS,
            *patch.TOOLS,
            *search.TOOLS,
            *terminal_tools(self._background, command_timeout),
            *git_tools(env),
            *(recall_tools(history) if history is not None else ()),
            *(memory_tools(notebook) if notebook is not None else ()),
            *more,
            *plan.TOOLS,
            *ask.TOOLS,
        )
        self._by_name = {tool.spec.name: tool for tool in self._own}

    async def run(self) -> None:
        """Keep the source alive until cancelled."""
        if self._source is not None:
            await self._source.run()

    async def next_problem(self) -> Notice:
        """Wait for the next problem of the source; without one, for ever."""
        if self._source is None:
            await asyncio.Event().wait()
            raise AssertionError("an event that nobody sets was set")
        return await self._source.next_problem()

    async def tools(self) -> Sequence[Tool]:
        """Our own tools first, then those of the source; a name that is taken is left out."""
        by_name = {tool.spec.name: tool for tool in self._own}
        for tool in await self._source.tools() if self._source is not None else ():
            by_name.setdefault(tool.spec.name, tool)
        self._by_name = by_name
        return tuple(by_name.values())

    def find(self, name: str) -> Tool | None:
        """The tool of that name among those that `tools` gave last."""
        return self._by_name.get(name)

    async def aclose(self) -> None:
        """End the background processes and the source."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._background.aclose())
            if self._source is not None:
                group.create_task(self._source.aclose())
