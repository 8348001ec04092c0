"""Real repositories for tests, and what may not change in them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hermes_acp.workspace.worktrees import Place

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
