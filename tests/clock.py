"""Time that passes only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is moved on."""

    now = 0.0

    def time(self) -> float:
        return self.now

    async def pass_by(self, seconds: float) -> None:
        """Let what was just begun run into its waits, move on, and let what is due then happen."""
        await _breathe()
        self.now += seconds
        await _breathe()


async def _breathe() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def on_a_clock(test: Callable[[Clock], Awaitable[None]]) -> None:
    """Run a test on such a loop."""
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: clock) as runner:

        async def run() -> None:
            await test(clock)

        runner.run(run())
