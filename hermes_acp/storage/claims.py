"""Which process holds which session open: an advisory lock for each, gone when the process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from hermes_acp.storage.database import StorageError


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
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._folder / session_id, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{self._folder} cannot be used: {error}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise SessionInUse(
                f"This session is open in another window (process {owner}). "
                "Close it there, then open it here."
            ) from None
        except OSError as error:
            os.close(handle)
            raise StorageError(f"{self._folder} cannot hold locks: {error}.") from error
        # The owner's number only makes the message above nicer: a full disk must not stop anybody.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._held[session_id] = handle

    def release(self, session_id: str) -> None:
        """Give the session back. The file stays: removing it would let two processes hold two files."""
        handle = self._held.pop(session_id, None)
        if handle is not None:
            os.close(handle)
