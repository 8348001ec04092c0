"""Merging the branch of a worktree into the branch that the user has checked out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.apply import filters
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.review import Change, differences
from hermes_acp.workspace.three_way import merge_commits
from hermes_acp.workspace.worktrees.trees import (
    LONG_SECONDS,
    Bench,
    Tree,
    WorktreeError,
    bench,
    explained,
    open_tree,
    snapshot,
    split,
)
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree, listing_of

_SUBMODULE = "160000"


@record
class Landed:
    """The user's branch and its commit after the merge; with conflicts, it is what it was before."""

    branch: str
    commit: str
    files: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


async def merge(place: Place, worktree: Worktree, onto: str, message: str) -> Landed:
    """Commit what is uncommitted in the worktree, and merge its branch into that of the tree `onto`.

    Commits carry the user's name and `message`; no hook runs and nothing is signed. The user's
    branch moves forward when it can, else it gets a merge commit. Work that began with uncommitted
    changes of the user becomes one commit without them. Files that the user has changed are never
    touched: they are reported as conflicts. Raises `WorktreeError`; nothing was merged then.
    """
    with explained(f"{worktree.branch} was not merged"):
        ours = await open_tree(onto, place.env)
        branch, head = await _ready(place, ours)
        theirs = await open_tree(worktree.path, place.env)
        if theirs.common_dir != ours.common_dir:
            raise WorktreeError(f"{printable(ours.files())} is of another repository: nothing was changed.")
        tip = await to_the_end(commit(theirs, worktree, message))
        async with bench(ours, keep=True) as at:
            target, conflicts = await _target(ours, at, worktree, (head, tip), message)
            if conflicts:
                return Landed(branch, head, conflicts=conflicts)
            files = await differences(ours, at, head, target)
        if refused := await _overlaps(ours, head, target):
            return Landed(branch, head, conflicts=tuple(refused))
        await to_the_end(_forward(ours, worktree, target))
        await theirs.repository.tell("update-ref", worktree.applied_ref, tip)
        return Landed(branch, target, files)


async def commit(theirs: Tree, worktree: Worktree, message: str) -> str:
    """Commit all that is not ignored in the worktree, as the user; gives the tip. Raises `GitError`."""
    if await theirs.branch() != worktree.branch:
        raise WorktreeError(
            f"{printable(worktree.path)} has another branch checked out than {worktree.branch}: "
            "check that one out there, or merge the other yourself."
        )
    head = await _head(theirs)
    async with bench(theirs, keep=True) as at:
        taken = await snapshot(theirs, at, limit=None)
        if taken.nested:
            names = ", ".join(map(printable, taken.nested))
            raise WorktreeError(
                f"There are repositories of their own in the worktree ({names}): move them away."
            )
        if taken.tree == (await theirs.repository.tell("rev-parse", head + "^{tree}")).text:
            return head
        made = await _commit_tree(theirs, taken.tree, [head], message)
        reflog = f"commit: {message.partition(chr(10))[0]}"
        await theirs.repository.tell("update-ref", "-m", reflog, "HEAD", made, head)
        await theirs.repository.tell("read-tree", made)
        # Its answer only says that files differ, which none does.
        await theirs.repository.ask("update-index", "-q", "--refresh", seconds=LONG_SECONDS)
    return made


async def _ready(place: Place, ours: Tree) -> tuple[str, str]:
    """The user's branch and its commit. Raises `WorktreeError` when it cannot take a merge now."""
    ours.files()
    if operation := await ours.operation():
        raise WorktreeError(f"A {operation} is in progress in your files: finish or abort it first.")
    branch = await ours.branch()
    if branch is None:
        raise WorktreeError("HEAD is detached in your files: check out a branch, or apply the work instead.")
    if await asyncio.to_thread(Path(ours.git_dir, "index.lock").exists):
        raise WorktreeError(
            "Another git command works on your files. When none is running, it was killed: "
            f"remove {printable(ours.git_dir)}/index.lock."
        )
    listing = await listing_of(place.worktrees, ours)
    if listing.split(b"\0").count(b"branch refs/heads/" + branch.encode()) > 1:
        raise WorktreeError(f"{branch} is checked out in several worktrees: merge it yourself.")
    return branch, await _head(ours)


async def _head(tree: Tree) -> str:
    head = await tree.commit("HEAD")
    if head is None:
        raise WorktreeError("There is no commit yet: make a first one.")
    return head


async def _target(
    ours: Tree, at: Bench, worktree: Worktree, commits: tuple[str, str], message: str
) -> tuple[str, tuple[Conflict, ...]]:
    """The commit that the user's branch shall have, or the conflicts on the way to it."""
    head, tip = commits
    if await _contains(ours, head, tip):
        return head, ()
    if not worktree.carried and await _contains(ours, tip, head):
        return tip, ()
    if not worktree.carried:
        merged = await merge_commits(ours, at, head, tip)
        parents = [head, tip]
    else:
        # On top of the carried changes, so that only what is the session's own remains.
        user = await _commit_tree(ours, head + "^{tree}", [worktree.base], message)
        work = await _commit_tree(ours, tip + "^{tree}", [worktree.base], message)
        merged = await merge_commits(ours, at, user, work)
        parents = [head]
    if merged.conflicts:
        return head, merged.conflicts
    return await _commit_tree(ours, merged.tree, parents, message), ()


async def _contains(tree: Tree, descendant: str, ancestor: str) -> bool:
    return (await tree.repository.ask("merge-base", "--is-ancestor", ancestor, descendant)).status == 0


async def _commit_tree(tree: Tree, content: str, parents: Sequence[str], message: str) -> str:
    """A commit in the user's name."""
    options = [part for parent in parents for part in ("-p", parent)]
    text = (message.strip() or "Work of the agent") + "\n"
    return (await tree.repository.tell("commit-tree", *options, content, data=text.encode())).text


async def _overlaps(ours: Tree, head: str, target: str) -> list[Conflict]:
    """What the merge would change and the user has changed too, or only the user's git can write."""
    raw = await ours.repository.tell("diff-tree", "-r", "-z", "--no-renames", "--raw", head, target)
    parts = raw.output.split(b"\0")[:-1]
    entries = [
        (os.fsdecode(path), about.decode("ascii"))
        for about, path in zip(parts[::2], parts[1::2], strict=True)
    ]
    paths = [path for path, _ in entries]
    status = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching")
    listing = split((await ours.repository.tell(*status, seconds=LONG_SECONDS)).output)
    dirty = {line[3:].rstrip("/") for line in listing}
    found = [
        Conflict(path, "you have uncommitted changes in this file") for path in paths if _touches(path, dirty)
    ]
    names = (await filters(ours, paths)).items()
    found += [
        Conflict(path, f"the filter {name} would have to run: use git merge yourself") for path, name in names
    ]
    found += [
        Conflict(path, "this is a submodule: use git merge") for path, about in entries if _SUBMODULE in about
    ]
    return found


def _touches(path: str, dirty: set[str]) -> bool:
    parents = (str(parent) for parent in Path(path).parents)
    below = path + "/"
    return (
        path in dirty or any(parent in dirty for parent in parents) or any(d.startswith(below) for d in dirty)
    )


async def _forward(ours: Tree, worktree: Worktree, target: str) -> None:
    """Move the user's branch with its index and files to a commit that follows it."""
    options = ("--ff-only", "--no-squash", "--no-autostash", "--no-verify-signatures", "--no-stat", "--quiet")
    reflog = {"GIT_REFLOG_ACTION": f"merge {worktree.branch}"}
    await ours.repository.tell("merge", *options, target, variables=reflog, seconds=LONG_SECONDS)
