"""Who has a database open, and how the last one left it: a lock file beside the database.

Whoever opens the database holds the lock in common with the others, to the end of his process. The
first one, who is alone for a moment, may examine and repair the file, because nobody else reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeAlias, cast

from hermes_acp.storage import locks
from hermes_acp.storage.errors import StorageError

OPENING_WAIT = 30.0
"""Seconds to wait for another process that examines or repairs the database."""

Left: TypeAlias = Literal["", "open", "clean", "damaged"]
"""Unknown or never opened; opened and not closed since; closed in order; found to be damaged."""


class Users:
    """One user of a database. All methods block, and raise `StorageError` where they say so."""

    def __init__(self, path: Path) -> None:
        """Come to the database. Raises `StorageError`."""
        self._path = path.with_name(f"{path.name}.users")
        self._lock = locks.open_lock(self._path)
        try:
            self.alone = locks.lock(self._lock, self._path)
            if not self.alone:
                self.stay()
        except BaseException:
            os.close(self._lock)
            raise
        self.left: Left = self.now()

    def now(self) -> Left:
        """What is noted about the state of the database."""
        noted = locks.noted(self._lock)
        return cast("Left", noted) if noted in ("open", "clean", "damaged") else ""

    def stay(self) -> None:
        """Let others in as well. Raises `StorageError`."""
        if not locks.wait(self._lock, self._path, OPENING_WAIT, shared=True):
            raise StorageError(
                f"Another process has been repairing {self._path.with_suffix('')} for "
                f"{OPENING_WAIT:.0f} seconds. Wait for its end, then try again."
            )
        self.alone = False

    def mark(self, left: Left, *, durable: bool = False) -> None:
        """Note the state of the database for whoever comes next."""
        locks.note(self._lock, left, durable=durable)

    def is_last(self) -> bool:
        """Whether nobody else is left; if so, nobody comes in before `close`. Raises `StorageError`."""
        if locks.lock(self._lock, self._path):
            return True
        # An attempt that fails costs the lock that we had.
        self.stay()
        return False

    def close(self) -> None:
        """Leave."""
        os.close(self._lock)
