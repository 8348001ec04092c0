"""`@` references in a prompt: `@diff`, `@file:src/a.py:3-9` and their like as words; pure.

`@path` alone is none of them: windows make links of those, which the model follows by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from hermes_acp.records import record
from hermes_acp.workspace import symbols

COMMITS = 20
"""Most commits of `@git:n`."""

OFFERED = 30
"""Completions that are offered at once."""

Kind: TypeAlias = Literal["diff", "staged", "file", "folder", "git", "symbol"]


@record
class Reference:
    """A reference from `start` to `end` of a text, as it was written in `text`.

    `target` is the path or the symbol; `lines` are the first and the last line of a file, from 1;
    `count` is the number of commits.
    """

    kind: Kind
    start: int
    end: int
    text: str
    target: str = ""
    lines: tuple[int, int] | None = None
    count: int = 0


@record
class Wrong:
    """What looks like a reference and cannot be one; `problem` is a sentence for the user."""

    start: int
    end: int
    text: str
    problem: str


@record
class Completion:
    """What can be written, with its `@`, and what it means."""

    text: str
    about: str


@record
class _Form:
    kind: Kind
    written: str
    about: str


FORMS = (
    _Form("diff", "@diff", "all uncommitted changes"),
    _Form("staged", "@staged", "the staged changes"),
    _Form("file", "@file:", "a file, or lines of it: @file:path:3-9"),
    _Form("folder", "@folder:", "the names of the files in a folder"),
    _Form("git", "@git:", f"the last commits with their changes, 1 to {COMMITS}"),
    _Form("symbol", "@symbol:", "where a name is defined"),
)
"""All forms, in the order in which they are offered."""

_REFERENCE = re.compile(
    r"""(?<![^\s(\[{"'])@(?:
        (?P<whole>diff|staged)(?![\w/:@-]|\.\w)
      | (?P<kind>file|folder|git|symbol):(?:"(?P<quoted>[^"\n]*)"(?P<after>:[\d-]+)?|(?P<plain>[^\s"]*))
    )""",
    re.VERBOSE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_LINES = re.compile(r":(\d{1,9})(?:-(\d{1,9}))?")
_RANGE = re.compile(r"(?P<path>.+?)(?P<lines>:\d{1,9}(?:-\d{1,9})?)", re.DOTALL)
_PUNCTUATION = ".,;:!?)]}'"


def find(text: str) -> tuple[Reference | Wrong, ...]:
    """The references of a text, in order. Those in Markdown code are only quoted, and left out."""
    code = [match.span() for match in _CODE.finditer(text)]
    starts = [start for start, _ in code]
    found: list[Reference | Wrong] = []
    for match in _REFERENCE.finditer(text):
        before = bisect_right(starts, match.start())
        if not before or code[before - 1][1] <= match.start():
            found.append(_read(match))
    return tuple(found)


def quoted(kind: Kind, target: str) -> str:
    """A reference as it has to be written."""
    needs = any(char.isspace() for char in target) or target.endswith(tuple(_PUNCTUATION)) or ":" in target
    return f'@{kind}:"{target}"' if needs and kind != "symbol" else f"@{kind}:{target}"


def _read(match: re.Match[str]) -> Reference | Wrong:
    start, end = match.span()
    if whole := match["whole"]:
        return Reference("diff" if whole == "diff" else "staged", start, end, match[0])
    if match["quoted"] is not None:
        return _make(match["kind"], match["quoted"], match["after"] or "", (start, match[0]))
    plain = match["plain"].rstrip(_PUNCTUATION) or match["plain"].rstrip(_PUNCTUATION.replace(".", ""))
    written = match[0][: len(match[0]) - len(match["plain"]) + len(plain)]
    ranged = _RANGE.fullmatch(plain) if match["kind"] == "file" else None
    target, lines = (ranged["path"], ranged["lines"]) if ranged else (plain, "")
    return _make(match["kind"], target, lines, (start, written))


def _make(kind: str, target: str, lines: str, place: tuple[int, str]) -> Reference | Wrong:
    start, written = place
    end = start + len(written)
    match kind:
        case "git":
            count = int(target) if re.fullmatch(r"[0-9]{1,4}", target) else 0
            if not 1 <= count <= COMMITS:
                return Wrong(start, end, written, f"{written} is not read: write @git:1 to @git:{COMMITS}.")
            return Reference("git", start, end, written, count=count)
        case "symbol":
            if not symbols.parts(target):
                return Wrong(start, end, written, f"{written} is not read: it names no symbol.")
            return Reference("symbol", start, end, written, target)
        case "folder":
            problem = "" if target else "it names no folder"
            made = Reference("folder", start, end, written, target)
        case _:
            chosen, problem = _lines(lines)
            problem = problem if target else "it names no file"
            made = Reference("file", start, end, written, target, chosen)
    return Wrong(start, end, written, f"{written} is not read: {problem}.") if problem else made


def _lines(text: str) -> tuple[tuple[int, int] | None, str]:
    if not text:
        return None, ""
    match = _LINES.fullmatch(text)
    if match is None:
        return None, "the lines are written as :3 or :3-9"
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last:
        return None, "its lines are counted from 1, and the last one does not come before the first"
    return (first, last), ""


# --- completions ---------------------------------------------------------------------------------


def completions(typed: str, files: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Completion, ...]:
    """What the word `typed` behind an `@` can become; best first.

    `files` are paths of the project as a reference names them, `names` symbols that fit.
    """
    kind, colon, rest = typed.partition(":")
    word = rest.lstrip('"').casefold()
    match kind if colon else "":
        case "":
            forms = (form for form in FORMS if form.written[1:].startswith(typed.casefold()))
            return tuple(Completion(form.written, form.about) for form in forms)
        case "file":
            return tuple(Completion(quoted("file", path), "file") for path in ranked(word, files))
        case "folder":
            folders = sorted({parent for path in files for parent in _parents(path)})
            return tuple(Completion(quoted("folder", path), "folder") for path in ranked(word, folders))
        case "git":
            counts = (count for count in ("1", "3", "5", "10") if count.startswith(word))
            return tuple(Completion(f"@git:{count}", f"the last {count} commits") for count in counts)
        case "symbol":
            return tuple(Completion(f"@symbol:{name}", "symbol") for name in names[:OFFERED])
        case _:
            return ()


def ranked(word: str, paths: Sequence[str]) -> tuple[str, ...]:
    """The paths that fit a case-folded word best: by how their name begins, their path, what it holds."""
    found: list[tuple[int, int, str]] = []
    for path in paths:
        folded = path.casefold()
        if folded.rpartition("/")[2].startswith(word):
            found.append((0, len(path), path))
        elif folded.startswith(word):
            found.append((1, len(path), path))
        elif word in folded:
            found.append((2, len(path), path))
    return tuple(path for _, _, path in sorted(found)[:OFFERED])


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
