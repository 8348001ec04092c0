"""What project a folder belongs to, what its people wrote down for agents, and the state of its git."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace import disk, git, marks
from hermes_acp.workspace.encoding import NotText, decode
from hermes_acp.workspace.git_config import entries
from hermes_acp.workspace.locations import DocumentError, inside, printable

INSTRUCTION_NAMES = (".hermes.md", "AGENTS.md", "CLAUDE.md")
"""Files with instructions for agents, in the order of reading within a folder."""

INSTRUCTION_CHARS = 32_000
"""More of one instruction file is cut off."""

INSTRUCTION_CHARS_IN_ALL = 64_000
"""More of all instruction files together is cut off, outermost folders first."""

INSTRUCTION_FILE_BYTES = 1024 * 1024
"""Larger files are no instructions: they are named but not read."""

SUBJECT_CHARS = 100
"""Longer subjects and branch names are cut."""

_LINK_BYTES = 4096
_HEADS = "refs/heads/"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--ignore-submodules=all")
_LOG = ("log", "-3", "--no-color", "--encoding=UTF-8", "--format=%h %s")


@record
class Project:
    """The tree at `root` (real path); `key` is the same for all linked worktrees of a repository.

    `key` is the real path of the common git folder, or of the folder itself without git. `id` is what
    stands there: empty before the first turn and where nothing can be written, and in a fresh copy that
    of the original. `identity.identify` gives the true one. `parent` has this project as a submodule.
    """

    id: str
    root: str
    key: str
    name: str
    parent: Project | None = None


@record
class Checkout:
    """What is checked out in the tree at `root`: a branch, or a commit without one. Empty where unknown."""

    root: str = ""
    head: str = ""


async def find_project(cwd: str) -> Project:
    """The project of a folder: the nearest one above it with a `.git`, else the folder itself.

    Reads a few small files and starts no program.
    """
    return await asyncio.to_thread(_find, cwd)


async def checked_out(cwd: str) -> Checkout:
    """What is checked out where a folder is. Reads a few small files and starts no program."""
    return await asyncio.to_thread(_checked_out, cwd)


def counterpart(cwd: str, root: str, other: str) -> str:
    """The folder in the tree `other` that is what `cwd` is in the tree `root`; pure, all absolute."""
    return str(Path(other, Path(cwd).relative_to(root)))


@record
class InstructionFile:
    """A file with instructions for agents: what is shown of it, and all of it, empty when it was not read."""

    path: str
    text: str
    whole: str


async def instruction_files(cwd: str, root: str) -> tuple[InstructionFile, ...]:
    """Every instruction file from `root` down to `cwd`; the nearest come last.

    A file that is reached twice counts once. One that cannot be used, or is cut, says so in its
    text. Nothing above `root`, and nothing outside it that a link names, is read.
    """
    return await asyncio.to_thread(_instructions, cwd, root)


async def git_state(root: str, env: Mapping[str, str]) -> str:
    """A few lines on branch, changes and last commits; empty when git cannot tell in time.

    `env` is the environment for git. Nothing that the repository configures is run.
    """
    try:
        status, log = await git.ask(root, env, _STATUS, _LOG)
    except git.GitError:
        return ""
    return _describe(status.splitlines(), log.splitlines()) if status else ""


# --- the project ---------------------------------------------------------------------------------


def _find(cwd: str) -> Project:
    here = Path(os.path.realpath(cwd))
    if found := _repository(here):
        return found
    return Project(marks.read(str(here)), str(here), str(here), here.name or str(here))


def _repository(here: Path) -> Project | None:
    """The nearest repository at or above a real path."""
    for folder in (here, *here.parents):
        if found := _git_folders(folder):
            own, common = found
            key = str(common)
            return Project(
                marks.read(key), str(folder), key, _name(folder, own, common), _parent(folder, key)
            )
    return None


def _checked_out(cwd: str) -> Checkout:
    here = Path(os.path.realpath(cwd))
    for folder in (here, *here.parents):
        if found := _git_folders(folder):
            return Checkout(printable(str(folder)), _head(found[0] / "HEAD"))
    return Checkout()


def _head(file: Path) -> str:
    """The branch or the commit that a `HEAD` names; empty where its repository keeps that elsewhere."""
    try:
        content = disk.read(str(file), _LINK_BYTES)
    except DocumentError:
        return ""
    text = content.data.decode("utf-8", "replace").strip() if content else ""
    if _COMMIT.fullmatch(text):
        return text
    name = text.removeprefix("ref:").strip()
    # What follows stands in for a branch where branches are kept in tables.
    return name.removeprefix(_HEADS) if name.startswith(_HEADS) and name != f"{_HEADS}.invalid" else ""


def _git_folders(folder: Path) -> tuple[Path, Path] | None:
    """The git folder of this worktree, and the one that all worktrees share; None when it is no worktree."""
    entry = folder / ".git"
    if entry.is_dir():
        own = Path(os.path.realpath(entry))
    elif target := _link(entry, "gitdir:"):
        own = Path(os.path.realpath(target))
    elif folder.name != ".git":
        # Perhaps a bare repository: who works in it works on the project of its worktrees.
        own = folder
    else:
        return None
    common = Path(os.path.realpath(_link(own / "commondir", "") or own))
    return (own, common) if marks.is_git_folder(common) else None


def _name(folder: Path, own: Path, common: Path) -> str:
    """The name of the main worktree, which all linked ones share, or of the bare repository."""
    if common.name in (".git", ".bare"):
        return common.parent.name or str(common.parent)
    if own == common != folder:
        return folder.name or str(folder)
    return common.name.removesuffix(".git") or str(common)


def _parent(folder: Path, key: str) -> Project | None:
    """The project around a submodule; a repository that merely lies inside another one has none."""
    outer = None if folder == folder.parent else _repository(folder.parent)
    if outer is None or outer.key == key:
        return None
    is_submodule = inside(key, (outer.key,)) or str(folder.relative_to(outer.root)) in _submodules(outer.root)
    return outer if is_submodule else None


def _submodules(root: str) -> set[str]:
    """The paths that `.gitmodules` names, for submodules that keep their git folder themselves."""
    try:
        content = disk.read(str(Path(root, ".gitmodules")), marks.CONFIG_BYTES)
    except DocumentError:
        return set()
    listed = entries(os.fsdecode(content.data)) if content else ()
    return {entry.value for entry in listed if (entry.section, entry.name) == ("submodule", "path")}


def _link(file: Path, prefix: str) -> Path | None:
    """The path that a small file of git holds behind `prefix`, taken relative to its folder."""
    try:
        content = disk.read(str(file), _LINK_BYTES)
    except DocumentError:
        return None
    text = os.fsdecode(content.data).rstrip("\r\n") if content else ""
    target = text.removeprefix(prefix).strip(" ")
    if not target or "\0" in target or not text.startswith(prefix):
        return None
    return file.parent / target


# --- instructions --------------------------------------------------------------------------------


def _instructions(cwd: str, root: str) -> tuple[InstructionFile, ...]:
    here, top = os.path.realpath(cwd), os.path.realpath(root)
    top = top if inside(here, (top,)) else here
    folders = [folder for folder in (Path(here), *Path(here).parents) if inside(str(folder), (top,))]
    files = _distinct(reversed(folders))
    left = INSTRUCTION_CHARS_IN_ALL
    found: list[InstructionFile] = []
    # The nearest are the most to the point, so they are the last to be cut.
    for path in reversed(files):
        file = _instruction(path, top, min(left, INSTRUCTION_CHARS))
        left = max(0, left - len(file.text))
        found.append(file)
    return tuple(reversed(found))


def _distinct(folders: Iterable[Path]) -> list[str]:
    paths = (str(folder / name) for folder in folders for name in INSTRUCTION_NAMES)
    by_real_path: dict[str, str] = {}
    for path in paths:
        if os.path.lexists(path):
            by_real_path.setdefault(os.path.realpath(path), path)
    return list(by_real_path.values())


def _instruction(path: str, root: str, limit: int) -> InstructionFile:
    """One file; its text is a note in brackets where it cannot be read."""
    real = os.path.realpath(path)
    if not inside(real, (root,)):
        return InstructionFile(path, "[not read: this is a link to a file outside the project]", "")
    try:
        content = disk.read_real(real, INSTRUCTION_FILE_BYTES)
        whole = decode(content.data).text if content else ""
    except DocumentError as error:
        return InstructionFile(path, f"[not read: {error}]", "")
    except NotText as error:
        return InstructionFile(path, f"[not read: the file is {error}]", "")
    if content is None:
        return InstructionFile(path, "[not read: the link leads nowhere]", "")
    cut = f"\n[cut: {limit:,} of {len(whole):,} characters are shown]" if len(whole) > limit else ""
    return InstructionFile(path, f"{whole[:limit]}{cut}", whole)


# --- git -----------------------------------------------------------------------------------------


def _describe(status: list[str], log: list[str]) -> str:
    """The few lines that say what `git status --porcelain=v2 --branch` and `git log` say."""
    facts = dict(line[2:].split(" ", 1) for line in status if line.startswith("# ") and " " in line[2:])
    untracked = sum(line.startswith("? ") for line in status)
    changed = sum(line.startswith(("1 ", "2 ", "u ")) for line in status)
    lines = [_branch(facts), f"{changed} changed, {untracked} untracked" if changed or untracked else "clean"]
    if log:
        lines += ["last commits:", *(f"  {_short(line)}" for line in log)]
    return "\n".join(lines)


def _branch(facts: Mapping[str, str]) -> str:
    head = facts.get("branch.head", "")
    commit = facts.get("branch.oid", "")
    if head == "(detached)":
        return f"detached at {commit[:10]}"
    text = f"branch {_short(head)}"
    if upstream := facts.get("branch.upstream"):
        text += f", upstream {_short(upstream)} ({_distance(facts.get('branch.ab'))})"
    return f"{text}, no commits yet" if commit == "(initial)" else text


def _distance(counts: str | None) -> str:
    if counts is None:
        return "gone"
    ahead, behind = (part[1:] for part in counts.split(" "))
    return "even" if ahead == behind == "0" else f"ahead {ahead}, behind {behind}"


def _short(text: str) -> str:
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= SUBJECT_CHARS else text[: SUBJECT_CHARS - 1] + "…"
