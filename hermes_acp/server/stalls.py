"""Watches the event loop: how long it was away from its windows at most."""

from __future__ import annotations

import asyncio
import logging
import selectors
import time

STALL = 0.05
"""Seconds that the loop may be busy at once; a longer stall is logged."""

logger = logging.getLogger(__name__)


class StallWatch(selectors.DefaultSelector):
    """A selector that measures the time between two looks at the descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        """Seconds of the longest time in which no window was looked at."""
        self._left = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as the parent does."""
        if self._left:
            self._note(time.monotonic() - self._left)
        ready = super().select(timeout)
        self._left = time.monotonic()
        return ready

    def loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop that is watched."""
        return asyncio.SelectorEventLoop(self)

    def _note(self, stall: float) -> None:
        if stall > self.longest:
            self.longest = stall
            if stall > STALL:
                logger.warning("the event loop was busy for %.0f ms", stall * 1000)
