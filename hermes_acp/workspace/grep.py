"""A stand-in for ripgrep where there is none: the few options that we use, the same output.

It runs as a program of its own (`python -m hermes_acp.workspace.grep`), because a regular expression
that runs away keeps Python's one lock: in a thread it would stop the server, a process is killed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pathspec

from hermes_acp.records import record
from hermes_acp.workspace import disk
from hermes_acp.workspace.encoding import NotText, decode
from hermes_acp.workspace.globs import compile_glob
from hermes_acp.workspace.locations import DocumentError

CUT = " [... omitted end of long line]"

_IGNORE_BYTES = 1024 * 1024


@record
class Rules:
    """The patterns of one `.gitignore`; `base` is its folder with a `/` at the end."""

    base: str
    spec: pathspec.GitIgnoreSpec


def main() -> int:
    """List files or print matches: 0 when there are some, 1 for none, 2 with a reason on stderr."""
    options = argparse.ArgumentParser()
    options.add_argument("--files", action="store_true")
    options.add_argument("--ignore-case", action="store_true")
    options.add_argument("--context", type=int, default=0)
    options.add_argument("--max-columns", type=int)
    options.add_argument("--max-filesize", type=int)
    options.add_argument("--only")
    options.add_argument("words", nargs="+")
    chosen = options.parse_args()
    root = str(chosen.words[-1])
    paths = walk(root)
    if chosen.only is not None:
        wanted = compile_glob(chosen.only)
        paths = (path for path in paths if wanted.fullmatch(path[len(root) :].lstrip("/")))
    if chosen.files:
        return _write(os.fsencode(path) + b"\0" for path in paths)
    try:
        pattern = re.compile(chosen.words[0], re.IGNORECASE if chosen.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(str(error))
        return 2
    look = _Look(pattern, chosen.context, chosen.max_columns, chosen.max_filesize)
    return _write(look.at(path) for path in paths)


def _write(records: Iterator[bytes]) -> int:
    found = False
    for entry in filter(None, records):
        found = True
        sys.stdout.buffer.write(entry)
        # What was found before a search is stopped for its time shall not be lost in a buffer.
        sys.stdout.buffer.flush()
    return 0 if found else 1


def walk(root: str) -> Iterator[str]:
    """The ordinary files below `root` in the order of their names, without what git ignores.

    Links are not followed and `.git` is left out. Where there is no repository, nothing is ignored.
    """
    if not Path(root).is_dir():
        yield root
        return
    open_folders = [_entries(_Folder(root, _rules_above(Path(root))))]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, _Folder):
            open_folders.append(_entries(entry))
        else:
            yield entry


@record
class _Folder:
    """A folder to look into; `rules` None says that it is in no repository."""

    path: str
    rules: tuple[Rules, ...] | None


def _entries(folder: _Folder) -> Iterator[_Folder | str]:
    try:
        with os.scandir(folder.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    rules = () if ".git" in names else folder.rules
    if rules is not None and ".gitignore" in names:
        rules = (*rules, *_load(Path(folder.path)))
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name == ".git" or _ignored(f"{entry.path}/" if is_folder else entry.path, rules or ()):
            continue
        if is_folder:
            yield _Folder(entry.path, rules)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def _ignored(path: str, rules: Sequence[Rules]) -> bool:
    """The verdict of the nearest `.gitignore` that has one."""
    for rule in reversed(rules):
        verdict = rule.spec.check_file(path.removeprefix(rule.base)).include
        if verdict is not None:
            return verdict
    return False


def _rules_above(root: Path) -> tuple[Rules, ...] | None:
    """The rules of the folders above, up to that of the repository; None without one.

    A folder that is itself ignored was asked for by name, so nothing from above applies to it.
    """
    above = list(itertools.takewhile(lambda folder: not (folder / ".git").exists(), root.parents))
    if (root / ".git").exists():
        return ()
    if len(above) == len(root.parents):
        return None
    rules = tuple(rule for folder in reversed(root.parents[: len(above) + 1]) for rule in _load(folder))
    return () if _ignored(f"{root}/", rules) else rules


def _load(folder: Path) -> Iterable[Rules]:
    try:
        content = disk.read(str(folder / ".gitignore"), _IGNORE_BYTES)
    except DocumentError:
        return
    if content is not None:
        lines = content.data.decode("utf-8", "replace").splitlines()
        yield Rules(f"{str(folder).rstrip('/')}/", pathspec.GitIgnoreSpec.from_lines(_valid(lines)))


def _valid(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        yield line


@record
class _Look:
    """What to look for in each file, and how much of it to take."""

    pattern: re.Pattern[str]
    context: int
    line_chars: int
    file_bytes: int

    def at(self, path: str) -> bytes:
        """The lines that match and those around them, each as `path NUL number mark text`."""
        try:
            content = disk.read(path, self.file_bytes)
        except DocumentError:
            return b""
        lines = _lines(content.data) if content else []
        hits = [at for at, line in enumerate(lines) if self.pattern.search(line)]
        around = ((hit - self.context, hit + self.context + 1) for hit in hits)
        near = {at for low, high in around for at in range(max(0, low), min(len(lines), high))}
        marks = dict.fromkeys(near, b"-") | dict.fromkeys(hits, b":")
        name = os.fsencode(path)
        return b"".join(
            b"%s\0%d%s%s\n" % (name, at + 1, marks[at], self._cut(lines[at])) for at in sorted(marks)
        )

    def _cut(self, line: str) -> bytes:
        shown = line if len(line) <= self.line_chars else line[: self.line_chars] + CUT
        return shown.encode("utf-8", "replace")


def _lines(data: bytes) -> list[str]:
    try:
        text = decode(data).text
    except NotText:
        text = "" if b"\0" in data else data.decode("utf-8", "replace")
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


if __name__ == "__main__":
    sys.exit(main())
