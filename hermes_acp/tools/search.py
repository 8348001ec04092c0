"""The tools that find files by name and lines by what they contain."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path

from pydantic import Field

from hermes_acp.content import Location
from hermes_acp.policy.paths import secret
from hermes_acp.tools.access import announce, readable, shorten
from hermes_acp.tools.base import Description, Params, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool
from hermes_acp.workspace.globs import GlobError
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.ripgrep import (
    SECONDS,
    Ending,
    Line,
    Query,
    SearchError,
    list_files,
    search_lines,
)

FILES_SHOWN = 200
"""Most files that `glob` gives."""

FILES_SORTED = 50_000
"""Most files that are compared by age."""

MATCHES = 100
"""Matches that `search` gives unless it is asked for more."""

MATCHES_AT_MOST = 1000
"""Most matches that `search` gives."""

CONTEXT_AT_MOST = 10
"""Most lines around a match."""

OUTPUT_CHARS = 30_000
"""Most characters of one result."""

PATTERN_CHARS = 2000
"""Longer patterns are refused."""

HIDDEN_SHOWN = 5
"""Files with hidden matches that are named."""

LOCATIONS = 10
"""Places of a result that editors can jump to."""


# --- glob ----------------------------------------------------------------------------------------


class Glob(Params):
    """Parameters of `glob`."""

    pattern: str
    path: str = "."


def _announce_glob(params: Glob, cwd: str) -> Description:
    where = announce("List", params.path, cwd)
    return Description(f"Find {printable(params.pattern)}", where.locations)


@tool(Glob, kind="search", describe=_announce_glob, parallel=True)
async def glob(params: Glob, context: ToolContext) -> ToolResult:
    """Find files such as `*.py` or `src/**/*.{js,ts}` below `path`, newest first. Skips what git ignores."""
    root, pattern = _base(params)
    root = await readable(context, root)
    if not await asyncio.to_thread(Path(root).is_dir):
        raise ToolError(f"{shorten(root, context.cwd)} is not a folder.")
    found: list[str] = []

    def take(path: str) -> bool:
        found.append(path)
        return len(found) < FILES_SORTED

    ending = await _explained(list_files(Query(root, only=pattern), await _program(), take))
    if not found:
        return ToolResult(f"No files match {pattern} in {shorten(root, context.cwd)}.{_late(ending)}")
    newest = await asyncio.to_thread(_newest_first, found)
    names = [shorten(path, context.cwd) for path in newest[:FILES_SHOWN]]
    if len(found) > FILES_SHOWN or ending != "complete":
        at_least = "" if ending == "complete" else "at least "
        names.append(f"[{len(names)} of {at_least}{len(found):,} files: narrow the pattern]{_late(ending)}")
    return ToolResult("\n".join(names), locations=tuple(map(Location, newest[:LOCATIONS])))


def _base(params: Glob) -> tuple[str, str]:
    """The folder to search and the pattern below it: models also write absolute patterns."""
    if not params.pattern.startswith("/"):
        return params.path, params.pattern
    names = params.pattern.split("/")
    fixed = next((at for at, name in enumerate(names) if set(name) & set("*?[{\\")), len(names) - 1)
    return "/".join(names[:fixed]) or "/", f"./{'/'.join(names[fixed:])}"


def _newest_first(paths: list[str]) -> list[str]:
    """By age, then by name; blocks."""

    def age(path: str) -> float:
        try:
            return -Path(path).lstat().st_mtime
        except OSError:
            return 0.0

    return sorted(sorted(paths), key=age)


# --- search --------------------------------------------------------------------------------------


class Search(Params):
    """Parameters of `search`."""

    pattern: str = Field(min_length=1)
    path: str = "."
    glob: str | None = None
    ignore_case: bool = False
    context: int = Field(default=0, ge=0)
    limit: int = Field(default=MATCHES, ge=1)


def _announce_search(params: Search, cwd: str) -> Description:
    where = announce("Search", params.path, cwd)
    return Description(f"Search {printable(params.pattern)}", where.locations)


@tool(Search, kind="search", describe=_announce_search, parallel=True)
async def search(params: Search, context: ToolContext) -> ToolResult:
    """Find lines that match a regular expression, in files below `path` (`glob` picks some, `context` adds
    lines around). Skips what git ignores, and files that may hold secrets."""
    if len(params.pattern) > PATTERN_CHARS:
        raise ToolError(f"The pattern is longer than {PATTERN_CHARS} characters.")
    if "\n" in params.pattern or "\0" in params.pattern:
        raise ToolError("The pattern contains a line end or NUL: lines are searched one by one.")
    root = await readable(context, params.path)
    only = params.glob if await asyncio.to_thread(_is_folder, root, context.cwd) else None
    query = Query(root, params.pattern, only, params.ignore_case, min(params.context, CONTEXT_AT_MOST))
    page = _Page(context.cwd, root, min(params.limit, MATCHES_AT_MOST))
    ending = await _explained(search_lines(query, await _program(), page.take))
    return page.result(ending)


def _is_folder(path: str, cwd: str) -> bool:
    """Whether it is a folder rather than a file; blocks."""
    if not Path(path).exists():
        raise ToolError(f"{shorten(path, cwd)} does not exist.")
    return Path(path).is_dir()


class _Page:
    """Matches as text: each path once, below it its lines as `number:text`, others as `number-text`."""

    def __init__(self, cwd: str, root: str, limit: int) -> None:
        self._cwd = cwd
        self._root = root
        self._limit = limit
        self._hidden: dict[str, bool] = {}
        self._room = OUTPUT_CHARS
        self._last: Line | None = None
        self._text: list[str] = []
        self._places: list[Location] = []

    def take(self, line: Line) -> bool:
        """Add a line; False when the page is full."""
        if self._hides(line.path):
            return True
        if line.hit and len(self._places) == self._limit:
            return False
        text = f"{line.number}{':' if line.hit else '-'}{line.text}"
        if self._last is None or self._last.path != line.path:
            text = f"{shorten(line.path, self._cwd)}\n{text}"
        elif line.number > self._last.number + 1 and not (line.hit and self._last.hit):
            text = f"--\n{text}"
        self._room -= len(text) + 1
        if self._room < 0:
            return False
        if line.hit:
            self._places.append(Location(line.path, line.number))
        self._text.append(text)
        self._last = line
        return True

    def _hides(self, path: str) -> bool:
        """Whether the file is one that is only read after a question, which was asked for the root."""
        if path not in self._hidden:
            self._hidden[path] = path != self._root and secret(path[len(self._root) :])
        return self._hidden[path]

    def result(self, ending: Ending) -> ToolResult:
        """The whole page."""
        count = len(self._places)
        hidden = [shorten(path, self._cwd) for path, hides in self._hidden.items() if hides]
        if hidden:
            more = f" and {len(hidden) - HIDDEN_SHOWN} more" if len(hidden) > HIDDEN_SHOWN else ""
            names = ", ".join(hidden[:HIDDEN_SHOWN])
            self._text.append(f"[not shown, because they may hold secrets: matches in {names}{more}]")
        if not count:
            return ToolResult("\n".join([f"No matches.{_late(ending)}", *self._text]))
        if ending != "complete":
            self._text.append(
                f"[the first {count} matches; there are more: narrow the search]{_late(ending)}"
            )
        return ToolResult("\n".join(self._text), locations=tuple(self._places[:LOCATIONS]))


# --- both ----------------------------------------------------------------------------------------


async def _program() -> str | None:
    """The ripgrep of this machine."""
    return await asyncio.to_thread(shutil.which, "rg")


async def _explained(searching: Awaitable[Ending]) -> Ending:
    try:
        return await searching
    except SearchError as error:
        raise ToolError(
            f"The pattern cannot be used: {error}. Put `\\` before characters that stand for themselves."
        ) from error
    except GlobError as error:
        raise ToolError(str(error)) from error


def _late(ending: Ending) -> str:
    return f" [stopped after {SECONDS:g} s: search a smaller folder]" if ending == "late" else ""


TOOLS = (glob, search)
