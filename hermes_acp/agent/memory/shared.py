"""The facts of a server: opened once, at the first need, and written to their history in the background.

What they stand on is loaded late, because no answer that opens a session should wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from hermes_acp.agent.memory.remembering import Publish
from hermes_acp.agent.origins import Origin
from hermes_acp.config import Paths
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal

if TYPE_CHECKING:
    from hermes_acp.agent.memory.notebook import Notebook
    from hermes_acp.agent.memory.outside import Outside
    from hermes_acp.memory.facts.store import Facts
    from hermes_acp.memory.providers.opening import Services


RETRY_SECONDS = 60.0
"""How long nothing is written after a bug."""

logger = logging.getLogger(__name__)


class SharedMemory:
    """The facts that the sessions of a server share; `env` is the environment for their own git."""

    def __init__(self, paths: Paths, database: Database, env: Mapping[str, str]) -> None:
        self._paths = paths
        self._database = database
        self._env = env
        self._facts: Facts | None = None
        self._services: Services | None = None
        self._opened = asyncio.Event()

    async def notebook(self, origin: Origin, session_id: str, publish: Publish) -> Notebook:
        """The memory of a session that a window opened."""
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.memory.notebook")
        grounds = await asyncio.to_thread(import_module, "hermes_acp.agent.memory.grounds")
        if self._facts is None:
            self._facts = cast("Facts", grounds.open_facts(self._paths, self._database, self._env))
            self._opened.set()
        book = cast(
            "Notebook",
            module.Notebook(
                session_id,
                Journal(self._database),
                grounds.Grounds(self._facts, self._paths, origin.env),
                publish,
                module.Thinking(origin.models, origin.settings.memory_model),
            ),
        )
        if origin.settings.memory_services:
            book.outside = await self._outside(book, origin)
        return book

    async def _outside(self, book: Notebook, origin: Origin) -> Outside:
        """The memory services of the user. Most have none, and what serves them is read for nobody else."""
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.memory.outside")
        opening = await asyncio.to_thread(import_module, "hermes_acp.memory.providers.opening")
        if self._services is None:
            self._services = cast("Services", opening.Services())
        services = await self._services.of(origin.settings)
        return cast("Outside", module.opened(book, services, origin.secrets))

    async def run(self) -> None:
        """Write what is learned into its history, until cancelled."""
        await self._opened.wait()
        assert self._facts is not None
        while True:
            try:
                await self._facts.keep()
            except Exception:  # boundary: no server may end because of what is remembered
                logger.exception("what was learned is safe, but could not be written to its history")
            await asyncio.sleep(RETRY_SECONDS)

    async def aclose(self) -> None:
        """Give back what is open; what is not in the history yet is written at the next start."""
        if self._services is not None:
            await self._services.aclose()
        if self._facts is not None:
            self._facts.close()
