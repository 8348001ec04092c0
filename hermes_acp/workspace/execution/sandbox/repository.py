"""What of a repository a commit has to write, and what in it nobody may touch. Looks at the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILE_BYTES = 256 * 1024
"""Longest configuration of a repository that is looked into."""

MODULES = 64
"""Git folders of submodules that are looked at."""

MODULE_DEPTH = 6
"""Folders from `modules` to the git folder of a submodule, whose name may hold slashes."""

_WORKTREE = re.compile(r"^\s*worktree\s*=\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_FILES = re.compile(
    r"^\s*(?:hookspath|path|attributesfile|fsmonitor)\s*=\s*\"?(.+?)\"?\s*$", re.MULTILINE | re.IGNORECASE
)


@dataclass(slots=True)
class GitData:
    """Absolute paths. `writable` are folders; `read_only` exist; `holders` must stay empty while they do not.

    A holder is a file or, where it ends with a slash, a folder. `forbidden` are files that nobody has a
    use for, and that would lead git to a configuration of somebody else's choice. `missing` is what the
    configuration names.
    """

    writable: list[str] = field(default_factory=list[str])
    read_only: list[str] = field(default_factory=list[str])
    holders: list[str] = field(default_factory=list[str])
    forbidden: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])


def git_data(root: str) -> GitData:
    """What belongs to the repository around `root`; empty where there is none.

    A gitfile is believed only when the git folder that it names says the same: else a file of the
    workspace could open any folder.
    """
    found = next((path for path in _candidates(root) if os.path.lexists(path)), None)
    data = GitData()
    if found is None or found.is_symlink():
        return data
    if found.is_dir():
        _add(data, found, str(found.parent))
        return data
    data.read_only.append(str(found))
    folder = _line(found).removeprefix("gitdir:").strip()
    git = Path(os.path.realpath(found.parent / folder)) if folder else found
    if os.path.realpath(_line(git / "gitdir")) == str(found):
        common = Path(os.path.realpath(git / _line(git / "commondir")))
        if git.parent == common / "worktrees":
            _add(data, common, str(found.parent))
            _add_linked(data, git)
    elif (tree := _WORKTREE.search(_text(git / "config"))) and os.path.realpath(git / tree[1]) == str(
        found.parent
    ):
        _add(data, git, str(found.parent))
    return data


def _candidates(root: str) -> Iterator[Path]:
    for folder in (Path(root), *Path(root).parents):
        yield folder / ".git"


def _add(data: GitData, common: Path, tree: str) -> None:
    """A git folder with a configuration of its own, and those of its submodules."""
    if not (common / "HEAD").is_file():
        return
    data.writable.append(str(common))
    modules = _modules(common)
    if len(modules) == MODULES:
        # There may be more, which nobody looked at.
        data.read_only.append(str(common / "modules"))
    for git in (common, *modules):
        data.forbidden.append(str(git / "commondir"))
        _guard(data, git, "config", "config.worktree", "hooks/", "info/attributes")
        for match in _FILES.finditer(_text(git / "config")):
            named = os.path.realpath(Path(tree, match[1])), os.path.realpath(git / match[1])
            for path in named:
                (data.read_only if os.path.lexists(path) else data.missing).append(path)
    # Those of others; the own one lies below and is opened again.
    if (common / "worktrees").is_dir():
        data.read_only.append(str(common / "worktrees"))


def _add_linked(data: GitData, git: Path) -> None:
    data.writable.append(str(git))
    _guard(data, git, "config.worktree", "commondir", "gitdir")


def _guard(data: GitData, git: Path, *names: str) -> None:
    for name in names:
        path = git / name
        if not path.parent.is_dir():
            path, name = path.parent, f"{path.parent.name}/"
        if os.path.lexists(path):
            data.read_only.append(str(path))
        else:
            data.holders.append(f"{path}/" if name.endswith("/") else str(path))


def _modules(common: Path) -> list[Path]:
    found: list[Path] = []
    waiting = [(common / "modules", 0)]
    while waiting and len(found) < MODULES:
        folder, depth = waiting.pop()
        # A command may remove `HEAD`, but never what is guarded.
        if (folder / "HEAD").is_file() or (folder / "config").is_file():
            found.append(folder)
            waiting.append((folder / "modules", depth))
        elif depth < MODULE_DEPTH:
            waiting.extend((child, depth + 1) for child in _folders(folder))
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.is_symlink()]
    except OSError:
        return []


def _line(file: Path) -> str:
    return _text(file).strip()


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
