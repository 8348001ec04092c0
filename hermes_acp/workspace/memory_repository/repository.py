"""The git repository that the facts of a project, or of the user, are kept in, and its worktrees.

It is bare and private (`memory.git`), its branches are checked out below `memory/`, for people to
look at. One process works in it at a time: `memory.lock` is held by us and by each git that we start, so
that whoever gets the lock knows that nobody is at work any more, and clears away what a crash left.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

from hermes_acp.storage import files, locks
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.fact_commits import FactCommit, FactVersion, LogEntry, RepositoryError
from hermes_acp.workspace.git import GitError, Repository
from hermes_acp.workspace.memory_repository import stream as streams
from hermes_acp.workspace.memory_repository.checkouts import GIT_SECONDS, Checkouts
from hermes_acp.workspace.memory_repository.kept import KeptEdits
from hermes_acp.workspace.memory_repository.stream import HEADS, Stream

T = TypeVar("T")

LOCK_SECONDS = 30.0
"""How long another process may be writing."""
POLL = 0.01
ATTEMPTS = 5
"""Times that changes are put on top of what others have committed by hand in the meantime."""
BRANCHES = 4
"""Commits that one change may have: the log looks at so many for each entry that is asked for."""
PACKS = 48
"""More packs than this are made one."""

CLEAN = "clean"
BUSY = "busy"
"""What stands in the lock file while somebody writes, and after a crash."""

_SETTINGS = (
    ("core.fsync", "all"),
    ("core.fsyncMethod", "fsync"),
    ("core.logAllRefUpdates", "false"),
    ("core.autocrlf", "false"),
    ("core.attributesFile", "/dev/null"),
    ("fastimport.unpackLimit", "1"),
    ("gc.auto", "0"),
    ("user.name", "hermes-editor"),
    ("user.email", "hermes-editor@localhost"),
)
"""Nothing is acknowledged that a power cut could undo; each import is a pack, which is one file to force."""
_END = "\x01"
_LOG = "%H%x00%at%x00%B%x01"
_CHANGE = "Hermes-Change: "
_IDS = f"%(trailers:key={_CHANGE.removesuffix(': ')},valueonly)"
_FULL = ("No space left", "Out of diskspace", "Disk quota")
_STALE = (
    "refs/**/*.lock",
    "*.lock",
    "worktrees/*/*.lock",
    "objects/pack/tmp_*",
    # Made before the pack: the next import of the same changes would not get past it.
    "objects/pack/*.keep",
    "objects/**/*.lock",
    "fast_import_crash_*",
)

logger = logging.getLogger(__name__)


class _Objects(Protocol):
    """The module `objects`."""

    def tips(self, folder: Path) -> dict[str, str]: ...

    def texts(self, folder: Path) -> dict[str, dict[str, str]]: ...

    def versions(self, folder: Path, commits: Iterable[str]) -> list[FactVersion]: ...


class MemoryRepository:
    """The repository in `folder`, which has a file `memory.lock` and the folders `memory.git` and `memory`.

    All methods raise `RepositoryError`. Everything but `locked` and `kept_edits` needs the lock.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.bare = folder / "memory.git"
        self._kept = KeptEdits(self.bare / "kept-edits")
        self._checkouts = Checkouts(self.bare, folder / "memory", self._kept)
        self._env = env
        self._alone = asyncio.Lock()
        self._lock = -1
        self._git: Repository | None = None
        self._behind: set[str] = set()

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[bool, None]:
        """Keep others out; gives whether the last one that was in may have crashed."""
        async with self._alone:
            with _explained():
                descriptor = await asyncio.to_thread(self._opened)
                await self._wait(descriptor)
            try:
                with _explained():
                    crashed = locks.noted(descriptor) != CLEAN
                    await asyncio.to_thread(locks.note, descriptor, BUSY, durable=True)
                    await self._ready(crashed=crashed)
                yield crashed
                # Not after an error: what it left half done is looked for the next time.
                await asyncio.to_thread(locks.note, descriptor, CLEAN)
            finally:
                locks.unlock(descriptor)

    def close(self) -> None:
        """Give the lock file back; the next use opens it again."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock, self._git = -1, None

    async def commit(self, commits: Sequence[FactCommit], *, doubtful: bool) -> None:
        """Add changes with one import, and bring the worktrees up to date."""
        complaint = ""
        with _explained():
            for _ in range(ATTEMPTS):
                stream = await self._stream(commits, doubtful=doubtful)
                if not stream.touched:
                    return
                complaint = await self._import(self.bare, stream.finished())
                if not complaint:
                    await self._show(stream)
                    return
                # Somebody may have committed by hand meanwhile, and some branches may be written.
                doubtful = True
            raise GitError(complaint)

    async def files(self) -> Mapping[str, Mapping[str, str]]:
        """All files of all branches."""
        with _explained():
            return await self._read(lambda objects: objects.texts(self.bare))

    async def versions(self, change_id: str) -> Sequence[FactVersion]:
        """What a change did, on all its branches."""
        grep = ("--fixed-strings", f"--grep={_CHANGE}{change_id}")
        with _explained():
            output = await self._tell("log", "--branches", "--format=%H", *grep)
            commits = output.decode("ascii").split()
            return await self._read(lambda objects: objects.versions(self.bare, commits))

    async def log(self, limit: int, path: str = "") -> Sequence[LogEntry]:
        """The last changes; commits that somebody made by hand have no id."""
        only = ("--full-history", "--", path) if path else ()
        with _explained():
            output = await self._tell("log", "--branches", f"--format={_LOG}", f"-{limit * BRANCHES}", *only)
        records = output.decode("utf-8", "replace").split(_END)
        entries = [_entry(*record.strip("\n").split("\0", 2)) for record in records if record.strip()]
        return _joined(entries)[:limit]

    async def purge(self, paths: Collection[str]) -> None:
        """Make the repository anew from what is to stay; a crash leaves the old one or the new one."""
        with _explained():
            exported = await self._tell("fast-export", "--all", "--reencode=no", "--use-done-feature")
            stream = await asyncio.to_thread(streams.without, exported, paths)
            draft = await self._make()
            if complaint := await self._import(draft, stream):
                raise GitError(complaint)
            await asyncio.to_thread(self._swap, draft)
            tips = await self._read(lambda objects: objects.tips(self.bare))
            await self._show(Stream(tips, {}, touched={branch: {""} for branch in tips}))

    async def problems(self) -> Sequence[str]:
        """What `git fsck` says."""
        with _explained():
            status, output, errors = await self._ask("fsck", "--full", "--strict", "--no-dangling")
        said = [line for line in (output.decode("utf-8", "replace") + errors).splitlines() if line.strip()]
        return said if status else [line for line in said if not line.startswith("notice:")]

    async def kept_edits(self) -> Sequence[str]:
        """Files with edits of somebody's own that the facts have left behind, each told once."""
        return await asyncio.to_thread(self._kept.take)

    async def tidy(self) -> None:
        """Make one pack of many."""
        with _explained():
            packs = await asyncio.to_thread(lambda: len([*(self.bare / "objects/pack").glob("*.pack")]))
            if packs > PACKS:
                await self._tell("repack", "-a", "-d", "-q")

    # --- the repository ----------------------------------------------------------------------------

    async def _ready(self, *, crashed: bool) -> None:
        if crashed:
            await asyncio.to_thread(self._clear)
        if not await asyncio.to_thread((self.bare / "HEAD").exists):
            draft = await self._make()
            await asyncio.to_thread(draft.rename, self.bare)
            await asyncio.to_thread(files.sync, self.folder)
        elif crashed or self._behind:
            await self._repair(crashed=crashed)

    def _clear(self) -> None:
        """Remove what a crash has left: locks of git, half a pack, a repository that was being made."""
        old, new = self.bare.with_name("memory.git.old"), self.bare.with_name("memory.git.new")
        if new.exists() and not self.bare.exists():
            new.rename(self.bare)
        for rest in (old, new, *self.folder.glob("memory.git.*.tmp")):
            shutil.rmtree(rest, ignore_errors=True)
        for pattern in _STALE:
            for path in self.bare.glob(pattern):
                path.unlink(missing_ok=True)

    async def _make(self) -> Path:
        """A new repository that is not in its place yet."""
        draft = self.folder / f"memory.git.{secrets.token_hex(6)}.tmp"
        await asyncio.to_thread(draft.mkdir, mode=0o700, parents=True)
        await self._tell("init", "--quiet", "--bare", "--template=", "--object-format=sha1", at=draft)
        await asyncio.to_thread(_configure, draft)
        return draft

    def _swap(self, draft: Path) -> None:
        """Put the new repository in the place of the old one, and leave nothing of that."""
        old, new = self.bare.with_name("memory.git.old"), self.bare.with_name("memory.git.new")
        files.sync(draft)
        draft.rename(new)
        self._checkouts.remove_all()
        self.bare.rename(old)
        new.rename(self.bare)
        files.sync(self.folder)
        shutil.rmtree(old)

    def _opened(self) -> int:
        if self._lock < 0:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = locks.open_lock(self.folder / "memory.lock")
            self._git = Repository("/", self._env, (self._lock,))
        return self._lock

    async def _wait(self, descriptor: int) -> None:
        path = self.folder / "memory.lock"
        deadline = time.monotonic() + LOCK_SECONDS
        while not locks.lock(descriptor, path):
            if time.monotonic() > deadline:
                raise GitError(f"another process has been writing for {LOCK_SECONDS:.0f} seconds. Try again.")
            await asyncio.sleep(POLL)

    # --- reading and writing -----------------------------------------------------------------------

    async def _stream(self, commits: Sequence[FactCommit], *, doubtful: bool) -> Stream:
        tips = await self._read(lambda objects: objects.tips(self.bare))
        branches = {streams.branch_of(scope) for commit in commits for scope in commit.files} & tips.keys()
        paths: dict[str, Collection[str]] = {}
        for branch in branches & {streams.branch_of(scope) for scope in streams.losing(commits)}:
            listed = await self._tell("ls-tree", "-r", "-z", "--name-only", tips[branch])
            paths[branch] = set(listed.decode("utf-8", "surrogateescape").split("\0")[:-1])
        landed = await self._landed(branches) if doubtful else set[tuple[str, str]]()
        stream = Stream(tips, paths, landed)
        await asyncio.to_thread(lambda: [stream.add(commit) for commit in commits])
        return stream

    async def _landed(self, branches: Collection[str]) -> set[tuple[str, str]]:
        """The branches with the ids of the changes that they have."""
        found: set[tuple[str, str]] = set()
        for branch in branches:
            output = await self._tell("log", "--first-parent", f"--format={_IDS}", HEADS + branch)
            found |= {(branch, change_id) for change_id in output.decode("utf-8", "replace").split()}
        return found

    async def _import(self, folder: Path, stream: bytes) -> str:
        """Import a stream; what git complains about, empty when all of it is there."""
        command = ("fast-import", "--quiet", "--done", "--date-format=raw")
        status, _, errors = await self._ask(*command, data=stream, at=folder)
        complaint = errors.strip().partition("\n")[0] or f"git fast-import ended with status {status}"
        return complaint if status else ""

    async def _show(self, stream: Stream) -> None:
        """Bring the worktrees up to date; what somebody has written there is not lost."""
        assert self._git is not None
        gone = set(stream.gone)
        for branch in stream.touched:
            with self._only_shown(branch):
                if branch in gone:
                    await asyncio.to_thread(self._checkouts.remove, branch)
                else:
                    await self._checkouts.show(self._git, branch)

    async def _repair(self, *, crashed: bool) -> None:
        """Bring worktrees up to date that are behind: those of which we know it, after a crash any."""
        assert self._git is not None
        tips = await self._read(lambda objects: objects.tips(self.bare))
        shown = await asyncio.to_thread(self._checkouts.shown) if crashed else []
        self._behind &= tips.keys()
        for branch in sorted({*shown, *(tips if crashed else self._behind)}):
            with self._only_shown(branch):
                if branch in tips:
                    await self._checkouts.repair(self._git, branch)
                else:
                    await asyncio.to_thread(self._checkouts.remove, branch)

    @contextmanager
    def _only_shown(self, branch: str) -> Generator[None, None, None]:
        """A folder to look at is no reason to fail; it is tried again the next time."""
        try:
            yield
            self._behind.discard(branch)
        except (OSError, GitError) as error:
            self._behind.add(branch)
            logger.warning("the folder of %s in %s is not up to date: %s", branch, self.folder, error)

    async def _read(self, read: Callable[[_Objects], T]) -> T:
        def work() -> T:
            # GitPython takes a while to import, and asks git for its version then.
            objects = cast(
                "_Objects", importlib.import_module("hermes_acp.workspace.memory_repository.objects")
            )
            return read(objects)

        return await asyncio.to_thread(work)

    async def _tell(self, *command: str, at: Path | None = None) -> bytes:
        """The output of a command that has to succeed."""
        status, output, errors = await self._ask(*command, at=at)
        if status:
            raise GitError(f"git {command[0]} failed: {errors.strip() or f'it ended with status {status}'}")
        return output

    async def _ask(
        self, *command: str, data: bytes | None = None, at: Path | None = None
    ) -> tuple[int, bytes, str]:
        assert self._git is not None, "the lock is not held"
        variables = {"GIT_DIR": str(at or self.bare), "GIT_LITERAL_PATHSPECS": "1"}
        answer = await self._git.ask(*command, data=data, variables=variables, seconds=GIT_SECONDS)
        return answer.status, answer.output, answer.errors


def _configure(folder: Path) -> None:
    lines = "".join(
        f"[{name.partition('.')[0]}]\n\t{name.partition('.')[2]} = {value}\n" for name, value in _SETTINGS
    )
    with (folder / "config").open("a", encoding="utf-8") as config:
        config.write(lines)


def _entry(commit: str, at: str, message: str) -> LogEntry:
    ids = [line.removeprefix(_CHANGE) for line in message.splitlines() if line.startswith(_CHANGE)]
    return LogEntry(ids[-1] if ids else "", float(at), message.strip(), (commit,))


def _joined(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """The entries, the newest first, with those of one change on several branches as one."""
    found: dict[str, LogEntry] = {}
    for entry in entries:
        key = entry.change_id or entry.commits[0]
        known = found.get(key)
        found[key] = entry if known is None else replace(known, commits=(*known.commits, *entry.commits))
    return sorted(found.values(), key=lambda entry: (entry.at, entry.change_id), reverse=True)


@contextmanager
def _explained() -> Generator[None, None, None]:
    """What git and the disk refuse becomes an error for the user."""
    try:
        yield
    except (GitError, OSError, StorageError, ValueError) as error:
        full = any(words in str(error) for words in _FULL)
        advice = " The disk is full: free some space; nothing is lost, and it is tried again." if full else ""
        raise RepositoryError(f"The repository of memory cannot be used: {error}{advice}") from error
