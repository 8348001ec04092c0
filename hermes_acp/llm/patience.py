"""Waits for the pieces of a body, each time for so long at most, with one timer for them all."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol


class Body(Protocol):
    """What arrives of an answer (`aiohttp.StreamReader`)."""

    async def readany(self) -> bytes:
        """What has arrived, at least a byte; empty at the end."""
        ...

    def set_exception(self, exc: BaseException) -> None:
        """Let who reads now, and all who read later, fail."""
        ...


class Patience:
    """One body, read by one task; `close` it in the end.

    A timer that is made and dropped for each piece would cost more than all else that is done with it.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._until = math.inf
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, seconds: float) -> bytes:
        """The next bytes, empty at the end. Raises `TimeoutError`, for good, and what the body raises."""
        self._until = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._until:
            self._look_at(self._until)
        try:
            return await self._body.readany()
        finally:
            self._until = math.inf

    def close(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_at(self, when: float) -> None:
        self.close()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._until:
            self._body.set_exception(TimeoutError())
        elif self._until != math.inf:
            self._look_at(self._until)
