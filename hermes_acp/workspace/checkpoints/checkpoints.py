"""Checkpoints of working trees: undo, redo and rewind for files, beside the user's own repository.

A private bare repository holds one commit for each checkpoint. It borrows the user's objects where
there are any, has an index of its own for each tree, and touches nothing of the user's repository.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Collection, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from hermes_acp.workspace.checkpoints import amend, changes, restore, tidy
from hermes_acp.workspace.checkpoints.amend import Content
from hermes_acp.workspace.checkpoints.merge import Planner
from hermes_acp.workspace.checkpoints.records import (
    Checkpoint,
    CheckpointError,
    Difference,
    FileChange,
    Limits,
    Restored,
    Span,
)
from hermes_acp.workspace.checkpoints.restore import Request
from hermes_acp.workspace.checkpoints.store import Store
from hermes_acp.workspace.checkpoints.tree import Tree
from hermes_acp.workspace.git import GitError

TREES = 32
"""Trees of which is remembered what git said; beyond that an idle one is asked anew."""

_SESSION = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ADVICE = {
    "No space left on device": " Free some space, and try again.",
    "took longer": " Is the folder more than one project? Open a smaller one, or let git ignore parts.",
}


class Checkpoints:
    """The checkpoints of one project, in the repository at the absolute `folder`, made when needed.

    `root` is always the top folder of a working tree: of a repository, of a linked worktree, or any
    folder without git. Work on one tree waits for other work on it, in other processes too.
    Everything raises `CheckpointError`, and nothing changes the user's repository. Unsaved text in
    editors is the caller's business. `private` are folders that are never recorded, wherever they
    are: ours, with the conversations, may well lie in a tree.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        limits: Limits | None = None,
        private: Sequence[Path] = (),
    ) -> None:
        self._limits = limits or Limits()
        self._env = env
        self.folder = folder
        self._store = Store(folder, env, private)
        self._trees: dict[str, Tree] = {}

    async def take(self, root: str, session: str, label: str) -> Checkpoint:
        """Record the files of a tree: tracked and new ones, without what git ignores.

        Where nothing changed since the session's last checkpoint of the tree, that one is given
        again, with its own label. A cancel leaves everything as it was.
        """
        async with self._held(root, "No checkpoint was taken") as tree:
            return await tree.record(_session(session), _text(label))

    async def amend(
        self, checkpoint: Checkpoint, root: str, contents: Mapping[str, Content], label: str
    ) -> Checkpoint:
        """A checkpoint that is like this one but for some files, by paths relative to `root`.

        They are given as bytes, as a version that is kept already, or None for no file. From now on
        these files are recorded even where git ignores them. Where nothing differs, gives
        `checkpoint` itself. A cancel leaves everything as it was.
        """
        async with self._held(root, "The checkpoint cannot be amended") as tree:
            return await amend.amend(self._store, tree, checkpoint, contents, _text(label))

    async def list(self, session: str) -> list[Checkpoint]:
        """The checkpoints of a session that are kept, the oldest first."""
        with _explained("The checkpoints cannot be listed"):
            return await self._store.list(_session(session)) if await self._store.exists() else []

    async def changes(self, root: str, start: Checkpoint, end: Checkpoint) -> list[FileChange]:
        """The files that differ between two checkpoints, by path, with patches in git's format."""
        with _explained("The checkpoints cannot be compared"):
            tree = await self._tree(root)
            await tree.survey()
            return await changes.changes(self._store, start, end, tree.object_variables)

    async def differences(self, root: str, start: Checkpoint, end: Checkpoint) -> list[Difference]:
        """The same without the patches, which is quick."""
        with _explained("The checkpoints cannot be compared"):
            tree = await self._tree(root)
            await tree.survey()
            return await self._store.differences(start.tree, end.tree)

    async def restore(
        self, root: str, spans: Sequence[Span], session: str, label: str, keep: Collection[str] = ()
    ) -> Restored:
        """Take back what happened in `spans`, the newest first, and keep what else was done since.

        Each file is merged from three sides: what the span made of it, what is there now, and what
        it was before. Where that would lose something, nothing at all is written, and the conflicts
        say why; files in `keep` (relative to `root`) are not touched and cannot be in conflict. A
        checkpoint is taken before, and one with `label` after, so that a restore can be restored. A
        cancel takes back what was written, unless all was; so does the next use after a crash.
        """
        async with self._held(root, "Nothing was restored") as tree:
            before = await tree.record(_session(session), f"before: {_text(label)}")
            plan = await Planner(self._store, tree.object_variables).plan(spans, before, keep)
            if plan.conflicts:
                return Restored((), plan.conflicts, plan.skipped, before, before)
            request = Request(spans, before, _text(label))
            return await restore.carry_out(self._store, tree, plan, request)

    async def recover(self, root: str) -> tuple[str, ...]:
        """Take back a restore that a crash interrupted; everything else does so too, before its work.

        Gives the files that somebody changed since, which are left as they are.
        """
        with _explained("A restore that was interrupted cannot be taken back"):
            tree = await self._tree(root)
            if not await asyncio.to_thread(tree.journal.exists):
                return ()
            async with tree.held():
                return await restore.recover(self._store, tree)

    async def forget(self, session: str) -> None:
        """Remove all checkpoints of a session; `tidy` frees their space."""
        with _explained("The checkpoints cannot be removed"):
            if await self._store.exists() and (found := await self._store.list(_session(session))):
                await self._store.forget(found)

    async def tidy(self, now: float) -> int:
        """Remove checkpoints beyond the limits and free their space; gives how many. Takes its time.

        `now` is in Unix seconds. Checkpoints can be taken meanwhile. A cancel does no harm.
        """
        with _explained("The checkpoints cannot be tidied"):
            if not await self._store.exists():
                return 0
            return await tidy.tidy(self._store, self._limits, now)

    @asynccontextmanager
    async def _held(self, root: str, failure: str) -> AsyncGenerator[Tree]:
        with _explained(failure):
            tree = await self._tree(root)
            async with tree.held():
                await restore.recover(self._store, tree)
                yield tree

    async def _tree(self, root: str) -> Tree:
        real = await asyncio.to_thread(os.path.realpath, root)
        if real not in self._trees:
            idle = next((each for each, tree in self._trees.items() if not tree.is_busy), None)
            if len(self._trees) >= TREES and idle is not None:
                del self._trees[idle]
            self._trees[real] = Tree(self._store, real, self._env, self._limits)
        return self._trees[real]


@contextmanager
def _explained(failure: str) -> Generator[None]:
    """Say what an error means, and what to do about it."""
    try:
        yield
    except (GitError, OSError) as error:
        reason = str(error).rstrip(".")
        advice = next((advice for sign, advice in _ADVICE.items() if sign in reason), "")
        raise CheckpointError(f"{failure}: {reason}.{advice}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{failure}: {str(error).rstrip('.')}.") from error


def _session(session: str) -> str:
    """The id of a session, which becomes part of a name in git. Raises `ValueError`."""
    if not _SESSION.fullmatch(session):
        raise ValueError(f"{session!r} is no id of a session")
    return session


def _text(label: str) -> str:
    """A label without halves of characters, which cannot be stored."""
    return label.encode("utf-8", "replace").decode("utf-8")
