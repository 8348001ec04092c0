"""Worktrees of a repository of 50,000 files, beside what git and the disk need for so many."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from hermes_acp.workspace.apply import apply
from hermes_acp.workspace.discarded import discard
from hermes_acp.workspace.review import changes
from hermes_acp.workspace.worktrees.spare import prepare
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree, create

FILES = 50_000
FOLDERS = 1_000
ROUNDS = 3
TEXT = b"some line of code here\n" * 40

T = TypeVar("T")


class Rows(Protocol):
    """Where the figures go."""

    def times(self, what: str, seconds: list[float], budget: str = "") -> float: ...


def worktrees(bench: Rows, folder: Path) -> None:
    """Measure in `folder`, which has to be empty and on the disk that counts."""
    repository = generated(folder / "repo", FILES)
    place = Place(str(repository), str(folder / "project"), dict(os.environ))
    bench.times("  floor: writing 50,000 files", list(_floor(folder)))
    bench.times("  floor: git worktree add", list(_plain(repository, folder)))
    made, prepared, reviewed, applied, gone = [], [], [], [], []
    for number in range(2 * ROUNDS):
        if with_spare := number % 2 == 1:
            _timed(lambda: prepare(place))
        created, took = _timed(lambda: create(place, "Bench", "bench"))
        (prepared if with_spare else made).append(took)
        _work(created.worktree, number)
        reviewed.append(_timed(lambda w=created.worktree: changes(place, w))[1])
        applied.append(_timed(lambda w=created.worktree: apply(place, w, str(repository)))[1])
        gone.append(_timed(lambda w=created.worktree: discard(place, w))[1])
    bench.times("worktree of 50,000 files created, with a spare", prepared, "well under 1 s")
    bench.times("worktree of 50,000 files created, the first", made, "≈ its floors")
    bench.times("review of 10 changed files of 50,000", reviewed)
    bench.times("apply of 10 changed files of 50,000", applied)
    bench.times("worktree of 50,000 files discarded", gone)


def generated(top: Path, files: int) -> Path:
    """A repository with so many files in one commit, checked out."""
    top.mkdir(parents=True)
    _git(top, "init", "-q", "-b", "main")
    _git(top, "fast-import", "--quiet", data=b"".join(_stream(files)))
    _git(top, "reset", "-q", "--hard")
    _git(top, "repack", "-q", "-a", "-d")
    return top


def _stream(files: int) -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter T <t@example.org> 1700000000 +0000\ndata 6\nFirst\n\n"
    for number in range(files):
        text = b"// file %d\n" % number + TEXT
        yield b"M 100644 inline src/%d/%d.py\ndata %d\n%s\n" % (number % FOLDERS, number, len(text), text)


def _work(worktree: Worktree, round_: int) -> None:
    for number in range(10):
        path = Path(worktree.path, f"src/{number}/{number}.py")
        path.write_bytes(b"# round %d\n" % round_ + path.read_bytes())


def _floor(folder: Path) -> Iterator[float]:
    for _ in range(ROUNDS):
        began = time.monotonic()
        for number in range(FOLDERS):
            (folder / "floor" / str(number)).mkdir(parents=True)
        for number in range(FILES):
            (folder / "floor" / str(number % FOLDERS) / str(number)).write_bytes(TEXT)
        yield time.monotonic() - began
        shutil.rmtree(folder / "floor")


def _plain(repository: Path, folder: Path) -> Iterator[float]:
    for _ in range(ROUNDS):
        began = time.monotonic()
        _git(repository, "worktree", "add", "-q", "--detach", str(folder / "plain"))
        yield time.monotonic() - began
        _git(repository, "worktree", "remove", "--force", str(folder / "plain"))


def _timed(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    async def run() -> tuple[T, float]:
        began = time.monotonic()
        result = await work()
        return result, time.monotonic() - began

    return asyncio.run(run())


def _git(top: Path, *arguments: str, data: bytes | None = None) -> None:
    subprocess.run(["git", "-C", str(top), *arguments], check=True, input=data, capture_output=True)
