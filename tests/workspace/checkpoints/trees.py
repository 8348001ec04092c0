"""Real trees and repositories for the tests of checkpoints, and what can be seen of them."""

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TypeAlias

from hermes_acp.workspace.checkpoints.checkpoints import Checkpoints
from hermes_acp.workspace.checkpoints.records import Checkpoint, Limits, Restored, Span

ENV = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
IDENTITY = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")

Seen: TypeAlias = dict[bytes, tuple[str, bytes, int]]


def git(folder: Path, *arguments: str, env: Mapping[str, str] = ENV) -> bytes:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=env).stdout


def new_repository(folder: Path, *options: str) -> Path:
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", *options)
    (folder / "src").mkdir()
    (folder / "src" / "main.py").write_text("one\ntwo\nthree\nfour\nfive\n")
    (folder / "README").write_text("words\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "First")
    return folder


def copied(template: Path, folder: Path) -> Path:
    """A repository of one's own, quicker than `new_repository`."""
    shutil.copytree(template, folder, symlinks=True)
    return folder


def seen(root: Path) -> Seen:
    """Everything in a tree but its git folder: kind, contents or target, and permission bits."""
    found: Seen = {}
    pending = [os.fsencode(root)]
    while pending:
        for entry in os.scandir(pending.pop()):
            path = os.path.relpath(entry.path, os.fsencode(root))
            if path.split(b"/")[0] == b".git":
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            bits = stat.S_IMODE(mode)
            if entry.is_symlink():
                found[path] = ("link", os.fsencode(Path(os.fsdecode(entry.path)).readlink()), 0)
            elif entry.is_dir():
                found[path] = ("folder", b"", bits)
                pending.append(entry.path)
            elif stat.S_ISREG(mode):
                found[path] = ("file", Path(os.fsdecode(entry.path)).read_bytes(), bits)
            else:
                found[path] = ("special", b"", bits)
    return found


def repository_bytes(root: Path) -> dict[str, bytes]:
    """Every file of the user's git folder."""
    folder = root / ".git"
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


CRASHED = 9
_STEPS = frozenset(
    {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "subprocess.Popen"}
)


def die_after(steps: int) -> None:
    """From now on count what this process does on the disk, and end it after so many steps."""
    left = steps

    def count(event: str, _arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS:
            left -= 1
            if left < 0:
                os._exit(CRASHED)

    sys.addaudithook(count)


def crashing(work: Callable[[], Coroutine[object, object, object]], steps: int | None = None) -> bool:
    """Do the work in a process of its own that dies at a step on the disk; False when it lived to the end.

    Without `steps` the work itself says when to die.
    """
    child = os.fork()
    if child == 0:
        try:
            if steps is not None:
                die_after(steps)
            asyncio.run(work())
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, CRASHED)
    return status == CRASHED


class Session:
    """One session on one tree, with short words for what the tests do all the time."""

    def __init__(
        self,
        root: Path,
        data: Path,
        limits: Limits | None = None,
        name: str = "s1",
        env: Mapping[str, str] = ENV,
        private: tuple[Path, ...] = (),
    ) -> None:
        self.root = root
        self.name = name
        self.limits = limits or Limits()
        self.checkpoints = Checkpoints(data / "checkpoints.git", env, limits, private)

    async def take(self, label: str = "") -> Checkpoint:
        return await self.checkpoints.take(str(self.root), self.name, label)

    async def restore(self, *spans: Span, keep: tuple[str, ...] = ()) -> Restored:
        return await self.checkpoints.restore(str(self.root), spans, self.name, "restored", keep)

    async def undo(self, start: Checkpoint, end: Checkpoint, keep: tuple[str, ...] = ()) -> Restored:
        return await self.restore(Span(start, end), keep=keep)

    @property
    def reading(self) -> dict[str, str]:
        """The environment in which git reads the checkpoints, with the user's objects."""
        objects = str(self.root / ".git" / "objects")
        return {**ENV, "GIT_DIR": str(self.checkpoints.folder), "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}

    async def holds(self, checkpoint: Checkpoint) -> dict[str, str]:
        """The paths of a checkpoint with the names of their contents, as git itself lists them."""
        listing = git(self.root, "ls-tree", "-r", "-z", checkpoint.tree, env=self.reading)
        entries = (line.partition(b"\t") for line in listing.split(b"\0")[:-1])
        return {os.fsdecode(path): about.decode().split(" ")[2] for about, _, path in entries}
