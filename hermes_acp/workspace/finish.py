"""Work that must not stop halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> T:
    """Await something that must not stop halfway: a cancel, or several, is passed on after its end.

    What it raises is raised here, unless there was a cancel.
    """
    running = asyncio.gather(work, return_exceptions=True)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    (result,) = running.result()
    if isinstance(result, BaseException):
        raise result
    return result
