"""Which process holds which session open: an advisory lock for each, gone when the process dies."""

from __future__ import annotations

import os
from pathlib import Path

from hermes_acp.storage import locks
from hermes_acp.storage.errors import StorageError


class SessionInUse(Exception):
    """Another process has the session open; `str()` tells the user what to do."""


class Claims:
    """Claims on sessions, kept until released or until this process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def claim(self, session_id: str) -> None:
        """Take the session for this process. Raises `SessionInUse` and `StorageError`."""
        if session_id in self._held:
            return
        path = self._folder / session_id
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._folder} cannot be used: {error}.") from error
        handle = locks.open_lock(path)
        try:
            if not locks.lock(handle, path):
                owner = locks.noted(handle) or "unknown"
                raise SessionInUse(
                    f"This session is open in another window (process {owner}). "
                    "Close it there, then open it here."
                )
        except BaseException:
            os.close(handle)
            raise
        locks.note(handle, str(os.getpid()))
        self._held[session_id] = handle

    def release(self, session_id: str) -> None:
        """Give the session back. The file stays: removing it would let two processes hold two files."""
        handle = self._held.pop(session_id, None)
        if handle is not None:
            # A child process that is being started holds the descriptor too, until it becomes a program.
            locks.unlock(handle)
            os.close(handle)

    def last_holder(self, session_id: str) -> int | None:
        """The process that took the session last, which may have given it back or be gone."""
        try:
            return int((self._folder / session_id).read_text("utf-8"))
        except (OSError, ValueError):
            return None
