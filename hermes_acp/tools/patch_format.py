"""Patches as text: the unified form and the `*** Begin Patch` form, read into one shape; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hermes_acp.records import record
from hermes_acp.tools.base import ToolError

Action: TypeAlias = Literal["add", "update", "delete"]

_RANGE = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ENVELOPE = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_MOVE = "*** Move to: "
_MODES = {"100644": None, "100755": 0o755}
_NO_NEWLINE = "\\ No newline"
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@record
class Line:
    """One line of a hunk, without its mark and its line end."""

    mark: Literal[" ", "-", "+"]
    text: str


@record
class Hunk:
    """A passage to find and what to make of it.

    `line` is where a unified patch expects it (1-based; for a hunk without old lines, the line it
    follows). `anchors` are lines that come before it. `at_end` says that it reaches the end of the
    file; `old_open` and `new_open` that the last line has no line end.
    """

    lines: tuple[Line, ...]
    line: int | None = None
    anchors: tuple[str, ...] = ()
    at_end: bool = False
    old_open: bool = False
    new_open: bool = False

    def side(self, mark: Literal["-", "+"]) -> list[str]:
        """The old or the new lines: those of the mark and the unmarked ones."""
        return [line.text for line in self.lines if line.mark in (" ", mark)]


@record
class FileChange:
    """What a patch does to one file; `target` is its new name. `mode` is for a new file."""

    action: Action
    path: str
    hunks: tuple[Hunk, ...] = ()
    target: str | None = None
    mode: int | None = None


def parse(patch: str) -> tuple[FileChange, ...]:
    """The changes in their order. Raises `ToolError` that names the line that makes no sense."""
    lines = patch.replace("\r\n", "\n").split("\n")
    if any(line.rstrip() == "*** Begin Patch" or _ENVELOPE.fullmatch(line) for line in lines):
        changes = _Envelope(lines).changes()
    else:
        changes = _Unified(lines).changes()
    if not changes:
        raise ToolError(
            "The patch changes no file. Begin each file with `--- a/path` and `+++ b/path`, or with "
            "`*** Update File: path`, `*** Add File: path` or `*** Delete File: path`."
        )
    return tuple(changes)


class _Reader:
    """A cursor over the lines of a patch."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def peek(self, ahead: int = 0) -> str | None:
        at = self._at + ahead
        return self._lines[at] if at < len(self._lines) else None

    def next(self) -> str:
        line = self._lines[self._at]
        self._at += 1
        return line

    def wrong(self, reason: str) -> ToolError:
        line = self._lines[min(self._at, len(self._lines) - 1)]
        return ToolError(f"Line {self._at + 1} of the patch, {line[:80]!r}: {reason} Nothing was written.")


def _marked(text: str) -> Line | None:
    """A line of a hunk; an empty one is an empty line of context whose space was lost."""
    if not text:
        return Line(" ", "")
    mark = text[0]
    return Line(mark, text[1:]) if mark in (" ", "-", "+") else None


# --- the envelope --------------------------------------------------------------------------------


class _Envelope(_Reader):
    def changes(self) -> list[FileChange]:
        found: list[FileChange] = []
        while (line := self.peek()) is not None:
            if line.rstrip() == "*** End Patch":
                break
            if header := _ENVELOPE.fullmatch(line.rstrip()):
                self.next()
                found.append(self._change(header[1], header[2].strip()))
            elif found and line.strip():
                raise self.wrong("expected `*** Add File:`, `*** Update File:` or `*** Delete File:`.")
            else:
                self.next()
        return found

    def _change(self, verb: str, path: str) -> FileChange:
        if verb == "Delete":
            return FileChange("delete", path)
        if verb == "Add":
            return FileChange("add", path, (self._added(),))
        target = None
        if (line := self.peek()) is not None and line.startswith(_MOVE):
            target = self.next().removeprefix(_MOVE).strip()
        hunks: list[Hunk] = []
        while not self._ended():
            hunks.append(self._hunk())
        if not hunks and target is None:
            raise self.wrong(f"there is no change for {path} before it.")
        return FileChange("update", path, tuple(hunks), target)

    def _added(self) -> Hunk:
        lines: list[Line] = []
        while (text := self.peek()) is not None and text.startswith("+"):
            lines.append(Line("+", self.next()[1:]))
        return Hunk(tuple(lines))

    def _ended(self) -> bool:
        while self.peek() == "" and (following := self.peek(1)) is not None and _is_header(following):
            self.next()
        line = self.peek()
        return line is None or _is_header(line) or (line == "" and self.peek(1) is None)

    def _hunk(self) -> Hunk:
        anchors: list[str] = []
        while (text := self.peek()) is not None and text.startswith("@@"):
            self.next()
            if not _RANGE.match(text):
                anchors.append(text.removeprefix("@@").removesuffix("@@").strip())
        lines: list[Line] = []
        at_end = False
        while not self._ended() and not (self.peek() or "").startswith("@@"):
            if (self.peek() or "").rstrip() == "*** End of File":
                self.next()
                at_end = True
                break
            lines.append(self._line())
        if not lines:
            raise self.wrong("expected changed lines below `@@`.")
        return Hunk(tuple(lines), anchors=tuple(filter(None, anchors)), at_end=at_end)

    def _line(self) -> Line:
        if (line := _marked(self.peek() or "")) is None:
            raise self.wrong("lines of a change begin with a space, `-` or `+`.")
        self.next()
        return line


def _is_header(line: str) -> bool:
    return line.rstrip() == "*** End Patch" or _ENVELOPE.fullmatch(line.rstrip()) is not None


# --- unified -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Header:
    """What the lines before the hunks of one file say."""

    git: bool = False
    old: str | None = None
    new: str | None = None
    renamed_from: str | None = None
    renamed_to: str | None = None
    deleted: bool = False
    mode: int | None = None


class _Unified(_Reader):
    def changes(self) -> list[FileChange]:
        found: list[FileChange] = []
        while (line := self.peek()) is not None:
            if line.startswith("diff --git ") or self._names_follow():
                found.append(self._change())
            elif line.startswith("@@ "):
                raise self.wrong("a change without `--- a/path` and `+++ b/path` before it.")
            else:
                # Words around the patch, such as a commit message or a code fence.
                self.next()
        return found

    def _names_follow(self) -> bool:
        return (self.peek() or "").startswith("--- ") and (self.peek(1) or "").startswith("+++ ")

    def _change(self) -> FileChange:
        header = self._header()
        hunks: list[Hunk] = []
        while (line := self.peek()) is not None and line.startswith("@@"):
            hunks.append(self._hunk())
        prefixed = (header.old or "a/").startswith("a/") and (header.new or "b/").startswith("b/")
        old = header.renamed_from or _stripped(header.old, prefixed=prefixed)
        new = header.renamed_to or _stripped(header.new, prefixed=prefixed)
        if header.deleted or new is None:
            return FileChange("delete", self._named(old or new), tuple(hunks))
        if old is None:
            return FileChange("add", new, tuple(hunks), mode=header.mode)
        if header.renamed_to is not None:
            return FileChange("update", old, tuple(hunks), new)
        if not hunks:
            raise self.wrong(f"there is no change for {new} before it.")
        return FileChange("update", new, tuple(hunks))

    def _named(self, path: str | None) -> str:
        if path is None:
            raise self.wrong("a file has no name before it.")
        return path

    def _header(self) -> _Header:
        header = _Header()
        while (line := self.peek()) is not None and not line.startswith("@@"):
            if line.startswith("diff --git "):
                if header.git:
                    break
                self._git_names(header, line)
            elif self._names_follow():
                header.old, header.new = _name(self.next()[4:]), _name((self.peek() or "")[4:])
                self.next()
                break
            elif not header.git or not self._extended(header, line):
                break
            self.next()
        return header

    def _git_names(self, header: _Header, line: str) -> None:
        """The names of a change that has no `---` lines, such as that of an empty file."""
        header.git = True
        both = line.removeprefix("diff --git ")
        if match := re.fullmatch(r'("a/.*"|a/.*) ("b/.*"|b/.*)', both):
            header.old, header.new = _name(match[1]), _name(match[2])

    def _extended(self, header: _Header, line: str) -> bool:
        word, _, rest = line.partition(" mode ")
        if line.startswith(("rename from ", "rename to ")):
            setting = _name(line.split(" ", 2)[2])
            if line.startswith("rename from "):
                header.renamed_from = setting
            else:
                header.renamed_to = setting
        elif word == "new file":
            if rest.strip() not in _MODES:
                raise self.wrong("only ordinary files can be created.")
            header.old, header.mode = None, _MODES[rest.strip()]
        elif word == "deleted file":
            header.deleted = True
        elif line.startswith(("GIT binary patch", "Binary files ", "copy from ", "old mode ", "new mode ")):
            raise self.wrong("binary contents, copies and modes cannot be patched: use a command.")
        elif not line.startswith(("index ", "similarity index ", "dissimilarity index ")):
            return False
        return True

    def _hunk(self) -> Hunk:
        start = self.next()
        numbers = _RANGE.match(start)
        want_old, want_new = (int(n or 1) for n in (numbers[2], numbers[4])) if numbers else (0, 0)
        lines: list[Line] = []
        opened: set[str] = set()
        bare = 0
        while (text := self.peek()) is not None:
            if text.startswith(_NO_NEWLINE) and lines:
                opened |= {lines[-1].mark} if lines[-1].mark != " " else {"-", "+"}
            elif self._hunk_ended(text, (want_old, want_new), counted=numbers is not None):
                break
            elif (line := _marked(text)) is None:
                raise self.wrong("lines of a change begin with a space, `-` or `+`.")
            else:
                lines.append(line)
                want_old -= line.mark != "+"
                want_new -= line.mark != "-"
                bare = 0 if text else bare + 1
            self.next()
        if bare and (want_old, want_new) != (0, 0):
            # Empty lines behind the change, which nothing counts, are not part of it.
            lines = lines[:-bare]
        if not lines:
            raise self.wrong("expected changed lines below `@@`.")
        return Hunk(
            tuple(lines),
            line=int(numbers[1]) if numbers else None,
            anchors=() if numbers else tuple(filter(None, [start.strip("@ ")])),
            at_end=bool(opened),
            old_open="-" in opened,
            new_open="+" in opened,
        )

    def _hunk_ended(self, text: str, wanted: tuple[int, int], *, counted: bool) -> bool:
        """Whether `text` is no longer of the hunk. Models miscount, so the counts only break ties."""
        if text.startswith(("@@", "diff --git ")):
            return True
        if self._names_follow() and (self.peek(2) or "").startswith("@@"):
            return not (counted and wanted == (1, 1))
        if counted and wanted == (0, 0):
            return not text.startswith((" ", "-", "+")) or self._names_follow() or text == "-- "
        rest_is_empty = not text and all(not self.peek(n) for n in range(1, 3))
        return text.startswith("```") or (rest_is_empty and not counted)


def _name(text: str) -> str | None:
    """A path as it stands in a header: quoted or followed by a date; None for `/dev/null`."""
    text = text.split("\t")[0].rstrip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        raw = _ESCAPE.sub(lambda match: _unescaped(match[1]), text[1:-1])
        # Git writes every byte of a name by itself, in octal.
        text = raw.encode("latin-1", "replace").decode("utf-8", "replace")
    return None if text == "/dev/null" else text


def _unescaped(code: str) -> str:
    return chr(int(code, 8) & 0xFF) if len(code) == 3 else _ESCAPED.get(code, code)


def _stripped(path: str | None, *, prefixed: bool) -> str | None:
    return path[2:] if path is not None and prefixed else path
