"""Worktrees that were given up: removed, but kept for a while so that they can be recovered."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.git import Repository
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.worktrees.folders import empty_trash
from hermes_acp.workspace.worktrees.spare import drop
from hermes_acp.workspace.worktrees.trees import (
    LONG_SECONDS,
    Snapshot,
    Tree,
    WorktreeError,
    bench,
    commit_tree,
    explained,
    open_tree,
    snapshot,
)
from hermes_acp.workspace.worktrees.worktrees import (
    Created,
    Place,
    Worktree,
    filled,
    listed,
    reserved,
    take_back,
    taken_back,
)

REFS = "refs/hermes/discarded/"
KEPT_DAYS = 30
NAMES = 1_000
"""More worktrees of the same name and day are refused."""

_DAY = 86_400


@record
class Discarded:
    """What was in a worktree when it was given up; `name` is its handle, `at` seconds since the epoch."""

    name: str
    commit: str
    at: int
    branch: str
    base: str
    began: str
    tip: str


@record
class Cleaned:
    """What `clean` removed, saved because its folder was gone, forgot for its age, and left alone."""

    removed: tuple[str, ...] = ()
    saved: tuple[Discarded, ...] = ()
    expired: tuple[Discarded, ...] = ()
    kept: tuple[str, ...] = ()


async def discard(place: Place, worktree: Worktree, now: float | None = None) -> Discarded:
    """Remove the worktree with its branch, after all of it was recorded; ignored files are lost.

    Commits, uncommitted and untracked files can be recovered for `KEPT_DAYS`. Once it has begun, a
    cancellation waits for the end. Raises `WorktreeError`: then it is all still there.
    """
    with explained(f"{worktree.branch} was not discarded"):
        tree = await open_tree(place.root, place.env)
        return await to_the_end(_discard(place, tree, worktree, int(now or time.time())))


async def discarded(place: Place) -> tuple[Discarded, ...]:
    """What can be recovered, oldest first. Raises `WorktreeError`."""
    with explained("Discarded worktrees cannot be listed"):
        return await _all(await open_tree(place.root, place.env))


async def recover(place: Place, name: str, reason: str) -> Created:
    """Make a worktree as it was when it was given up, locked for `reason`. Raises `WorktreeError`.

    Branch and commits are as they were; everything else comes back as uncommitted.
    """
    with explained(f"{printable(name)} was not recovered"):
        tree = await open_tree(place.root, place.env)
        found = next((each for each in await _all(tree) if each.name == name), None)
        if found is None:
            raise WorktreeError(f"Nothing of this name was discarded in the last {KEPT_DAYS} days.")
        wanted = Worktree(found.branch.rpartition("/")[2], found.base, found.began, reason)
        worktree = await reserved(place, tree, wanted)
        async with taken_back(tree, worktree, found.tip):
            notes = await filled(place, tree, worktree, found.tip)
            await _restore(Repository(worktree.path, place.env), found)
        await tree.repository.tell("update-ref", "-d", REFS + name, found.commit)
        return Created(worktree, tuple(notes))


async def expire(place: Place, now: float | None = None) -> tuple[Discarded, ...]:
    """Forget what was given up more than `KEPT_DAYS` ago. Raises `WorktreeError`."""
    with explained("Discarded worktrees were not expired"):
        tree = await open_tree(place.root, place.env)
        oldest = int(now or time.time()) - KEPT_DAYS * _DAY
        old = tuple(each for each in await _all(tree) if each.at < oldest)
        orders = "".join(f"delete {REFS}{each.name} {each.commit}\n" for each in old)
        await tree.repository.tell("update-ref", "--stdin", data=orders.encode())
        return old


async def clean(place: Place, now: float | None = None) -> Cleaned:
    """Remove unlocked worktrees that hold nothing of their own, expire what was discarded, drop the spare.

    Of an unlocked worktree whose folder is gone, the commits are kept as if it had been discarded.
    Raises `WorktreeError`.
    """
    removed: list[str] = []
    saved: list[Discarded] = []
    kept: list[str] = []
    for worktree in await listed(place):
        if worktree.locked is not None:
            kept.append(worktree.name)
        elif worktree.missing:
            saved.append(await discard(place, worktree, now))
        elif await _is_empty(place, worktree):
            await _drop(place, worktree)
            removed.append(worktree.name)
        else:
            kept.append(worktree.name)
    with explained("The worktrees were not cleaned"):
        await drop(place, await open_tree(place.root, place.env))
        await asyncio.to_thread(empty_trash, place.worktrees)
    return Cleaned(tuple(removed), tuple(saved), await expire(place, now), tuple(kept))


# --- giving up -----------------------------------------------------------------------------------


async def _discard(place: Place, tree: Tree, worktree: Worktree, now: int) -> Discarded:
    tip = await tree.commit(f"refs/heads/{worktree.branch}") or worktree.base
    content, parents = tip + "^{tree}", [tip, worktree.base, worktree.began]
    if await asyncio.to_thread(Path(worktree.path).is_dir):
        taken, more = await _record(place, worktree)
        content, parents = taken.tree, [*parents, *more]
    message = f"{worktree.branch}\n\nTip: {tip}\nBase: {worktree.base}\nBegan: {worktree.began}\n"
    date = {"GIT_COMMITTER_DATE": f"{now} +0000", "GIT_AUTHOR_DATE": f"{now} +0000"}
    commit = await commit_tree(tree, content, parents, message, date)
    name = await _store(tree, worktree, commit, now)
    await take_back(tree, worktree, tip)
    return Discarded(name, commit, now, worktree.branch, worktree.base, worktree.began, tip)


async def _record(place: Place, worktree: Worktree) -> tuple[Snapshot, list[str]]:
    """All that is in the worktree, and the commits that it alone may know."""
    own = await open_tree(worktree.path, place.env)
    async with bench(own, keep=True) as at:
        taken = await snapshot(own, at, limit=None)
    if taken.nested:
        names = ", ".join(map(printable, taken.nested))
        raise WorktreeError(f"There are repositories of their own in it ({names}): move them away first.")
    known = [await own.commit(name) for name in ("HEAD", worktree.applied_ref)]
    return taken, [commit for commit in known if commit]


async def _store(tree: Tree, worktree: Worktree, commit: str, now: int) -> str:
    """Keep the commit under a name that is free."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    taken = {each.name for each in await _all(tree)}
    first = f"{day}-{worktree.name}"
    names = (first, *(f"{first}-{number}" for number in range(2, NAMES)))
    name = next((name for name in names if name not in taken), None)
    if name is None:
        raise WorktreeError(f"{NAMES} worktrees of this name were discarded today: wait until tomorrow.")
    await tree.repository.tell("update-ref", "--create-reflog", REFS + name, commit, "")
    return name


# --- finding and restoring -----------------------------------------------------------------------


async def _all(tree: Tree) -> tuple[Discarded, ...]:
    form = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents)%00"
    listing = await tree.repository.tell("for-each-ref", "--sort=committerdate", f"--format={form}", REFS)
    parts = listing.output.decode("utf-8", "replace").split("\0")
    found: list[Discarded] = []
    for ref, commit, at, message in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=False):
        branch, _, rest = message.partition("\n")
        facts = dict(line.split(": ", 1) for line in rest.split("\n") if ": " in line)
        if {"Tip", "Base", "Began"} <= set(facts):
            name = ref.strip().removeprefix(REFS)
            found.append(
                Discarded(name, commit, int(at), branch, facts["Base"], facts["Began"], facts["Tip"])
            )
    return tuple(found)


async def _restore(own: Repository, found: Discarded) -> None:
    """Bring the files to what was recorded, with an index that shows the difference to the branch."""
    await own.tell("read-tree", "-m", "-u", found.tip, found.commit, seconds=LONG_SECONDS)
    await own.tell("read-tree", found.tip)
    await own.ask("update-index", "-q", "--refresh", seconds=LONG_SECONDS)


async def _is_empty(place: Place, worktree: Worktree) -> bool:
    """Whether nothing would be lost: no changes, and all commits are on other branches."""
    with explained(f"{worktree.branch} cannot be looked at"):
        own = await open_tree(worktree.path, place.env)
        status = ("status", "--porcelain", "-z", "--untracked-files=normal")
        dirty = (await own.repository.tell(*status, seconds=LONG_SECONDS)).output
        if dirty or await own.branch() != worktree.branch:
            return False
        others = ("HEAD", "--not", worktree.base, f"--exclude={worktree.branch}", "--branches")
        return not (await own.repository.tell("rev-list", "-1", *others)).output


async def _drop(place: Place, worktree: Worktree) -> None:
    with explained(f"{worktree.branch} was not removed"):
        tree = await open_tree(place.root, place.env)
        tip = await tree.commit(f"refs/heads/{worktree.branch}")
        await to_the_end(take_back(tree, worktree, tip or worktree.base))
