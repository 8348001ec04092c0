"""Whether the time for a text grows with its length, and not with the pairs of its places."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 0.5
"""Far more than 65 kB take, and far less than a pattern that runs away."""
GROWTH = 8
"""Four times the text may take so many times as long; in pairs it would be sixteen."""


def is_bounded(work: Callable[[str], object], text: str) -> bool:
    """Whether this text takes little; on a slow machine, little more than a quarter of it."""

    def cost(part: str) -> float:
        started = time.thread_time()
        work(part)
        return time.thread_time() - started

    return cost(text) < SECONDS or cost(text) < GROWTH * cost(text[: len(text) // 4])
