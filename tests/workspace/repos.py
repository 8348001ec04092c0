"""Real repositories for tests, and what may not change in them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hermes_acp.workspace import apply
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree

ENV = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str, data: bytes | None = None, status: int = 0) -> str:
    """Run git as the user would; gives what it prints."""
    command = ["git", "-C", str(folder), *arguments]
    run = subprocess.run(command, check=False, capture_output=True, env=ENV, input=data)
    assert run.returncode == status, run.stderr.decode()
    return run.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass(frozen=True, slots=True)
class Repo:
    """A user's repository with one commit, and our folder for it."""

    top: Path
    place: Place

    def git(self, *arguments: str, data: bytes | None = None, status: int = 0) -> str:
        return git(self.top, *arguments, data=data, status=status)

    def write(self, path: str, text: str) -> None:
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, message: str = "More") -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def sound(self) -> None:
        """Nothing is missing or damaged."""
        git(self.top, "fsck", "--no-dangling", "--strict")

    def precious(self) -> dict[str, str]:
        """HEAD, index, configuration and references, but for ours: what we may not touch."""
        own = ("refs/heads/hermes/", "refs/hermes/")
        refs = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        kept = [line for line in refs if not line.startswith(own)]
        folder = Path(self.git("rev-parse", "--absolute-git-dir"))
        files = {name: _digest(folder / name) for name in ("index", "HEAD", "config", "logs/refs/stash")}
        return files | {"refs": "\n".join(kept)}


def make(folder: Path, files: dict[str, str], *options: str) -> Repo:
    """A repository with these files in its first commit."""
    top = folder / "repo"
    top.mkdir(parents=True)
    git(top, "init", "-q", "-b", "main", *options)
    git(top, "config", "user.name", "Tess")
    git(top, "config", "user.email", "tess@example.org")
    repo = Repo(top, Place(str(top), str(folder / "project"), ENV))
    for path, text in files.items():
        repo.write(path, text)
    if files:
        repo.commit("First")
    return repo


def files_of(top: Path) -> dict[str, str]:
    """All files with their texts, links with where they lead."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            path = Path(folder, name)
            if path == top / ".git":
                continue
            text = (
                f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes().decode("utf-8", "replace")
            )
            found[str(path.relative_to(top))] = text
    return found


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "none"


STEPS = """
import asyncio, os, signal, sys
root, folder, name, count = sys.argv[1:]
from hermes_acp.workspace.apply import apply
from hermes_acp.workspace.worktrees.worktrees import Place, find
place = Place(root, folder, dict(os.environ))
worktree = asyncio.run(find(place, name))
left = int(count)
def step(event, arguments):
    global left
    if event not in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"):
        return
    path = os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else ""
    # Paths below an open folder of the tree are relative.
    if not path.startswith("/") or path.startswith((root, folder + "/applying")):
        left -= 1
        if left < 0:
            REACHED
sys.addaudithook(step)
asyncio.run(apply(place, worktree, root))
"""
"""Applies in a process to which something happens before its n-th change to a file or a folder."""


def stepping(repo: Repo, worktree: Worktree, count: int, reached: str) -> subprocess.CompletedProcess[bytes]:
    """Apply in a process of its own, which does `reached` after so many changes."""
    arguments = (repo.place.root, repo.place.folder, worktree.name, str(count))
    env = ENV | {"PYTHONPATH": str(Path(apply.__file__).parents[2])}
    script = STEPS.replace("REACHED", reached)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, capture_output=True, env=env
    )


def killed(repo: Repo, worktree: Worktree, count: int) -> int:
    """Apply, and be killed after so many changes; gives the status of the process."""
    run = stepping(repo, worktree, count, "os.kill(os.getpid(), signal.SIGKILL)")
    assert run.returncode in (0, -signal.SIGKILL), run.stderr.decode()
    return run.returncode
