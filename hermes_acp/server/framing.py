"""Bytes in, frames out: no I/O here, so every rule can be tested with byte strings.

Ground rules: the first byte that is not white space (after a byte order mark) decides the protocol;
a frame that is too long is dropped as it arrives, so memory stays bounded, and reported once.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.records import record

BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n"
HEADER_LIMIT = 4096
"""Bytes of the header block of an LSP frame."""

Protocol: TypeAlias = Literal["acp", "lsp"]


@record
class Oversize:
    """A frame longer than the limit was dropped."""

    limit: int


@record
class BadHeader:
    """An LSP header block that has no usable `Content-Length`; the stream cannot be read further."""

    header: bytes


Frame: TypeAlias = bytes | Oversize | BadHeader


def sniff(data: bytes) -> Protocol | None:
    """The protocol that a stream beginning with `data` speaks; None while that is still open.

    LSP begins with a header (`Content-Length` or `Content-Type`); everything else is read as ACP,
    whose parser answers nonsense with an error.
    """
    if BOM.startswith(data):
        return None
    start = data.removeprefix(BOM).lstrip(BLANK)
    if not start:
        return None
    return "lsp" if start[:1] in (b"C", b"c") else "acp"


class LineFramer:
    """Newline-delimited frames (ACP). Blank lines and a byte order mark at the start are skipped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._dropping = False
        self._fresh = True

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        frames: list[Frame] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._keep(line, frames)
            self._finish(frames)
        self._keep(rest, frames)
        return frames

    def close(self) -> list[Frame]:
        """What an unterminated last line holds."""
        frames: list[Frame] = []
        self._finish(frames)
        return frames

    def _keep(self, part: bytes, frames: list[Frame]) -> None:
        if self._dropping or not part:
            return
        self._size += len(part)
        if self._size > self._limit:
            self._dropping = True
            self._parts.clear()
            frames.append(Oversize(self._limit))
        else:
            self._parts.append(part)

    def _finish(self, frames: list[Frame]) -> None:
        line = b"".join(self._parts)
        dropped, self._dropping = self._dropping, False
        self._parts.clear()
        self._size = 0
        if dropped:
            return
        if self._fresh and line.startswith(BOM):
            self._fresh = False
            line = line.removeprefix(BOM)
        line = line.strip(BLANK)
        if line:
            self._fresh = False
            frames.append(line)


class HeaderFramer:
    """`Content-Length` frames (LSP)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._length: int | None = None
        self._skip = 0
        self._broken = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order; nothing more after a `BadHeader`."""
        frames: list[Frame] = []
        if not self._broken:
            self._buffer += data
            while self._advance(frames):
                pass
        return frames

    def close(self) -> list[Frame]:
        """An unfinished frame at the end is dropped."""
        return []

    def _advance(self, frames: list[Frame]) -> bool:
        if self._skip:
            dropped = min(self._skip, len(self._buffer))
            del self._buffer[:dropped]
            self._skip -= dropped
            return self._skip == 0 and bool(self._buffer)
        if self._length is None:
            return self._read_header(frames)
        if len(self._buffer) < self._length:
            return False
        frames.append(bytes(self._buffer[: self._length]))
        del self._buffer[: self._length]
        self._length = None
        return True

    def _read_header(self, frames: list[Frame]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEADER_LIMIT:
                self._break(frames, bytes(self._buffer[:HEADER_LIMIT]))
            return False
        header = bytes(self._buffer[:end]).removeprefix(BOM).lstrip(BLANK)
        del self._buffer[: end + 4]
        length = _content_length(header)
        if length is None:
            self._break(frames, header)
            return False
        if length > self._limit:
            self._skip = length
            frames.append(Oversize(self._limit))
        else:
            self._length = length
        return True

    def _break(self, frames: list[Frame], header: bytes) -> None:
        self._broken = True
        self._buffer.clear()
        frames.append(BadHeader(header))


def _content_length(header: bytes) -> int | None:
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
