"""Asking a model again when the trouble is likely to pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from hermes_acp.llm.base import Model, Part, Request, Transient
from hermes_acp.records import record

MAX_ATTEMPTS = 5
"""How often a request is sent at most."""

FIRST_DELAY = 0.5
"""Seconds before the second attempt, doubled for each later one."""

MAX_DELAY = 60.0
"""The longest we wait. A provider that asks for more gets no further request: its error is raised."""


@record
class Retrying:
    """Attempt number `attempt` (from 2) follows after `delay` seconds, because of `reason`.

    `discard`: parts of the failed answer were already yielded and do not count.
    """

    attempt: int
    delay: float
    reason: str
    discard: bool


async def stream(
    model: Model,
    request: Request,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> AsyncGenerator[Part | Retrying, None]:
    """The model's answer, asking again after each `Transient` error; other errors pass through.

    Raises the last `Transient` after `MAX_ATTEMPTS`. `jitter` gives numbers in [0, 1). Closing the
    generator or cancelling its reader ends the request at once.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        discard = False
        try:
            async with aclosing(model.stream(request)) as parts:
                async for part in parts:
                    discard = True
                    yield part
            return
        except Transient as error:
            if attempt == MAX_ATTEMPTS or (error.retry_after or 0.0) > MAX_DELAY:
                raise
            delay = _delay(attempt, error.retry_after, jitter())
            reason = str(error)
        yield Retrying(attempt + 1, delay, reason, discard)
        await sleep(delay)


def _delay(attempt: int, retry_after: float | None, chance: float) -> float:
    """The provider's wish, else exponential; spread upwards so that sessions do not return together."""
    base = FIRST_DELAY * 2 ** (attempt - 1) if retry_after is None else retry_after
    return min(MAX_DELAY, base * (1 + chance / 4))
