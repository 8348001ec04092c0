"""The named pipe through which one shell reports its end: nothing of it is ever on a disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

REPORT_BYTES = 1024 * 1024
"""Longest report that is kept; more than that is no shell that anybody works in."""

READ_BYTES = 64 * 1024


class ReportPipe:
    """Made and removed in a worker thread, read on the loop."""

    def __init__(self, path: str) -> None:
        """Make the pipe at `path`; blocks. Raises OSError."""
        self.path = path
        os.mkfifo(path, 0o600)
        # Open both ways: a pipe without a writer would look as if it had ended.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = bytearray()

    def listen(self) -> None:
        """Take what comes, so that a long report finds room."""
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    def finish(self) -> None:
        """Take the rest, once the shell has ended, and close the pipe."""
        while self._read():
            pass
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)

    @property
    def text(self) -> bytes:
        """What was written; empty when that was too much."""
        return bytes(self._text) if len(self._text) <= REPORT_BYTES else b""

    def discard(self) -> None:
        """Close and remove it unread; blocks."""
        os.close(self._pipe)
        self.remove()

    def remove(self) -> None:
        """Remove the file, which nobody opens again; blocks."""
        Path(self.path).unlink(missing_ok=True)

    def _read(self) -> bool:
        try:
            data = os.read(self._pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if len(self._text) <= REPORT_BYTES:
            self._text += data
        return True
