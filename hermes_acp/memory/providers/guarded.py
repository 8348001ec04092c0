"""A memory service under guard: it never takes longer than it may, and rests after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hermes_acp.memory.providers.base import Provider, ProviderError, ProviderTool, SaidTurn

OPEN_SECONDS = 10.0
"""How long the client of a service may take to load."""
LOADING_SECONDS = 1.0
"""How long a prompt waits for a client that is just being loaded."""
PREFETCH_SECONDS = 1.5
"""How long a prompt waits for what a service knows."""
ASK_SECONDS = 20.0
"""How long the model waits for an answer that it asked for."""
SYNC_SECONDS = 20.0
"""How long a turn may take to be handed over, behind its end."""
END_SECONDS = 1.0
"""How long the end of a session waits for a service."""
REST_SECONDS = 60.0
"""How long a service that failed is left alone, but for what the model asks."""
PASSAGES = 8
PASSAGES_CHARS = 600 * 4
"""Passages of one answer, and characters of all: some 600 tokens."""
QUERY_CHARS = 2_000
"""Of a longer question the beginning counts."""
TURN_CHARS = 20_000
"""Of what each side said in a turn the beginning is handed over."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Guarded:
    """One service. Methods raise `ProviderError`, and nothing else."""

    def __init__(
        self, name: str, host: str, tools: tuple[ProviderTool, ...], make: Callable[[], Awaitable[Provider]]
    ) -> None:
        self.name = name
        self.host = host
        """Where it is, as rules about the network name it."""
        self.tools = tools
        """What the model can ask."""
        self._make = make
        self._provider: Provider | None = None
        self._opening = asyncio.Lock()
        self._rests_until = float("-inf")
        self._trouble = ""

    async def prefetch(self, bank: str, query: str) -> tuple[str, ...]:
        """The passages that fit a prompt; none where the client is not loaded yet."""
        self._awake()
        if (provider := await self._loaded()) is None:
            return ()
        return _bounded(await self._within(PREFETCH_SECONDS, provider.prefetch(bank, query[:QUERY_CHARS])))

    async def warm(self) -> None:
        """Load the client, behind whatever else is done."""
        await self._open()

    async def sync_turn(self, bank: str, turn: SaidTurn) -> None:
        """Hand a turn over."""
        self._awake()
        provider = await self._open()
        short = SaidTurn(turn.session, turn.turn, turn.at, turn.user[:TURN_CHARS], turn.agent[:TURN_CHARS])
        await self._within(SYNC_SECONDS, provider.sync_turn(bank, short))

    async def on_session_end(self, bank: str, session: str) -> None:
        """Say that a session ended, to a service that was spoken with."""
        if self._provider is not None:
            self._awake()
            await self._within(END_SECONDS, self._provider.on_session_end(bank, session))

    async def ask(self, tool: str, bank: str, query: str) -> tuple[str, ...]:
        """The answer to a question of the model's."""
        provider = await self._open()
        return _bounded(await self._within(ASK_SECONDS, provider.ask(tool, bank, query[:QUERY_CHARS])))

    async def aclose(self) -> None:
        """Give back what is open."""
        provider, self._provider = self._provider, None
        if provider is not None:
            await self._within(END_SECONDS, provider.aclose())

    def _awake(self) -> None:
        if asyncio.get_running_loop().time() < self._rests_until:
            raise ProviderError(self._trouble)

    async def _loaded(self) -> Provider | None:
        """The adapter, if it is there or will be soon."""
        if self._provider is None and self._opening.locked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOADING_SECONDS), self._opening:
                    pass
        return self._provider

    async def _open(self) -> Provider:
        async with self._opening:
            if self._provider is None:
                self._provider = await self._within(OPEN_SECONDS, self._make())
            return self._provider

    async def _within(self, seconds: float, asked: Awaitable[T]) -> T:
        """The answer, in time."""
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except TimeoutError as error:
            raise self._failed(ProviderError(f"it did not answer within {seconds:g} s")) from error
        except ProviderError as error:
            raise self._failed(error) from None
        except Exception as error:  # boundary: libraries of services raise what they like
            logger.info("the memory service %s failed", self.name, exc_info=True)
            raise self._failed(ProviderError(f"{type(error).__name__}: {error}")) from error

    def _failed(self, error: ProviderError) -> ProviderError:
        self._rests_until = asyncio.get_running_loop().time() + REST_SECONDS
        self._trouble = str(error)
        return error


def _bounded(passages: Sequence[str]) -> tuple[str, ...]:
    """The first passages that there is room for, each once; the last one may be cut."""
    room, kept = PASSAGES_CHARS, list[str]()
    for text in filter(None, dict.fromkeys(passage.strip() for passage in passages[:PASSAGES])):
        if room <= 0:
            break
        kept.append(text if len(text) <= room else f"{text[: room - 1]}…")
        room -= len(text)
    return tuple(kept)
