"""Lines of JSON between two of our own processes: bytes in, whole lines out; no I/O."""

from __future__ import annotations

MAX_LINE_BYTES = 256 * 1024 * 1024
"""The longest line either side takes: a request carries a whole conversation with its images."""

MAX_AHEAD = 256
"""How many chunks of an answer may be on their way before its reader asks for more."""


class LineTooLong(Exception):
    """A line grew over the bound."""


class Lines:
    """Collects bytes, however they are cut, and gives the lines that they complete."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> list[bytes]:
        """The lines that end within `received`, without their ends. Raises `LineTooLong`."""
        first, *rest = received.split(b"\n")
        # The unfinished line is kept in pieces: joining it on every read would be quadratic.
        self._pieces.append(first)
        self._size += len(first)
        if self._size > self._max:
            raise LineTooLong
        if not rest:
            return []
        whole = [b"".join(self._pieces), *rest[:-1]]
        self._pieces, self._size = [rest[-1]], len(rest[-1])
        return whole
