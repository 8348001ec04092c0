"""Server-sent events: bytes in, the data of whole events out; no I/O."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""The longest event we hold; a server that sends a longer one is out of order."""

WHOLE = b"data: "
"""How the one line of most events begins."""


class EventTooLong(Exception):
    """An event grew over `MAX_EVENT_BYTES`."""


class EventDecoder:
    """Collects bytes, however they are cut, and gives the data of each completed event.

    Lines end with LF, CRLF or CR. Only `data` fields count; several in one event are joined by LF.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._line: list[bytes] = []
        self._line_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._ended_with_cr = False

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that end within `received`. Raises `EventTooLong`."""
        if self._is_one_event(received):
            return [received[len(WHOLE) : -2]]
        lines = self._unix_lines(received).split(b"\n")
        # The unfinished line is kept in pieces: joining it on every read would be quadratic.
        if len(lines) > 1:
            self._line.append(lines[0])
            lines[0] = b"".join(self._line)
            self._line, self._line_size = [], 0
        rest = lines.pop()
        self._line.append(rest)
        self._line_size += len(rest)
        events: list[bytes] = []
        for line in lines:
            self._take(line, events)
        if self._line_size + self._data_size > self._max:
            raise EventTooLong
        return events

    def close(self) -> list[bytes]:
        """The data of an event that the end of the stream completes, for servers that omit the blank line."""
        events: list[bytes] = []
        self._take(b"".join(self._line), events)
        self._take(b"", events)
        self._line, self._line_size = [], 0
        return events

    def _is_one_event(self, received: bytes) -> bool:
        """Whether this is one whole event on one line: what a model in no hurry sends at a time."""
        return (
            received.startswith(WHOLE)
            and received.endswith(b"\n\n")
            and received.count(b"\n") == 2
            and b"\r" not in received
            and not (self._line_size or self._data or self._ended_with_cr)
        )

    def _unix_lines(self, received: bytes) -> bytes:
        if self._ended_with_cr and received:
            self._ended_with_cr = False
            received = received.removeprefix(b"\n")
        if b"\r" not in received:
            return received
        self._ended_with_cr = received.endswith(b"\r")
        return received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._data_size += len(value)
        elif not line and self._data:
            events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data = []
            self._data_size = 0
