"""Finding files and lines below a folder, with ripgrep or with our stand-in; both give the same."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hermes_acp.records import record
from hermes_acp.workspace.child import child
from hermes_acp.workspace.globs import compile_glob

SECONDS = 20.0
"""How long a search may take."""

FILE_BYTES = 10 * 1024 * 1024
"""Larger files are not searched."""

LINE_CHARS = 400
"""Longer lines are cut."""

RECORD_BYTES = 64 * 1024
"""A longer record is no line that we asked for and is dropped."""

ERROR_BYTES = 16 * 1024
"""More of an error message is not read."""

Ending: TypeAlias = Literal["complete", "enough", "late"]

_RIPGREP_OPTIONS = (
    *("--no-config", "--no-messages", "--color=never", "--sort=path", "--null", "--hidden", "--glob=!.git"),
    *("--no-ignore-global", "--no-ignore-dot", "--no-ignore-exclude"),
)
_LINE_OPTIONS = ("--no-heading", "--with-filename", "--line-number", "--crlf", "--max-columns-preview")
_STAND_IN = (sys.executable, "-P", "-m", "hermes_acp.workspace.grep")
_PACKAGE_HOME = str(Path(__file__).parents[2])
_LINE = re.compile(rb"(.*?)\0(\d+)([:-])(.*)", re.DOTALL)
_CUT = re.compile(r" \[\.\.\. (?:omitted end of long line|\d+ more match(?:es)?)\]$")


class SearchError(Exception):
    """The search cannot be done; `str()` says why."""


@record
class Query:
    """What to look for below the real path `root`; `only` is a glob for paths relative to it.

    What was found after `seconds` is the result: no pattern can take longer.
    """

    root: str
    pattern: str = ""
    only: str | None = None
    ignore_case: bool = False
    context: int = 0
    seconds: float = SECONDS


@record
class Line:
    """A line of a file, 1-based; `hit` is False for one that only surrounds a match."""

    path: str
    number: int
    text: str
    hit: bool


async def list_files(query: Query, program: str | None, take: Callable[[str], bool]) -> Ending:
    """Hand every file to `take`, in the order of names, until it says False.

    `program` is the ripgrep to use, None for our own. Raises `SearchError` and `GlobError`.
    """

    def record(raw: bytes) -> bool:
        path = os.fsdecode(raw)
        return not wanted(path) or take(path)

    wanted = _filter(query)
    return await _run(_Search(query, files=True), program, record)


async def search_lines(query: Query, program: str | None, take: Callable[[Line], bool]) -> Ending:
    """Hand every line that matches, and those around it, to `take` until it says False.

    `program` is the ripgrep to use, None for our own. Where ripgrep does not know the pattern's
    syntax, Python may. Raises `SearchError` and `GlobError`.
    """

    def record(raw: bytes) -> bool:
        if not (match := _LINE.fullmatch(raw)):
            return True
        path = os.fsdecode(match[1])
        if not wanted(path):
            return True
        text = _CUT.sub(" […]", match[4].decode("utf-8", "replace").removesuffix("\r"))
        return take(Line(path, int(match[2]), text, match[3] == b":"))

    wanted = _filter(query)
    return await _run(_Search(query, files=False), program, record)


def _filter(query: Query) -> Callable[[str], bool]:
    if query.only is None:
        return lambda _path: True
    pattern = compile_glob(query.only)
    start = len(query.root.rstrip("/")) + 1
    return lambda path: pattern.fullmatch(path, start) is not None


@record
class _Search:
    query: Query
    files: bool

    def ripgrep(self, program: str) -> list[str]:
        arguments = [program, *_RIPGREP_OPTIONS, *(() if self.files else _LINE_OPTIONS)]
        only = self.query.only
        if only is not None and "/" not in only and not only.startswith("include:"):
            # Only saves work: what comes out is filtered again. `--glob` would also bring back
            # what git ignores.
            arguments += [f"--type-add=picked:{only}", "--type=picked"]
        return arguments + self._common()

    def stand_in(self) -> list[str]:
        only = [] if self.query.only is None else [f"--only={self.query.only}"]
        return [*_STAND_IN, *only, *self._common()]

    def _common(self) -> list[str]:
        if self.files:
            return ["--files", "--", self.query.root]
        options = [f"--max-columns={LINE_CHARS}", f"--max-filesize={FILE_BYTES}"]
        options += ["--ignore-case"] if self.query.ignore_case else []
        options += [f"--context={self.query.context}"] if self.query.context else []
        return [*options, "--", self.query.pattern, self.query.root]


@dataclass(slots=True)
class _Outcome:
    ending: Ending
    anything: bool = False
    error: str = ""


async def _run(search: _Search, program: str | None, take: Callable[[bytes], bool]) -> Ending:
    if program is not None:
        try:
            outcome = await _collect(search.ripgrep(program), search, take)
        except OSError:
            outcome = _Outcome("complete", error="it cannot be started")
        if outcome.anything or not outcome.error:
            return outcome.ending
    outcome = await _collect(search.stand_in(), search, take)
    if outcome.error:
        raise SearchError(outcome.error)
    return outcome.ending


async def _collect(arguments: list[str], search: _Search, take: Callable[[bytes], bool]) -> _Outcome:
    """Run a program and hand over its records; leaving early, or a cancel, kills it."""
    outcome = _Outcome("complete")
    separator = b"\0" if search.files else b"\n"
    try:
        # The stand-in is found from there; ripgrep gets absolute paths and does not care.
        async with child(arguments, cwd=_PACKAGE_HOME) as process, asyncio.timeout(search.query.seconds):
            assert process.stdout is not None
            assert process.stderr is not None
            rest = b""
            while part := await process.stdout.read(RECORD_BYTES):
                *records, rest = (rest + part).split(separator)
                rest = rest if len(rest) <= RECORD_BYTES else b""
                outcome.anything |= bool(records)
                if not all(map(take, records)):
                    outcome.ending = "enough"
                    return outcome
            message = await process.stderr.read(ERROR_BYTES)
            if await process.wait() not in (0, 1):
                outcome.error = message.decode("utf-8", "replace").strip()
    except TimeoutError:
        outcome.ending = "late"
    return outcome
