"""The worktrees of a repository of facts: a folder for each branch, as git has them."""

from __future__ import annotations

import shutil
from pathlib import Path

_COMMON = "../..\n"
_HEAD = "ref: refs/heads/"


class Trees:
    """The worktrees below `folder` of the bare repository `bare`. Everything blocks, and raises `OSError`."""

    def __init__(self, bare: Path, folder: Path) -> None:
        self._bare = bare
        self._folder = folder

    def folder_of(self, branch: str) -> Path:
        """Where a branch is checked out."""
        return self._folder / branch

    def git_folder_of(self, branch: str) -> Path:
        """What git keeps of the worktree: its HEAD and its index."""
        return self._bare / "worktrees" / branch.replace("/", "-")

    def branches(self) -> list[str]:
        """The branches that have worktrees, also those that are gone."""
        heads = (path.read_text("utf-8") for path in self._bare.glob("worktrees/*/HEAD"))
        return [head.strip().removeprefix(_HEAD) for head in heads if head.startswith(_HEAD)]

    def make(self, branch: str) -> None:
        """Have a worktree for a branch, also after somebody removed or moved a part of it."""
        own, tree = self.git_folder_of(branch), self.folder_of(branch)
        if not tree.is_dir():
            # What the index says of files is not so any more.
            shutil.rmtree(own, ignore_errors=True)
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        tree.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(own / "HEAD", f"{_HEAD}{branch}\n")
        _write(own / "commondir", _COMMON)
        _write(own / "gitdir", f"{tree / '.git'}\n")
        _write(tree / ".git", f"gitdir: {own}\n")

    def remove(self, branch: str) -> None:
        """Remove the worktree of a branch that is gone."""
        shutil.rmtree(self.git_folder_of(branch), ignore_errors=True)
        shutil.rmtree(self.folder_of(branch), ignore_errors=True)

    def remove_all(self) -> None:
        """Remove all worktrees."""
        shutil.rmtree(self._bare / "worktrees", ignore_errors=True)
        if self._folder.exists():
            shutil.rmtree(self._folder)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
