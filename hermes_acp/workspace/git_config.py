"""Reads the text of a git configuration file as git does, without includes and without running git."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hermes_acp.records import record

_BLANKS = " \t\r\n"
_HEADER = re.compile(r'\[[ \t]*([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\]|\\.)*)")?[ \t]*\]')
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*(=?)[ \t]*")
_ESCAPED = {"n": "\n", "t": "\t", "b": "\b"}


@record
class Entry:
    """One setting; `section` and `name` in lower case, `subsection` as it was written, or empty."""

    section: str
    subsection: str
    name: str
    value: str


def entries(text: str) -> Iterator[Entry]:
    """All settings in their order, of which the last one holds; lines that make no sense are left out."""
    section = subsection = ""
    lines = iter(text.removeprefix("\ufeff").split("\n"))
    for line in lines:
        line = line.strip(_BLANKS)
        if header := _HEADER.match(line):
            section, subsection = header[1].lower(), re.sub(r"\\(.)", r"\1", header[2] or "")
            line = line[header.end() :].lstrip(_BLANKS)
        if name := _NAME.match(line):
            value = _value(line[name.end() :], lines) if name[2] else ""
            yield Entry(section, subsection, name[1].lower(), value)


def _value(line: str, lines: Iterator[str]) -> str:
    """A value without quotes, comment and the blanks at its end."""
    value: list[str] = []
    quoted, kept = False, 0
    for char, escaped in _characters(line, lines):
        if char == '"' and not escaped:
            quoted = not quoted
        elif char in "#;" and not (quoted or escaped):
            break
        else:
            value.append(char)
        if quoted or escaped or char not in _BLANKS:
            kept = len(value)
    return "".join(value[:kept])


def _characters(line: str, lines: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """The characters and whether each was escaped; a backslash at the end takes the next line in."""
    while True:
        rest = iter(line.rstrip("\r"))
        for char in rest:
            if char != "\\":
                yield char, False
            elif (escaped := next(rest, None)) is not None:
                yield _ESCAPED.get(escaped, escaped), True
            else:
                break
        else:
            return
        line = next(lines, "")
