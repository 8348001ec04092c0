"""A turn by itself: a real journal below it, and tools and models of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from hermes_acp.agent import prompts
from hermes_acp.agent.approvals import Approvals
from hermes_acp.agent.context import Surroundings
from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.turn import Place, Prepared, Turn
from hermes_acp.events import Notice
from hermes_acp.llm import script
from hermes_acp.llm.base import Model
from hermes_acp.llm.scripted import ScriptedModel
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.tools.base import Tool
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.execution.local import LocalExecution


class Tools:
    """The tools of a session, without any others (`tools.base.SessionTools`)."""

    def __init__(self, *own: Tool) -> None:
        self._own = {item.spec.name: item for item in own}

    async def run(self) -> None:
        """Nothing lives."""

    async def next_problem(self) -> Notice:
        """There are none."""
        await asyncio.Event().wait()
        raise AssertionError

    async def tools(self) -> Sequence[Tool]:
        """All."""
        return tuple(self._own.values())

    def find(self, name: str) -> Tool | None:
        """By name."""
        return self._own.get(name)

    async def aclose(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def turn_with(folder: Path, *tools: Tool, model: Model | None = None) -> AsyncIterator[Turn]:
    """A turn over a real journal, with these tools and nobody who answers."""
    database = await Database.open(folder / "sessions.db")
    table = SessionTable(database)
    cwd = str(folder)
    await table.create(SessionRow("s1", cwd, cwd, cwd, (), None, "ask", "m", "default", 1.0, 1.0))
    hub = Hub("s1", Journal(database), 0, 0.0)
    await asyncio.to_thread(prompts.load)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.run())
        yield Turn(
            turn_id="t1",
            hub=hub,
            conversation=Conversation(),
            model=model or ScriptedModel("none", script.parse('{"parts": []}', "none")),
            effort="default",
            ready=Prepared(Tools(*tools), Surroundings(cwd, (cwd,), "", "")),
            approvals=Approvals("s1", cwd, (cwd,), (), "ask", Rules(database), lambda: False),
            place=Place(cwd, (cwd,), Documents((cwd,)), LocalExecution({})),
            max_steps=1,
        )
        hub.stop()
    await database.close()
