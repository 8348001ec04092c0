"""One working tree and its index in the private repository: recording what is there now."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.files import place, sync
from hermes_acp.storage.locks import lock, open_lock
from hermes_acp.workspace.checkpoints import scan
from hermes_acp.workspace.checkpoints.lender import Lender, Lent, signature
from hermes_acp.workspace.checkpoints.records import (
    STATES,
    Beside,
    Checkpoint,
    CheckpointError,
    LeftOut,
    Limits,
    Note,
    State,
)
from hermes_acp.workspace.checkpoints.scan import Listing, Selection, UnreadableIndex
from hermes_acp.workspace.checkpoints.store import TREE_REFS, Store, alternates
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.git import GitError

LOCK_SECONDS = 120.0
"""How long to wait for another process that works on the same tree."""
LOCK_POLL = 0.02
"""Seconds between two attempts."""
ATTEMPTS = 3
"""How often a tree is looked at that changes while it is recorded, or whose index is damaged."""
ODD_MODES = 5_000
"""More files with unusual permission bits are not remembered with them."""

_UPDATE = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
_FORGET = ("update-index", "--force-remove", "-z", "--stdin")


class Tree:
    """The working tree at the real path `root`. Everything but `held` wants the tree to be held.

    Raises `CheckpointError`, `GitError` and `OSError`.
    """

    def __init__(self, store: Store, root: str, env: Mapping[str, str], limits: Limits) -> None:
        self.root = root
        self._store = store
        self._limits = limits
        self._lender = Lender(root, env)
        self._busy = asyncio.Lock()
        self._lent = Lent()
        self.object_format = ""
        """What the names of objects are made with; known once it was held."""
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
        self._ref = f"{TREE_REFS}/{key}"
        self.folder = store.folder / "trees" / key

    @property
    def journal(self) -> Path:
        """Where a restore notes what it does."""
        return self.folder / "restore.json"

    @property
    def is_busy(self) -> bool:
        """Whether somebody holds it, or waits to."""
        return self._busy.locked()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Keep other sessions and other processes away from the tree; `LOCK_SECONDS` at most to wait."""
        async with self._busy:
            if not await asyncio.to_thread(Path(self.root).is_dir):
                raise CheckpointError(f"The folder {self.root} is gone: there is nothing to record.")
            await self.survey()
            with ExitStack() as undo:
                descriptor = await to_the_end(asyncio.to_thread(_open, self.folder, undo))
                await _wait(descriptor, self.folder)
                yield

    async def survey(self) -> None:
        """Look what the user's repository lends now; needs no hold."""
        lent = await self._lender.survey()
        self.object_format = await self._store.open(lent.object_format)
        if self.object_format != lent.object_format:
            # Objects of another kind cannot be borrowed.
            lent = replace(lent, objects="")
        self._lent = lent

    @property
    def object_variables(self) -> dict[str, str]:
        """For git commands that read blobs."""
        return alternates(self._lent.objects)

    async def record(self, session: str, label: str) -> Checkpoint:
        """Write down what is in the tree now. Where nothing changed, gives the last checkpoint again."""
        await asyncio.to_thread(self._unlock)
        state = await self._state()
        lender, tracked = await asyncio.to_thread(lambda: (self._lent.identity, self._lent.index_state))
        if state and state.lender != lender:
            await self._heal()
        seen, chosen = await self._update(also_ignored=state is None or state.tracked != tracked)
        old = state.last if state else None
        beside = await asyncio.to_thread(self._beside, old.beside if old else None, seen, chosen)
        if state and state.index == await self._index_signature():
            tree = state.last.tree
        else:
            tree = await self._write_tree()
        if old:
            changes = await self._store.differences(old.tree, tree)
            await self._store.keep([each.old.blob for each in changes if each.old], self.object_variables)
        if old and (old.tree, old.beside, old.session) == (tree, beside, session):
            made = old
        else:
            above = old.number if old and old.session == session else 0
            made = await self._store.add(session, tree, Note(label, self.root, beside), self._ref, above)
        now = State(made, lender, tracked, await self._index_signature())
        if now != state:
            await to_the_end(asyncio.to_thread(_save, self.folder, now))
        return made

    async def disown(self) -> None:
        """The last checkpoint will be forgotten: it is not to be given again."""
        state = await asyncio.to_thread(_load, self.folder)
        if state is not None:
            orphan = replace(state, last=replace(state.last, session=""))
            await to_the_end(asyncio.to_thread(_save, self.folder, orphan))

    async def know(self, paths: Sequence[str]) -> None:
        """Record these files from now on as well, even where git ignores them."""
        if paths and await self._state() is not None:
            await self._store.tell(*_UPDATE, data=_joined(paths), variables=self._variables)

    async def _update(self, *, also_ignored: bool) -> tuple[Listing, Selection]:
        """Bring the index up to date; gives what was seen last and what was chosen."""
        for attempt in range(ATTEMPTS):
            try:
                seen, chosen = await self._choose(also_ignored=also_ignored)
                if chosen.paths:
                    await self._store.tell(*_UPDATE, data=_joined(chosen.paths), variables=self._variables)
                    if seen.folders:
                        # What is empty is told apart from what is new only when the new is recorded.
                        seen = await scan.listing(self._store, self._variables, self._lent)
            except GitError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                # A file that changed under our hands needs another look, a damaged index a new one.
                if isinstance(error, UnreadableIndex):
                    await asyncio.to_thread(_remove_index, self.folder)
                    await self._state()
            else:
                return seen, chosen
        raise AssertionError("unreachable")

    def _unlock(self) -> None:
        """Whoever of git held the index or the name of our last checkpoint is dead: we hold the tree."""
        (self.folder / "index.lock").unlink(missing_ok=True)
        (self._store.folder / f"{self._ref}.lock").unlink(missing_ok=True)

    async def _index_signature(self) -> str:
        return await asyncio.to_thread(signature, str(self.folder / "index"), times=True)

    @property
    def _variables(self) -> dict[str, str]:
        own = {"GIT_WORK_TREE": self.root, "GIT_INDEX_FILE": str(self.folder / "index")}
        return own | self.object_variables

    async def _choose(self, *, also_ignored: bool) -> tuple[Listing, Selection]:
        seen = await scan.listing(self._store, self._variables, self._lent)
        if replaced := await asyncio.to_thread(scan.replaced_by_folders, self.root, seen.changed):
            # git does not look into such a folder as long as it knows the file.
            await self._store.tell(*_FORGET, data=_joined(replaced), variables=self._variables)
            seen = await scan.listing(self._store, self._variables, self._lent)
        if also_ignored:
            known = await self._lender.tracked_but_ignored()
            if known:
                own = await self._store.tell("ls-files", "-z", variables=self._variables)
                recorded = set(own.output.split(b"\0"))
                ours = await asyncio.to_thread(scan.ours, self.root, self._store.private)
                missing = [
                    path
                    for path in known
                    if os.fsencode(path) not in recorded and not scan.is_ours(path, ours)
                ]
                seen = Listing(seen.changed, (*seen.fresh, *missing), seen.folders)
        chosen = await asyncio.to_thread(scan.select, self.root, seen, None, self._limits)
        if chosen is None:
            everything = await self._lender.tracked()
            chosen = await asyncio.to_thread(scan.select, self.root, seen, everything, self._limits)
        assert chosen is not None
        return seen, chosen

    async def _write_tree(self) -> str:
        # Without the user's objects: the trees must be ours, or a checkpoint ends with one of theirs.
        own = {name: self._variables[name] for name in ("GIT_WORK_TREE", "GIT_INDEX_FILE")}
        written = await self._store.tell("write-tree", "--missing-ok", variables=own)
        return written.text

    def _beside(self, old: Beside | None, seen: Listing, chosen: Selection) -> Beside:
        usual = old.usual if old else _usual(chosen.modes)
        modes = dict(old.modes) if old else {}
        for path in chosen.paths:
            modes.pop(path, None)
        modes |= {path: mode for path, mode in chosen.modes.items() if mode not in usual}
        odd = tuple(sorted(modes.items())[:ODD_MODES])
        refused = (LeftOut(".git", "unreadable"),) if self._lent.refused else ()
        return Beside(
            refused + chosen.left_out, scan.empty_folders(self.root, seen.folders, chosen.gone), usual, odd
        )

    # --- what is remembered ----------------------------------------------------------------------

    async def _state(self) -> State | None:
        """What the last checkpoint left; None for a tree that is new, or whose index is gone."""
        state = await asyncio.to_thread(_load, self.folder)
        if state is None:
            await asyncio.to_thread(_remove_index, self.folder)
        elif not await asyncio.to_thread((self.folder / "index").exists):
            # The files of the last checkpoint stay known, whatever git ignores by now.
            reading = ("read-tree", state.last.tree)
            known = await self._store.ask(*reading, variables=self._variables)
            return None if known.status else state
        return state

    async def _heal(self) -> None:
        """Read those files again whose recorded contents were borrowed from a repository that is gone."""
        listing = await self._store.tell("ls-files", "-z", "--stage", variables=self._variables)
        entries = [line.partition(b"\t") for line in listing.output.split(b"\0")[:-1]]
        blobs = {about.split(b" ")[1].decode("ascii") for about, _, _ in entries}
        there = await self._store.sizes(sorted(blobs), self.object_variables)
        lost = [path for about, _, path in entries if about.split(b" ")[1].decode("ascii") not in there]
        if lost:
            data = b"".join(path + b"\0" for path in lost)
            await self._store.tell(*_FORGET, data=data, variables=self._variables)
            await self._store.tell(*_UPDATE, data=data, variables=self._variables)


# --- below: in a thread, or pure -----------------------------------------------------------------


def _joined(paths: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _usual(modes: Mapping[str, int]) -> tuple[int, int]:
    """The most frequent permission bits of files and of programs."""
    files = Counter(mode for mode in modes.values() if not mode & 0o100)
    programs = Counter(mode for mode in modes.values() if mode & 0o100)
    common = [counted.most_common(1)[0][0] if counted else 0 for counted in (files, programs)]
    return common[0] or 0o644, common[1] or 0o755


def _open(folder: Path, undo: ExitStack) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = open_lock(folder / "lock")
    except StorageError as error:
        raise CheckpointError(str(error)) from error
    undo.callback(os.close, descriptor)
    return descriptor


async def _wait(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while not lock(descriptor, folder / "lock"):
            if time.monotonic() > deadline:
                raise CheckpointError(
                    f"Another process has been working on this tree for {LOCK_SECONDS:g} s: try again later."
                )
            await asyncio.sleep(LOCK_POLL)
    except StorageError as error:
        raise CheckpointError(str(error)) from error


def _remove_index(folder: Path) -> None:
    for name in ("index", "index.lock"):
        (folder / name).unlink(missing_ok=True)


def _load(folder: Path) -> State | None:
    try:
        return STATES.validate_json((folder / "state.json").read_bytes())
    except (OSError, ValueError):
        # It says nothing that reading the tree again does not.
        return None


def _save(folder: Path, state: State) -> None:
    draft = folder / "state.json.tmp"
    draft.write_bytes(STATES.dump_json(state, ensure_ascii=True))
    sync(draft)
    place(draft, folder / "state.json")
