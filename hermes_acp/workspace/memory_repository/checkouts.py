"""Keeps the folders in which people look at facts in step with their branches, whoever died or edited there.

What git has in any version is ours and can be written again. What it does not know is somebody's work, and
stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from hermes_acp.workspace.git import GitError, Repository
from hermes_acp.workspace.memory_repository.kept import KeptEdits
from hermes_acp.workspace.memory_repository.stream import HEADS
from hermes_acp.workspace.memory_repository.trees import Trees

GIT_SECONDS = 120.0
"""How long one command of git may take."""
LOCKED_SECONDS = 60.0
"""An older lock of a worktree, which takes a moment to write, is one that somebody's git has left."""

logger = logging.getLogger(__name__)


class Checkouts:
    """The checkouts of one repository. All methods need its lock, and raise `GitError` and `OSError`."""

    def __init__(self, bare: Path, folder: Path, kept: KeptEdits) -> None:
        self._bare = bare
        self._kept = kept
        self._trees = Trees(bare, folder)

    async def show(self, git: Repository, branch: str) -> None:
        """Bring the folder of a branch up to date."""
        await asyncio.to_thread(self._trees.make, branch)
        try:
            merging = ("read-tree", "-m", "-u", "HEAD")
            await git.tell(*merging, variables=self._variables(branch), seconds=GIT_SECONDS)
        except GitError:
            # Somebody has edited what changes now, or a checkout broke off before.
            await self._mend(git, branch)

    async def repair(self, git: Repository, branch: str) -> None:
        """Finish what a dead process has begun with the folder of a branch."""
        await asyncio.to_thread(self._trees.make, branch)
        if await self._found(branch, head := await self._head(git, branch)) != head:
            await self._mend(git, branch)

    def shown(self) -> list[str]:
        """The branches that have a folder, also those that are gone; blocks."""
        return self._trees.branches()

    def remove(self, branch: str) -> None:
        """Remove the folder of a branch that is gone; blocks."""
        self._trees.remove(branch)

    def remove_all(self) -> None:
        """Remove all folders; blocks."""
        self._trees.remove_all()

    async def _mend(self, git: Repository, branch: str) -> None:
        """Check everything out anew that is not somebody's own."""
        await asyncio.to_thread(self._unlock, branch)
        head, base = await self._head(git, branch), await self._index(git, branch)
        found = await self._found(branch, head.keys() | base.keys())
        strange = {path: name for path, name in found.items() if name != head.get(path)}
        known = await self._known(git, strange.values())
        edited = {
            path
            for path, name in strange.items()
            if name not in known and not await self._is_begun(git, branch, path, head.get(path))
        }
        await asyncio.to_thread(self._clear, branch, found.keys() - edited)
        variables = self._variables(branch)
        await git.tell("read-tree", "HEAD", variables=variables, seconds=GIT_SECONDS)
        wanted = "".join(f"{path}\0" for path in head.keys() - edited).encode("utf-8", "surrogateescape")
        writing = ("checkout-index", "--index", "--quiet", "-z", "--stdin")
        await git.tell(*writing, data=wanted, variables=variables, seconds=GIT_SECONDS)
        for path in sorted(path for path in edited if head.get(path) != base.get(path)):
            logger.warning("%s of %s was edited by hand: it stays, though the fact has changed", path, branch)
            await asyncio.to_thread(self._kept.note, self._trees.folder_of(branch) / path)

    def _variables(self, branch: str) -> Mapping[str, str]:
        return {
            "GIT_DIR": str(self._trees.git_folder_of(branch)),
            "GIT_WORK_TREE": str(self._trees.folder_of(branch)),
        }

    # --- what there is -----------------------------------------------------------------------------

    async def _head(self, git: Repository, branch: str) -> dict[str, str]:
        """The files of the branch, with the names of their contents."""
        listing = ("ls-tree", "-r", "-z", "--full-tree", HEADS + branch)
        return _listed(await self._ask(git, *listing), 2)

    async def _index(self, git: Repository, branch: str) -> dict[str, str]:
        """The files that were checked out last; none where git cannot read that any more."""
        answer = await git.ask("ls-files", "-s", "-z", variables=self._variables(branch), seconds=GIT_SECONDS)
        return {} if answer.status else _listed(answer.output, 1)

    async def _known(self, git: Repository, names: Iterable[str]) -> set[str]:
        """Those contents that the repository has."""
        data = "".join(f"{name}\n" for name in names).encode("ascii")
        output = await self._ask(git, "cat-file", "--batch-check", data=data)
        lines = (line.split(" ") for line in output.decode("ascii").splitlines())
        return {line[0] for line in lines if line[-1] != "missing"}

    async def _found(self, branch: str, tracked: Iterable[str]) -> dict[str, str]:
        """The files of the folder that are facts or tracked, with the names of their contents."""

        def read() -> dict[str, str]:
            top = self._trees.folder_of(branch)
            paths = set((top / "facts").glob("*.md")) | {top / path for path in tracked}
            return {
                path.relative_to(top).as_posix(): _name(path.read_bytes())
                for path in paths
                if path.is_file() and not path.is_symlink()
            }

        return await asyncio.to_thread(read)

    async def _is_begun(self, git: Repository, branch: str, path: str, name: str | None) -> bool:
        """Whether a file is the beginning of what it should be: a checkout died while it was written."""
        if name is None:
            return False
        data = await asyncio.to_thread((self._trees.folder_of(branch) / path).read_bytes)
        return (await self._ask(git, "cat-file", "blob", name)).startswith(data)

    async def _ask(self, git: Repository, *command: str, data: bytes | None = None) -> bytes:
        variables = {"GIT_DIR": str(self._bare)}
        return (await git.tell(*command, data=data, variables=variables, seconds=GIT_SECONDS)).output

    # --- files -------------------------------------------------------------------------------------

    def _unlock(self, branch: str) -> None:
        """Remove the lock of a git that is dead by now. Raises `GitError` when it may be at work."""
        lock = self._trees.git_folder_of(branch) / "index.lock"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime < LOCKED_SECONDS:
                raise GitError(f"another git is at work in it ({lock} is there).")
            lock.unlink()

    def _clear(self, branch: str, paths: Iterable[str]) -> None:
        """Remove files, and what git remembers of them: so all of them are written again."""
        (self._trees.git_folder_of(branch) / "index").unlink(missing_ok=True)
        for path in paths:
            (self._trees.folder_of(branch) / path).unlink(missing_ok=True)


def _listed(output: bytes, column: int) -> dict[str, str]:
    """What git lists, as paths and what stands in a column before them."""
    entries = (line.split("\t", 1) for line in output.decode("utf-8", "surrogateescape").split("\0") if line)
    return {path: head.split(" ")[column] for head, path in entries}


def _name(data: bytes) -> str:
    """The name under which git keeps a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
