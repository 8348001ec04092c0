"""Differences that git knows: which files they touch, and their text within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hermes_acp.policy.paths import secret
from hermes_acp.records import record
from hermes_acp.workspace.git_sense import GitTrouble, View, commit_of, files_of, head, pathspec, told
from hermes_acp.workspace.locations import printable

FILES_LISTED = 150
"""Files of a difference that are named."""

PATCH_CHARS = 30_000
"""Characters of a difference unless there is more room."""

_AT_ONCE = 25
"""Files that are compared with one command: that bounds its output, because none is over 1 MiB."""

_OPTIONS = (
    *("--no-ext-diff", "--no-textconv", "--no-color", "--color-moved=no", "--ws-error-highlight=none"),
    *("--find-renames", "--submodule=short", "--ignore-submodules=dirty", "--no-relative"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
_PATCH = ("--patch", "--unified=3", "--inter-hunk-context=0")
_SUBMODULE = "160000"
_SECTIONS = (b"diff --git ", b"diff --cc ", b"* Unmerged path ")


@record
class Span:
    """What is compared with what: `title` in words, `sides` for git.

    `untracked` says whether files that git does not know belong to it. `secrets` lets the text of
    files be shown that usually hold keys; else they are only named.
    """

    title: str
    sides: tuple[str, ...]
    specs: tuple[str, ...] = ()
    untracked: bool = False
    secrets: bool = False


@record
class FileChange:
    """One file of a difference, with git's letter for what happened to it.

    `added` and `removed` count lines and are None for a binary or very large file.
    """

    path: str
    letter: str
    old_path: str | None = None
    added: int | None = None
    removed: int | None = None
    submodule: bool = False


@record
class Report:
    """A difference as text: what it is, the files, and as much of the rest as there was room for.

    `cut` counts the files of which not everything is there.
    """

    text: str
    files: tuple[FileChange, ...]
    untracked: tuple[str, ...] = ()
    cut: int = 0


async def empty_tree(view: View) -> str:
    """The id of the tree without files, which git knows in every repository. Raises `GitError`."""
    found = await view.tree.repository.tell("hash-object", "-t", "tree", "--stdin", data=b"")
    return found.text


async def uncommitted(view: View) -> Span:
    """All changes of files and index since the last commit. Raises `GitTrouble`."""
    files_of(view)
    name, base = await _head(view)
    return Span(f"Uncommitted changes, compared with {name}", (base,), view.specs, untracked=True)


async def staged(view: View) -> Span:
    """What is in the index and not in the last commit. Raises `GitTrouble`."""
    files_of(view)
    name, base = await _head(view)
    return Span(f"Staged changes, compared with {name}", ("--cached", base), view.specs)


def unstaged(view: View) -> Span:
    """What the files hold and the index does not. Raises `GitTrouble`."""
    files_of(view)
    return Span("Changes that are not staged, compared with the index", (), view.specs, untracked=True)


async def since(view: View, revision: str) -> Span:
    """The files against a commit, or, for `a..b` and `a...b`, two commits. Raises `GitTrouble`."""
    for dots in ("...", ".."):
        first, found, last = revision.partition(dots)
        if found:
            old, new = await commit_of(view, first or "HEAD"), await commit_of(view, last or "HEAD")
            base = await _merge_base(view, old, new) if dots == "..." else old
            return Span(f"Changes {revision}", (base, new))
    files_of(view)
    base = await commit_of(view, revision)
    return Span(f"Files compared with {revision} ({base[:10]})", (base,), view.specs, untracked=True)


async def report(view: View, span: Span, room: int = PATCH_CHARS) -> Report:
    """The files of a difference, then its text in at most about `room` characters. Raises `GitTrouble`."""
    found = await overview(view, span)
    shown = [file for file in found.files if span.secrets or not _hidden(file)]
    with told("The changes cannot be compared"):
        sections, cut = await _sections(view, span, shown, room - len(found.text))
    hidden = len(found.files) - len(shown)
    notes = [f"[{cut} of {len(shown)} files are cut or left out: name a path to see more]"] if cut else []
    if hidden:
        notes.append(f"[not shown, because they may hold secrets: {hidden} of the files]")
    text = "\n".join([found.text, *sections, *notes])
    return Report(text, found.files, found.untracked, cut + hidden)


async def overview(view: View, span: Span) -> Report:
    """What is different, without the text of the difference. Raises `GitTrouble`."""
    options = ("--raw", "--numstat", "-z", *_OPTIONS)
    with told("The changes cannot be compared"):
        answer = await view.tell("diff", *options, *span.sides, "--", *span.specs)
        untracked = await _untracked(view, span.specs) if span.untracked else ()
    files = _changes(answer.output)
    return Report(_listing(span.title, files, untracked), files, untracked)


async def _head(view: View) -> tuple[str, str]:
    found = await head(view)
    if found is not None:
        return f"HEAD ({found[:10]})", found
    with told("The changes cannot be compared"):
        return "nothing (there are no commits yet)", await empty_tree(view)


async def _merge_base(view: View, old: str, new: str) -> str:
    with told("The common ancestor cannot be found"):
        found = await view.ask("merge-base", old, new)
    if found.status:
        raise GitTrouble("The two commits have no common history: compare them with two dots.")
    return found.text


async def _untracked(view: View, specs: tuple[str, ...]) -> tuple[str, ...]:
    options = ("--others", "--exclude-standard", "--directory", "--no-empty-directory", "--full-name", "-z")
    found = await view.tell("ls-files", *options, "--", *specs)
    return tuple(os.fsdecode(name) for name in found.output.split(b"\0")[:-1])


# --- which files ---------------------------------------------------------------------------------


def _changes(output: bytes) -> tuple[FileChange, ...]:
    """The entries of `diff -z --raw --numstat`: all raw ones, then the counts.

    A conflict comes twice, without and with its counts.
    """
    parts = iter(output.split(b"\0")[:-1])
    found: dict[str, FileChange] = {}
    for part in parts:
        if part.startswith(b":"):
            change = _raw(part, parts)
            known = found.get(change.path)
            found[change.path] = replace(change, letter="U") if known and known.letter == "U" else change
            continue
        added, removed, name = part.split(b"\t", 2)
        if not name:
            next(parts)
            name = next(parts)
        path = os.fsdecode(name)
        if added != b"-":
            known = found[path]
            counts = (known.added or 0) + int(added), (known.removed or 0) + int(removed)
            found[path] = replace(known, added=counts[0], removed=counts[1])
    return tuple(found.values())


def _raw(part: bytes, parts: Iterator[bytes]) -> FileChange:
    old_mode, new_mode, _, _, letter = part[1:].decode("ascii").split(" ")
    first = os.fsdecode(next(parts))
    second = os.fsdecode(next(parts)) if letter[0] in "RC" else None
    submodule = _SUBMODULE in (old_mode, new_mode)
    return FileChange(second or first, letter[0], first if second else None, submodule=submodule)


def _listing(title: str, files: Sequence[FileChange], untracked: Sequence[str]) -> str:
    added = sum(file.added or 0 for file in files)
    removed = sum(file.removed or 0 for file in files)
    counted = (
        f"{len(files)} {'file' if len(files) == 1 else 'files'}, +{added} -{removed}"
        if files
        else "no changes"
    )
    lines = [f"{title}: {counted}", *map(_line, files[:FILES_LISTED])]
    if len(files) > FILES_LISTED:
        lines.append(f"[{len(files) - FILES_LISTED} more files]")
    lines += [f"? {printable(path)} (untracked)" for path in untracked[:FILES_LISTED]]
    if len(untracked) > FILES_LISTED:
        lines.append(f"[{len(untracked) - FILES_LISTED} more untracked files]")
    return "\n".join(lines)


def _line(file: FileChange) -> str:
    name = printable(file.path)
    if file.old_path is not None:
        name = f"{printable(file.old_path)} -> {name}"
    if file.submodule:
        return f"{file.letter} {name} (submodule)"
    if file.added is None:
        return f"{file.letter} {name} (binary or large)"
    return f"{file.letter} {name} +{file.added} -{file.removed}"


def _hidden(file: FileChange) -> bool:
    return any(path is not None and secret(path) for path in (file.path, file.old_path))


# --- their text ----------------------------------------------------------------------------------


async def _sections(view: View, span: Span, files: Sequence[FileChange], room: int) -> tuple[list[str], int]:
    """The text of each file as far as the room goes, and how many are not there whole."""
    shown: list[str] = []
    whole = 0
    most = room if len(files) == 1 else room // 2
    for at in range(0, len(files) if room > 0 else 0, _AT_ONCE):
        names = [path for file in files[at : at + _AT_ONCE] for path in (file.old_path, file.path) if path]
        specs = map(pathspec, names)
        answer = await view.tell("diff", *_PATCH, *_OPTIONS, *span.sides, "--", *specs)
        for section in _split(answer.output):
            if room <= 0:
                return shown, len(files) - whole
            text = _cut(section, min(room, most))
            whole += len(text) == len(section)
            shown.append(text)
            room -= len(text) + 1
    return shown, max(0, len(files) - whole)


def _split(output: bytes) -> Iterator[str]:
    """The differences of the single files."""
    section: list[bytes] = []
    for line in output.split(b"\n"):
        if line.startswith(_SECTIONS) and section:
            yield b"\n".join(section).decode("utf-8", "replace")
            section = []
        section.append(line)
    if any(section):
        yield b"\n".join(section).decode("utf-8", "replace").rstrip("\n")


def _cut(section: str, limit: int) -> str:
    if len(section) <= limit:
        return section
    return f"{section[:limit]}\n[… {len(section) - limit:,} more characters of this file]"
