"""The lines of standard input, for a loop that must not wait for them."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from threading import Thread

LINE_BYTES = 1024 * 1024
"""A longer line is cut there."""
CHUNK = 64 * 1024
AHEAD = 16
"""Chunks that are read before they are wanted."""


class Lines:
    """The lines of a descriptor.

    A thread reads, because a file cannot be waited for in any other way; it ends with the process,
    and uses no stream whose lock it could keep then.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(AHEAD)
        self._lines: deque[str] = deque()
        self._rest = b""
        self._ended = False
        Thread(target=self._read, daemon=True).start()

    async def next(self) -> str | None:
        """The next line without its end, None at the end of the input; loses nothing when cancelled."""
        while not self._lines and not self._ended:
            self._take(await self._chunks.get())
        return self._lines.popleft() if self._lines else None

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(self._descriptor, CHUNK)
            except OSError:
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(self._chunks.put(data), self._loop).result()
            except (RuntimeError, asyncio.CancelledError):
                # The loop has ended.
                return

    def _take(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(map(_text, whole))
        self._ended = not data
        if self._rest and (self._ended or len(self._rest) > LINE_BYTES):
            self._lines.append(_text(self._rest))
            self._rest = b""


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].decode("utf-8", "replace").removesuffix("\r")
