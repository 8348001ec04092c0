"""A session in a worktree of its own: entered, reviewed, applied, merged and given up.

Loaded when the first session wants it: few do, and git's side of it takes a while to import.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from hermes_acp.agent.options import BadOption
from hermes_acp.records import record
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.workspace import apply, discarded, identity, landing, project, review
from hermes_acp.workspace.apply import Applied
from hermes_acp.workspace.discarded import Discarded
from hermes_acp.workspace.landing import Landed
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.registry import Registry
from hermes_acp.workspace.review import Change, Changes
from hermes_acp.workspace.worktrees import spare, worktrees
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree, WorktreeError

DIFF_CHARS = 60_000
"""More of a diff is not shown: the files are still named."""
FENCE = "````"
"""Around text that may have fences of three."""
HOLDER = "hermes-editor session "
"""What the reason of a session's lock begins with."""
HUNKS = 5
"""Conflicting places of one file that are shown."""
IN_PLACE = (
    "This session works in your own files: there is nothing to review apart from them. "
    "Set its isolation to `worktree` to have it work on a branch of its own."
)

logger = logging.getLogger(__name__)


@record
class Entered:
    """A worktree that a session works in from now on; `cwd` is its folder there."""

    worktree: str
    cwd: str
    notes: tuple[str, ...] = ()


class Isolation:
    """The worktrees of the windows with one environment. What is said is Markdown for the user."""

    def __init__(self, projects: Path, env: Mapping[str, str]) -> None:
        self._registry = Registry(projects)
        self._env = env

    async def enter(self, row: SessionRow, title: str) -> Entered:
        """Make a worktree for the session, or take the one it had. Raises `BadOption`."""
        try:
            found = await project.find_project(row.real_cwd)
            if row.worktree and await asyncio.to_thread(Path(row.worktree).is_dir):
                return Entered(row.worktree, project.counterpart(row.real_cwd, found.root, row.worktree))
            place = await self._place(row)
            created = await worktrees.create(place, title, holder(row.session_id))
        except WorktreeError as error:
            raise BadOption(str(error)) from error
        path = created.worktree.path
        return Entered(path, project.counterpart(row.real_cwd, found.root, path), created.notes)

    async def hold(self, row: SessionRow) -> None:
        """Keep everybody from removing the worktree of a session that is open."""
        try:
            place, worktree = await self._worktree(row)
            if await asyncio.to_thread(_astray, worktree.path):
                await worktrees.repair(place)
            if worktree.locked != holder(row.session_id):
                await worktrees.lock(place, worktree, holder(row.session_id))
        except WorktreeError as error:
            logger.warning("%s", error)

    async def release(self, row: SessionRow) -> None:
        """The session is closed, or works elsewhere: its worktree may be cleaned away."""
        try:
            place, worktree = await self._worktree(row)
            if worktree.locked == holder(row.session_id):
                await worktrees.unlock(place, worktree)
        except WorktreeError as error:
            logger.info("%s", error)

    async def recover(self, row: SessionRow) -> str:
        """Take back what an `/apply` left half done whose server died; what the user has to know of it."""
        try:
            kept = await apply.recover(await self._place(row))
        except WorktreeError as error:
            return str(error)
        names = ", ".join(f"`{printable(path)}`" for path in kept)
        return (
            f"An interrupted /apply was taken back, but not in files that changed since: {names}."
            if kept
            else ""
        )

    async def prepare(self, row: SessionRow) -> None:
        """In the background: make the next worktree of a large repository quick to enter."""
        try:
            await spare.prepare(await self._place(row))
        except WorktreeError as error:
            logger.info("%s", error)

    async def review(self, row: SessionRow, command: str, rest: str) -> str:
        """Do what `/diff`, `/apply`, `/merge` or `/discard` says: what was done, or why it was not."""
        try:
            place, worktree = await self._worktree(row)
            match command:
                case "diff":
                    return of_changes(worktree, await review.changes(place, worktree))
                case "apply":
                    return of_applied(await apply.apply(place, worktree, row.real_cwd))
                case "merge":
                    subject = rest or row.title or "Work of an agent"
                    return of_landed(await landing.merge(place, worktree, row.real_cwd, subject))
                case _:
                    return of_discarded(await discarded.discard(place, worktree))
        except WorktreeError as error:
            return str(error)

    async def _place(self, row: SessionRow) -> Place:
        found = await project.find_project(row.real_cwd)
        known = await identity.identify(found, self._registry, self._env)
        return Place(found.root, str(self._registry.folder_of(known.record.id)), self._env)

    async def _worktree(self, row: SessionRow) -> tuple[Place, Worktree]:
        if not row.worktree:
            raise WorktreeError(IN_PLACE)
        place = await self._place(row)
        return place, await worktrees.find(place, Path(row.worktree).name)


def holder(session_id: str) -> str:
    """The reason for which the worktree of a session is locked while that is open."""
    return f"{HOLDER}{session_id}"


def _astray(worktree: str) -> bool:
    """Whether a worktree is there, and knows no longer where its repository is: that was moved."""
    try:
        target = Path(worktree, ".git").read_bytes().removeprefix(b"gitdir:").strip()
        return not Path(os.fsdecode(target)).is_dir()
    except OSError:
        return False


# --- what is said about it -----------------------------------------------------------------------


def of_changes(worktree: Worktree, changes: Changes) -> str:
    """What a worktree has beyond its beginning."""
    if not changes.files:
        return f"Nothing was changed on `{worktree.branch}` yet."
    diff = "".join(change.diff or "" for change in changes.files).rstrip("\n")
    cut = f"\n… {len(diff) - DIFF_CHARS:,} characters more" if len(diff) > DIFF_CHARS else ""
    left_out = "".join(f"\n- `{path}` is left out" for path in changes.left_out)
    return (
        f"Changes on `{worktree.branch}` in `{worktree.path}`:\n\n{_files(changes.files)}{left_out}\n\n"
        f"{FENCE}diff\n{diff[:DIFF_CHARS]}{cut}\n{FENCE}"
    )


def of_applied(applied: Applied) -> str:
    """What was brought into the user's files, or why nothing was."""
    if applied.conflicts:
        return _conflicts("applied", applied.conflicts)
    if not applied.files:
        return "Your files have all of it already: nothing was changed."
    return f"Your files now have these changes, uncommitted:\n\n{_files(applied.files)}"


def of_landed(landed: Landed) -> str:
    """Where the user's branch is now, or why it did not move."""
    if landed.conflicts:
        return _conflicts("merged", landed.conflicts)
    return f"`{landed.branch}` is now at `{landed.commit[:10]}`.\n\n{_files(landed.files)}"


def of_discarded(given_up: Discarded) -> str:
    """What is gone, and for how long it can be taken back."""
    return (
        f"`{given_up.branch}` and its worktree were removed. For {discarded.KEPT_DAYS} days "
        f"`hermes-editor project worktrees recover {given_up.name}` brings them back."
    )


def _conflicts(what: str, conflicts: tuple[Conflict, ...]) -> str:
    lines = "\n".join(f"- `{conflict.path}`: {conflict.reason}{_hunks(conflict)}" for conflict in conflicts)
    return f"Nothing was {what}, because it would overwrite work of yours:\n\n{lines}"


def _hunks(conflict: Conflict) -> str:
    shown = "".join(
        f"\n<<<<<<< yours\n{hunk.ours}=======\n{hunk.theirs}>>>>>>> the session's\n"
        for hunk in conflict.hunks[:HUNKS]
    )
    more = f"… and {len(conflict.hunks) - HUNKS} more\n" if len(conflict.hunks) > HUNKS else ""
    return f"\n\n{FENCE}{shown}{more}{FENCE}\n" if shown else ""


def _files(changes: tuple[Change, ...]) -> str:
    return "\n".join(
        f"- `{change.path}` {change.kind} (+{change.added} −{change.removed})" for change in changes
    )
