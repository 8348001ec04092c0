"""Bytes to text and back without losing the encoding, its byte order mark or the line ends."""

from __future__ import annotations

import codecs

from hermes_acp.records import record

_MARKED = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARKS = {encoding: mark for mark, encoding in _MARKED}


class NotText(Exception):
    """The bytes are not text; `str()` says what they are instead."""


@record
class Text:
    """Text with `\\n` line ends, and what is needed to write it as it was."""

    text: str
    newline: str = "\n"
    encoding: str = "utf-8"


def decode(data: bytes) -> Text:
    """Decode UTF-8, with or without mark, or UTF-16 with its mark. Raises `NotText`."""
    mark, encoding = next((pair for pair in _MARKED if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        raw = data[len(mark) :].decode("utf-8" if encoding == "utf-8-sig" else encoding)
    except UnicodeDecodeError as error:
        kind = "binary" if b"\0" in data else "not UTF-8 text"
        raise NotText(kind) from error
    if "\0" in raw:
        raise NotText("binary")
    text, newline = split_newline(raw)
    return Text(text, newline, encoding)


def encode(content: Text) -> bytes:
    """The bytes of a file. Raises `NotText` for text that could not be read back."""
    if (position := content.text.find("\0")) >= 0:
        raise NotText(f"a NUL character at position {position}")
    raw = join_newline(content.text, content.newline)
    codec = "utf-8" if content.encoding == "utf-8-sig" else content.encoding
    try:
        return _MARKS.get(content.encoding, b"") + raw.encode(codec)
    except UnicodeEncodeError as error:
        raise NotText(f"half a character (a lone surrogate) at position {error.start}") from error


def split_newline(raw: str) -> tuple[str, str]:
    """Text with `\\n` line ends and the line end it had.

    Only uniform `\\r\\n` or `\\r` is normalised. A file that mixes them keeps every line end as
    part of its text, so that lines nobody touches are written back exactly as they were.
    """
    returns = raw.count("\r")
    if not returns:
        return raw, "\n"
    feeds, pairs = raw.count("\n"), raw.count("\r\n")
    if pairs == feeds == returns:
        return raw.replace("\r\n", "\n"), "\r\n"
    if not feeds:
        return raw.replace("\r", "\n"), "\r"
    return raw, "\n"


def join_newline(text: str, newline: str) -> str:
    """The opposite of `split_newline`; `\\r\\n` in new text becomes the file's line end too."""
    return text if newline == "\n" else text.replace("\r\n", "\n").replace("\n", newline)
