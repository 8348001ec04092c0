"""Linked worktrees in which sessions work apart from the user's files: made, listed, locked, repaired."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.git import Repository
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.worktrees.folders import registering, remove, reserve
from hermes_acp.workspace.worktrees.included import copy_included
from hermes_acp.workspace.worktrees.spare import take
from hermes_acp.workspace.worktrees.trees import (
    LONG_SECONDS,
    Place,
    Tree,
    WorktreeError,
    bench,
    commit_tree,
    explained,
    open_tree,
    snapshot,
    split,
)

__all__ = [
    "Created", "Place", "Worktree", "WorktreeError",
    "create", "find", "listed", "lock", "repair", "slug", "unlock",
]  # fmt: skip

BRANCHES = "hermes/"
"""Our branches are below this name; the last part is also the name of the worktree's folder."""

REFS = "refs/hermes/worktrees/"
"""Below this and the name of a worktree are its references, which keep commits from being collected."""

SLUG_CHARS = 40
NAMES = 1_000
"""More worktrees with the same slug are refused."""
REASON_CHARS = 200
"""Longer reasons of a lock are cut."""


@record
class Worktree:
    """A linked worktree of ours at the real `path`.

    `base` is the commit that the session's work is compared with. It equals `began`, the user's
    commit that it all started from, unless uncommitted changes were carried over: then it stands
    on top of it. `locked` is the reason of its lock; `missing` says that the folder is gone.
    """

    path: str
    base: str
    began: str
    locked: str | None = None
    missing: bool = False

    @property
    def name(self) -> str:
        """The last part of its path and of its branch."""
        return Path(self.path).name

    @property
    def branch(self) -> str:
        """Its own branch."""
        return BRANCHES + self.name

    @property
    def base_ref(self) -> str:
        """Keeps `base`."""
        return f"{REFS}{self.name}/base"

    @property
    def began_ref(self) -> str:
        """Keeps `began`."""
        return f"{REFS}{self.name}/began"

    @property
    def applied_ref(self) -> str:
        """Keeps what was last applied to the user's files, once something was."""
        return f"{REFS}{self.name}/applied"

    @property
    def carried(self) -> bool:
        """Whether it started with the user's uncommitted changes."""
        return self.base != self.began


@record
class Created:
    """A new worktree, and sentences for the user about what it does not have."""

    worktree: Worktree
    notes: tuple[str, ...] = ()


def slug(title: str) -> str:
    """A title as the last part of a branch name: lower case letters, digits and hyphens; pure."""
    plain = unicodedata.normalize("NFKD", title.casefold()).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words[:SLUG_CHARS].rstrip("-") or "session"


async def create(place: Place, title: str, reason: str, *, with_changes: bool = False) -> Created:
    """Make a worktree on a branch of its own, from the user's last commit, locked for `reason`.

    `with_changes` carries over what is staged, changed and untracked, too. Nothing of the user's
    tree, index, stash or branches is touched; no hook and no filter runs. Raises `WorktreeError`;
    then, and on cancellation, nothing is left behind.
    """
    with explained("The worktree was not created"):
        tree = await open_tree(place.root, place.env)
        began = await _first_commit(tree)
        base = await _carry(tree, began) if with_changes else began
        worktree = await reserved(place, tree, Worktree(slug(title), base, began, reason))
        async with taken_back(tree, worktree, base):
            filling = filled(place, tree, worktree, base)
            both = asyncio.gather(
                filling, _left_behind(tree, with_changes=with_changes), return_exceptions=True
            )
            absent, stayed = await both
            if isinstance(absent, BaseException):
                raise absent
            if isinstance(stayed, BaseException):
                raise stayed
            included = await copy_included(tree, worktree.path)
            return Created(worktree, (*stayed, *absent, *included.notes))


async def listed(place: Place) -> tuple[Worktree, ...]:
    """Our worktrees of this repository, missing ones too, by name. Raises `WorktreeError`."""
    with explained("The worktrees cannot be listed"):
        tree = await open_tree(place.root, place.env)
        listing = await listing_of(place.worktrees, tree)
        refs = await tree.repository.tell("for-each-ref", "--format=%(refname) %(objectname)", REFS)
        known = dict(line.split(" ") for line in refs.text.splitlines())
        records = (each for each in _records(listing) if _is_ours(place, each["worktree"]))
        found = [_worktree(each, known) for each in records]
        missing = await asyncio.to_thread(lambda: [not Path(each.path).is_dir() for each in found])
    marked = (replace(each, missing=gone) for each, gone in zip(found, missing, strict=True))
    return tuple(sorted(marked, key=lambda each: each.name))


async def find(place: Place, name: str) -> Worktree:
    """The worktree of that name. Raises `WorktreeError` when there is none."""
    for worktree in await listed(place):
        if worktree.name == name:
            return worktree
    raise WorktreeError(
        f"There is no worktree {printable(name)}: it was discarded, or is of another project."
    )


async def lock(place: Place, worktree: Worktree, reason: str) -> None:
    """Mark the worktree as in use, whatever it was before. Raises `WorktreeError`."""
    await unlock(place, worktree)
    with explained(f"{worktree.branch} was not locked"):
        tree = await open_tree(place.root, place.env)
        await tree.repository.tell("worktree", "lock", "--reason", _line(reason), "--", worktree.path)


async def unlock(place: Place, worktree: Worktree) -> None:
    """Mark the worktree as free, whatever it was before. Raises `WorktreeError`."""
    with explained(f"{worktree.branch} was not unlocked"):
        tree = await open_tree(place.root, place.env)
        # git refuses what is free already, and that is as good.
        await tree.repository.ask("worktree", "unlock", "--", worktree.path)


async def repair(place: Place) -> None:
    """Join repository and worktrees again after either was moved. Raises `WorktreeError`."""
    with explained("The worktrees were not repaired"):
        tree = await open_tree(place.root, place.env)
        folders = await asyncio.to_thread(lambda: [str(path) for path in place.worktrees.glob("*/.git")])
        if folders:
            paths = [str(Path(folder).parent) for folder in folders]
            await tree.repository.tell("worktree", "repair", "--", *paths)


async def take_back(tree: Tree, worktree: Worktree, tip: str) -> None:
    """Remove the folder, and the branch where it still is at `tip`. Raises `GitError` and `OSError`."""
    await remove(tree, worktree.path)
    # Somebody who moved or checked out the branch meanwhile wants it.
    listing = await listing_of(Path(worktree.path).parent, tree)
    if f"branch refs/heads/{worktree.branch}".encode() not in listing.split(b"\0"):
        await tree.repository.ask("update-ref", "-d", f"refs/heads/{worktree.branch}", tip)
    orders = "".join(
        f"delete {ref}\n" for ref in (worktree.base_ref, worktree.began_ref, worktree.applied_ref)
    )
    await tree.repository.tell("update-ref", "--stdin", data=orders.encode())


async def listing_of(worktrees: Path, tree: Tree) -> bytes:
    """What `git worktree list --porcelain -z` says. Raises `GitError`."""
    async with registering(worktrees):
        return (await tree.repository.tell("worktree", "list", "--porcelain", "-z")).output


# --- making one ----------------------------------------------------------------------------------


async def _first_commit(tree: Tree) -> str:
    commit = await tree.commit("HEAD")
    if commit is None:
        raise WorktreeError(
            "The repository has no commit yet, and a worktree starts from one: "
            "make a first commit (git commit --allow-empty -m Start), or work in place."
        )
    return commit


async def _carry(tree: Tree, head: str) -> str:
    """A commit of the user's uncommitted changes that only we know; `head` when there are none."""
    tree.files()
    if (await tree.repository.tell("ls-files", "--unmerged", "-z")).output:
        raise WorktreeError(
            "There are conflicts in the working tree, which cannot be carried over: "
            "resolve them, or start from the last commit."
        )
    async with bench(tree, keep=True) as at:
        taken = await snapshot(tree, at)
        if taken.tree == (await tree.repository.tell("rev-parse", head + "^{tree}")).text:
            return head
        return await commit_tree(tree, taken.tree, [head], "Uncommitted changes\n", at.variables)


async def reserved(place: Place, tree: Tree, wanted: Worktree) -> Worktree:
    """The wanted worktree under a name that no other and no branch has; its folder is made.

    The path of `wanted` is a name alone. Raises `GitError`, `OSError` and `WorktreeError`.
    """
    refs = await tree.repository.tell("for-each-ref", "--format=%(refname)", "refs/heads/" + BRANCHES)
    taken = {line.removeprefix("refs/heads/" + BRANCHES) for line in refs.text.splitlines()}
    free = (name for name in _names(wanted.path) if name not in taken)
    if name := await asyncio.to_thread(reserve, place.worktrees, free):
        return replace(wanted, path=str(place.worktrees / name), locked=_line(wanted.locked or ""))
    raise WorktreeError(f"There are {NAMES} branches like {BRANCHES}{wanted.path} already: remove some.")


@asynccontextmanager
async def taken_back(tree: Tree, worktree: Worktree, tip: str) -> AsyncGenerator[None]:
    """Leave nothing of the worktree when the block fails or is cancelled."""
    try:
        yield
    except BaseException:
        await to_the_end(take_back(tree, worktree, tip))
        raise


async def filled(place: Place, tree: Tree, worktree: Worktree, tip: str) -> list[str]:
    """Check out `tip` in the reserved folder; gives what is not there. Raises `GitError`."""
    own = Repository(worktree.path, place.env)
    await _check_out(tree, own, worktree, tip)
    refs = f"create {worktree.base_ref} {worktree.base}\ncreate {worktree.began_ref} {worktree.began}\n"
    await tree.repository.tell("update-ref", "--stdin", data=refs.encode())
    return await _absent(own, worktree.path)


def _names(wanted: str) -> Iterator[str]:
    yield wanted
    yield from (f"{wanted}-{number}" for number in range(2, NAMES + 1))


async def _check_out(tree: Tree, own: Repository, worktree: Worktree, commit: str) -> None:
    """Take the spare checkout and switch it to the commit, or write all files anew."""
    folder, reason = Path(worktree.path).parent, ("--reason", worktree.locked or "")
    async with registering(folder):
        if spare := await take(tree, folder, worktree.path):
            await tree.repository.tell("worktree", "unlock", "--", worktree.path)
            await tree.repository.tell("worktree", "lock", *reason, "--", worktree.path)
        else:
            options = ("--quiet", "--no-checkout", "--no-track", "--lock", *reason, "-b", worktree.branch)
            await tree.repository.tell("worktree", "add", *options, "--", worktree.path, commit)
    switch = ("checkout", "--force", "--quiet", "--no-track", "-b", worktree.branch, commit)
    await own.tell(*(switch if spare else ("reset", "--hard", "--quiet")), seconds=LONG_SECONDS)


async def _left_behind(tree: Tree, *, with_changes: bool) -> list[str]:
    notes: list[str] = []
    if operation := await tree.operation():
        notes.append(
            f"A {operation} is in progress in your files; the worktree starts from HEAD as it is now."
        )
    if with_changes or tree.top is None:
        return notes
    status = await tree.repository.tell(
        "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all"
    )
    if changed := len(split(status.output)):
        notes.append(f"Uncommitted changes in {_files(changed)} were not taken along.")
    return notes


async def _absent(own: Repository, path: str) -> list[str]:
    """What the checkout left as it is stored, because it would have run programs."""
    notes: list[str] = []
    query = ("grep", "--cached", "-h", "-o", "-E", "filter=[^[:space:]]+", "--", ":(glob)**/.gitattributes")
    answer = await own.ask(*query)
    if filters := sorted({line.partition("=")[2] for line in answer.text.splitlines()}):
        notes.append(f"Filters did not run ({', '.join(filters)}): their files are here as git stores them.")
    if await asyncio.to_thread(Path(path, ".gitmodules").is_file):
        notes.append(
            "Submodules are not checked out: run git submodule update --init there if you need them."
        )
    return notes


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:REASON_CHARS]


# --- listing -------------------------------------------------------------------------------------


def _records(listing: bytes) -> Iterator[dict[str, str]]:
    """What `git worktree list --porcelain -z` says of each worktree."""
    for entry in listing.decode("utf-8", "surrogateescape").split("\0\0"):
        fields = (line.partition(" ") for line in entry.split("\0") if line)
        values = {name: value for name, _, value in fields}
        if "worktree" in values and "HEAD" in values:
            yield values


def _is_ours(place: Place, path: str) -> bool:
    return Path(path).parent == place.worktrees and not Path(path).name.startswith(".")


def _worktree(record: dict[str, str], refs: dict[str, str]) -> Worktree:
    found = Worktree(record["worktree"], record["HEAD"], record["HEAD"], record.get("locked"))
    base = refs.get(found.base_ref, found.base)
    return replace(found, base=base, began=refs.get(found.began_ref, base))
