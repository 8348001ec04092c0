"""Reads ordinary files that decide something, and waits for nothing; call it in a thread."""

from __future__ import annotations

import os
import stat


def read(path: str, limit: int) -> bytes | None:
    """The contents; None for what is missing, no ordinary file, or has more than `limit` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content if len(content) <= limit else None
