"""Ids of facts and of changes: ULIDs, which sort by the time of their making."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32."""
LENGTH = 26
TIME_BITS = 48
CHANCE_BITS = 80

ID = re.compile(f"[0-7][{DIGITS}]{{{LENGTH - 1}}}")


def new(at: float) -> str:
    """An id made at a time (seconds since the epoch)."""
    return next(rising(at))


def rising(at: float) -> Iterator[str]:
    """Ids made at one time, each greater than the one before."""
    # Room for more ids than anybody asks for, so that counting never reaches the time.
    number = int(at * 1000) % (1 << TIME_BITS) << CHANCE_BITS | secrets.randbits(CHANCE_BITS - 1)
    while True:
        yield _spelled(number)
        number += 1 + secrets.randbelow(1 << 24)


def _spelled(number: int) -> str:
    return "".join(DIGITS[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
