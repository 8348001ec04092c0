"""A thread with an event loop of its own, for clients that keep the loop waiting on which they are used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TypeVar

CLOSED = "the connection was closed"

T = TypeVar("T")


class Apart:
    """Runs coroutines in its thread, which ends with `aclose`, or with the process."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, work: Coroutine[None, None, T]) -> T:
        """What the work gives or raises; `ConnectionError` once this is closed.

        It is cancelled there when this is cancelled here.
        """
        if self._loop.is_closed():
            work.close()
            raise ConnectionError(CLOSED)
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                raise
            raise ConnectionError(CLOSED) from None

    async def aclose(self) -> None:
        """Cancel what runs there, and end the thread."""
        try:
            await self.run(_cancel_others())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
