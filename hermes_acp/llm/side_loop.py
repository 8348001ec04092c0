"""An event loop in a thread of its own, for libraries that block theirs.

The library's streams are read there and handed over, so that a stall in it holds up nobody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_AHEAD = 256
"""How many items a stream may be ahead of its reader; then it waits."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


class SideLoop:
    """A running loop; its thread ends with the process."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    async def stream(self, make: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """What the generator made by `make` yields in the side loop, and the error it raises.

        Closing this generator, or cancelling its reader, cancels that one without waiting for it.
        """
        here = asyncio.get_running_loop()
        arrived: asyncio.Queue[_Item[T] | _End] = asyncio.Queue()
        room = asyncio.Semaphore(MAX_AHEAD)

        def deliver(item: _Item[T] | _End) -> None:
            here.call_soon_threadsafe(arrived.put_nowait, item)

        pumping = asyncio.run_coroutine_threadsafe(_pump(make, room, deliver), self._loop)
        try:
            while isinstance(item := await arrived.get(), _Item):
                self._loop.call_soon_threadsafe(room.release)
                yield item.value
            if item.error is not None:
                raise item.error
        finally:
            pumping.cancel()


async def _pump(
    make: Callable[[], AsyncGenerator[T, None]],
    room: asyncio.Semaphore,
    deliver: Callable[[_Item[T] | _End], None],
) -> None:
    error: Exception | None = None
    try:
        async with aclosing(make()) as items:
            async for item in items:
                await room.acquire()
                deliver(_Item(item))
    except Exception as caught:  # noqa: BLE001 (raised again in the reader's thread)
        error = caught
    deliver(_End(error))
