"""Bringing a session's work into the user's files as they are now: three-way, all or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.places import Places, Version
from hermes_acp.workspace.review import Change, Since, base_of, differences
from hermes_acp.workspace.swap import Clash, DamagedJournal, Exchange, Order, Swap, read, take_back
from hermes_acp.workspace.three_way import merge_commits
from hermes_acp.workspace.worktrees.trees import (
    LONG_SECONDS,
    Bench,
    Snapshot,
    Tree,
    WorktreeError,
    bench,
    commit_tree,
    explained,
    joined,
    open_tree,
    quoted,
    snapshot,
    snapshot_of,
    split,
)
from hermes_acp.workspace.worktrees.turns import turn
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree

_SUBMODULE = "160000"
_OBJECTS = "sha1"
"""What files on the disk are named with here, whatever the repository takes."""
_NO_FILTER = ("unspecified", "unset", "set", "")
_KINDS = {
    "000000": "nothing", "100644": "a file", "100755": "a file", "120000": "a link", _SUBMODULE: "folder",
}  # fmt: skip


@record
class Applied:
    """What was written to the user's files; with conflicts, nothing was.

    `left_out` are repositories within the worktree and very large new files, which are not applied.
    """

    files: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    left_out: tuple[str, ...] = ()


async def apply(place: Place, worktree: Worktree, onto: str, since: Since = "applied") -> Applied:
    """Merge the session's work into the working tree around the folder `onto`.

    Only what is new since the last time is merged, or with `start` everything. The user's index,
    HEAD and stash are not touched, and no file whose content is not the one that was merged. Once
    files are being written, a cancellation waits for the end. Raises `WorktreeError`.
    """
    with explained(f"{worktree.branch} was not applied"):
        ours = await open_tree(onto, place.env)
        top = ours.files()
        async with _alone(place):
            theirs = await open_tree(worktree.path, place.env)
            if theirs.common_dir != ours.common_dir:
                raise WorktreeError(f"{printable(top)} is of another repository: nothing was changed.")
            base = await base_of(theirs, worktree, since)
            work, taken = await _record(theirs, base)
            async with bench(ours) as at:
                result = await _merge(place, ours, at, base, work)
            if not result.conflicts:
                await to_the_end(theirs.repository.tell("update-ref", worktree.applied_ref, work))
            return Applied(result.files, result.conflicts, (*taken.nested, *taken.large))


async def recover(place: Place) -> tuple[str, ...]:
    """Undo what a crash left half applied; gives the files that somebody changed in between.

    Those stay as they are. Waits for another process that applies. Raises `WorktreeError`.
    """
    with explained("An interrupted apply was not undone"):
        async with _alone(place) as kept:
            return kept


# --- computing -----------------------------------------------------------------------------------


async def _record(theirs: Tree, base: str) -> tuple[str, Snapshot]:
    """The session's files as a commit on its base, in the repository so that it can be kept."""
    async with bench(theirs, keep=True) as at:
        taken = await snapshot(theirs, at)
        return await commit_tree(theirs, taken.tree, [base], "Work of the session\n", at.variables), taken


async def _merge(place: Place, ours: Tree, at: Bench, base: str, work: str) -> Applied:
    changed = await ours.repository.tell("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, work)
    paths = split(changed.output)
    mine = await snapshot_of(ours, at, paths)
    user = await commit_tree(ours, mine, [base], "The user's files\n", at.variables)
    merged = await merge_commits(ours, at, user, work)
    if merged.conflicts:
        return Applied(conflicts=merged.conflicts)
    targets = await _targets(ours, at, mine, merged.tree)
    if refused := [*await _unmanageable(ours, targets), *await _different(ours, targets)]:
        return Applied(conflicts=tuple(refused))
    files = await differences(ours, at, mine, merged.tree)
    if targets:
        await _write(place, ours, at, merged.tree, targets)
    return Applied(files)


@record
class _Target:
    """A path to write: modes before and after, and the contents before, as git names them.

    `now` is what is on the disk, byte for byte; None where git knows of no file.
    """

    path: str
    old_mode: str
    new_mode: str
    old: str
    now: Version | None


async def _targets(tree: Tree, at: Bench, old: str, new: str) -> list[_Target]:
    raw = await tree.repository.tell(
        "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new, variables=at.variables
    )
    # Read before it is found to be what was merged: what changes from now on stops the exchange.
    return await asyncio.to_thread(_parsed, raw.output, tree.files())


def _parsed(raw: bytes, top: str) -> list[_Target]:
    parts = raw.split(b"\0")[:-1]
    found: list[_Target] = []
    with Places(top) as places:
        for about, name in zip(parts[::2], parts[1::2], strict=True):
            path = os.fsdecode(name)
            old_mode, new_mode, blob, *_ = about[1:].decode("ascii").split(" ")
            now = places.version(path, _OBJECTS) if old_mode.strip("0") else None
            found.append(_Target(path, old_mode, new_mode, blob, now))
    return found


async def _unmanageable(tree: Tree, targets: Sequence[_Target]) -> list[Conflict]:
    """Submodules, and files that only their filter can write."""
    found = [
        Conflict(each.path, "this is a submodule: update it by hand")
        for each in targets
        if _SUBMODULE in (each.old_mode, each.new_mode)
    ]
    found += [
        Conflict(path, f"the filter {name} would have to run: check this file out by hand")
        for path, name in (await filters(tree, [each.path for each in targets])).items()
    ]
    return found


async def filters(tree: Tree, paths: Sequence[str]) -> dict[str, str]:
    """The paths with a content filter that the user has configured, with its name. Raises `GitError`."""
    if not paths:
        return {}
    listing = await tree.repository.tell("check-attr", "-z", "--stdin", "filter", data=joined(paths))
    parts = [os.fsdecode(part) for part in listing.output.split(b"\0")[:-1]]
    named = {path: name for path, name in zip(parts[::3], parts[2::3], strict=True) if name not in _NO_FILTER}
    if not named:
        return {}
    query = ("config", "--includes", "--null", "--name-only", "--get-regexp", r"^filter\.")
    configured = {
        name.split(".", 1)[1].rpartition(".")[0] for name in split((await tree.repository.ask(*query)).output)
    }
    return {path: name for path, name in named.items() if name in configured}


async def _different(tree: Tree, targets: Sequence[_Target]) -> list[Conflict]:
    """Files on the disk that are not what was merged, whatever made them so."""
    top = Path(tree.files())
    found = await asyncio.to_thread(_in_the_way, top, targets)
    blocked = {each.path for each in found}
    ordinary = [each for each in targets if each.old_mode.startswith("100") and each.path not in blocked]
    names = "".join(f"{quoted(each.path)}\n" for each in ordinary).encode()
    hashing = ("hash-object", "--stdin-paths")
    made = (await tree.repository.tell(*hashing, data=names, seconds=LONG_SECONDS)).text.split()
    return found + [
        Conflict(each.path, "the file on the disk is not the one that git sees")
        for each, now in zip(ordinary, made, strict=True)
        if now != each.old
    ]


def _in_the_way(top: Path, targets: Sequence[_Target]) -> list[Conflict]:
    """What stands where something else was expected."""
    leaving = {each.path for each in targets if not each.new_mode.strip("0")}
    found: list[Conflict] = []
    for each in targets:
        folders = {str(parent) for parent in Path(each.path).parents}
        if not _reachable(top, each.path):
            if not folders & leaving:
                found.append(Conflict(each.path, "a file or a link stands where its folder should be"))
            continue
        kind = _kind(top / each.path)
        if kind == "folder" and any(file not in leaving for file in _files_below(top, each.path)):
            found.append(Conflict(each.path, "a folder with files of yours is in the way"))
        elif kind != _KINDS[each.old_mode] and not (kind == "folder" and _KINDS[each.old_mode] == "nothing"):
            found.append(Conflict(each.path, f"there is {kind} on the disk that git does not see"))
    return found


def _reachable(top: Path, path: str) -> bool:
    """Whether no link, and no file, stands where the path has folders."""
    return all(_kind(top / parent) in ("folder", "nothing") for parent in Path(path).parents)


def _kind(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    if stat.S_ISLNK(mode):
        return "a link"
    return "a file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "a special file"


def _files_below(top: Path, path: str) -> Iterator[str]:
    for folder, _, files in os.walk(top / path):
        yield from (os.path.relpath(Path(folder, file), top) for file in files)


# --- writing -------------------------------------------------------------------------------------


async def _write(place: Place, tree: Tree, at: Bench, merged: str, targets: Sequence[_Target]) -> None:
    """Exchange the files on the disk; all of them, or after a failure none."""
    wanted = Path(at.folder, "wanted")
    await asyncio.to_thread(wanted.mkdir)
    await tree.repository.tell("read-tree", merged, variables=at.variables)
    await tree.repository.tell(
        *("checkout-index", "-z", "--stdin", f"--prefix={wanted}/"),
        data=joined(each.path for each in targets if each.new_mode.strip("0")),
        variables=at.variables,
        seconds=LONG_SECONDS,
    )
    await to_the_end(asyncio.to_thread(_exchange, _journals(place), tree.files(), targets, wanted))


def _exchange(journals: Path, root: str, targets: Sequence[_Target], wanted: Path) -> None:
    with Places(str(wanted)) as places:
        exchanges = tuple(_planned(places, each) for each in targets)
    journal = journals / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:24]}.json"
    swap = Swap(Order(root, _OBJECTS, exchanges), journal)
    try:
        swap.prepare()
        swap.stage({each.after.blob: wanted / each.path for each in exchanges if each.after})
        swap.apply()
        swap.finish()
    except (Clash, OSError) as error:
        raise WorktreeError(f"{_cause(error)}: {_put_back(journal)}") from error


def _planned(wanted: Places, target: _Target) -> Exchange:
    found = wanted.find(target.path) if target.new_mode.strip("0") else None
    if found is None:
        return Exchange(target.path, target.now, None, 0)
    after = wanted.version(target.path, _OBJECTS)
    return Exchange(target.path, target.now, after, stat.S_IMODE(found.st_mode))


def _put_back(journal: Path) -> str:
    try:
        kept = take_back(journal)
    except OSError as error:
        return f"not everything could be put back yet ({_cause(error)}). That is done at the next attempt."
    if kept:
        names = ", ".join(map(printable, kept))
        return f"everything was put back, except what somebody changed at that time: {names}."
    return "everything was put back. Try again."


def _cause(error: Clash | OSError) -> str:
    if isinstance(error, Clash):
        return str(error)
    return f"{error.strerror} ({printable(str(error.filename))})" if error.filename else str(error.strerror)


# --- one at a time -------------------------------------------------------------------------------


def _journals(place: Place) -> Path:
    return Path(place.folder, "applying")


@asynccontextmanager
async def _alone(place: Place) -> AsyncGenerator[tuple[str, ...]]:
    """Keep other processes from applying, after what was interrupted is undone; gives what `undo` gives."""
    busy = "Another session is applying its work: try again when it is done."
    async with turn(_journals(place) / "lock", busy):
        yield await to_the_end(asyncio.to_thread(_undo_all, _journals(place)))


def _undo_all(journals: Path) -> tuple[str, ...]:
    kept: list[str] = []
    try:
        for journal in sorted(journals.glob("*.json")):
            # What is in a tree that is gone may come back with it.
            if (found := read(journal)) is not None and Path(found.root).is_dir():
                kept += [str(Path(found.root, path)) for path in take_back(journal)]
    except DamagedJournal as error:
        raise WorktreeError(str(error)) from error
    return tuple(kept)
