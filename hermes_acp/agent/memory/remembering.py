"""The memory of a session as its turns use it: opened at the first need, and never a reason to fail.

What it stands on is loaded late, because no answer that opens a session should wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, cast

from hermes_acp.agent.hub import News
from hermes_acp.agent.turn import Turn
from hermes_acp.content import Block
from hermes_acp.events import Event
from hermes_acp.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from hermes_acp.agent.approvals import Approvals
    from hermes_acp.agent.memory.notebook import Notebook
    from hermes_acp.agent.memory.outside import Outside

PAGE_SECONDS = 10.0
"""How long the first request to a model waits for what is known; then it goes without."""
OFFER_SECONDS = 2.0
"""How long a prompt waits for the facts that fit it."""
CLOSING_SECONDS = 2.0
"""How long a session that ends waits for what its last turns have taught."""
PENDING = 4
"""Turns that may wait to be thought about; beyond them one is passed over."""
TELLING = 32
"""Turns that may wait to be told to memory services; beyond them one is not told."""

NOT_FOLLOWED = (
    "What was learned in these turns could not be changed now (the log says why): it is tried again later; "
    "`/memory` shows what is known."
)

Publish: TypeAlias = Callable[[Event], None]
Flush: TypeAlias = Callable[[], Awaitable[None]]
Spawn: TypeAlias = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
Opening: TypeAlias = Callable[[Publish], Awaitable["Notebook"]]

logger = logging.getLogger(__name__)


class Remembering:
    """The memory of one session; `publish` tells its windows."""

    def __init__(self, opening: Opening, publish: Publish, spawn: Spawn) -> None:
        self._opening = opening
        self._publish = publish
        self._spawn = spawn
        self._notebook: Notebook | None = None
        self._reflection: ModuleType | None = None
        self._alone = asyncio.Lock()
        self._thinking: dict[asyncio.Task[None], range] = {}
        self._in_turn = asyncio.Lock()
        self._telling: set[asyncio.Task[None]] = set()

    async def notebook(self) -> Notebook:
        """What the session knows and learns. Raises `StorageError`."""
        if self._notebook is None:
            opened = await self._opening(self._publish)
            # Somebody else may have been quicker.
            self._notebook = self._notebook or opened
        return self._notebook

    async def outside(self) -> Outside | None:
        """The memory services of the user, where there are some."""
        with _harmless("opened outside"):
            return (await self.notebook()).outside
        return None

    async def page(self, cwd: str) -> str:
        """What the model is told before the conversation; empty when nothing is known, or nobody can tell."""
        with _harmless("read for a new session"):
            async with asyncio.timeout(PAGE_SECONDS):
                book = await self.notebook()
                if book.outside is not None:
                    self._behind(self._warm(book.outside))
                return await book.page(cwd)
        return ""

    async def offer(self, turn: Turn, prompt: tuple[Block, ...]) -> None:
        """Show the model what fits a prompt."""
        with _harmless("asked for what fits a prompt"):
            async with asyncio.timeout(OFFER_SECONDS):
                book = await self.notebook()
                await book.offer(turn.place.cwd, prompt)
            if book.outside is not None:
                await book.outside.offer(turn, prompt)

    async def command(self, cwd: str, rest: str, approvals: Approvals, flush: Flush) -> str:
        """Do what `/memory` says: what was done, or why it was not. Raises `StorageError`."""
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.memory.commands")
        desk = module.Desk(await self.notebook(), cwd, approvals, flush)
        return cast("str", await module.run(desk, rest))

    async def follow(self, cwd: str) -> str:
        """Have the facts follow turns that were taken back or brought back: what the user should know.

        What is still thought about turns that are taken back has `CLOSING_SECONDS`.
        """
        with _harmless("changed with the turns"):
            module = await asyncio.to_thread(import_module, "hermes_acp.agent.memory.lessons")
            book = await self.notebook()
            if self._thinking:
                gone = cast("frozenset[int]", await module.gone(book))
                # What is thought about these turns would come too late; the other turns stay.
                late = [task for task, events in self._thinking.items() if not gone.isdisjoint(events)]
                await _ended(late, CLOSING_SECONDS)
            return cast("str", await module.settle(book, cwd))
        return NOT_FOLLOWED

    def reflect(self, cwd: str, news: News) -> None:
        """Think about what came since the last time, behind the turn's end, which never waits for it."""
        if not self._is_idle(news) and len(self._thinking) < PENDING:
            task = self._spawn(self._reflect(cwd, news))
            self._thinking[task] = range(news.after + 1, news.until + 1)
            task.add_done_callback(self._thinking.pop)
        if self._notebook is not None and self._notebook.outside is not None:
            self._behind(self._sync(self._notebook.outside, cwd, news))

    async def end(self) -> None:
        """Stop thinking, and leave the memory services; they have as long for what they were not told yet."""
        await self.stop()
        if self._notebook is not None and self._notebook.outside is not None:
            await _ended(self._telling, CLOSING_SECONDS)
            with _harmless("told of the end"):
                await self._notebook.outside.end()

    async def stop(self) -> None:
        """Stop thinking, after `CLOSING_SECONDS` at most; what was learned until then is safe."""
        await _ended(self._thinking, CLOSING_SECONDS)

    def _behind(self, work: Coroutine[None, None, None]) -> None:
        """Have something done with the memory services, which nobody waits for."""
        if len(self._telling) >= TELLING:
            work.close()
            logger.warning("%d turns wait for the memory services: one is not told", TELLING)
            return
        task = self._spawn(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _warm(self, outside: Outside) -> None:
        with _harmless("opened outside"):
            await outside.warm()

    async def _sync(self, outside: Outside, cwd: str, news: News) -> None:
        with _harmless("told outside"):
            async with self._in_turn:
                await outside.sync(cwd, news.after, news.until)

    def _is_idle(self, news: News) -> bool:
        if self._notebook is None or self._reflection is None:
            return False
        with _harmless("asked about a turn"):
            return cast("bool", self._reflection.is_idle(self._notebook, news))
        return True

    async def _reflect(self, cwd: str, news: News) -> None:
        with _harmless("written after a turn"):
            async with self._alone:
                if self._reflection is None:
                    name = "hermes_acp.agent.memory.reflection"
                    self._reflection = await asyncio.to_thread(import_module, name)
                await self._reflection.reflect(await self.notebook(), cwd, news)


async def _ended(tasks: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks, which are cancelled once this took too long."""
    if running := set(tasks):
        _, late = await asyncio.wait(running, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.wait(running)


@contextmanager
def _harmless(what: str) -> Generator[None, None, None]:
    """A session goes on without its memory."""
    try:
        yield
    except (StorageError, TimeoutError) as error:
        logger.warning("the memory could not be %s: %s", what, error or "it took too long")
    except Exception:  # boundary: no turn may fail because of what is remembered
        logger.exception("the memory could not be %s", what)
