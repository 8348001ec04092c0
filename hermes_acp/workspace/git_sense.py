"""A repository as one session may look at it: where it is, its branch, what is changed in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hermes_acp.policy.effects import Effect
from hermes_acp.records import record
from hermes_acp.workspace import disk
from hermes_acp.workspace.git import Answer, GitError, Repository
from hermes_acp.workspace.locations import DocumentError, inside, printable
from hermes_acp.workspace.worktrees.trees import Operation, Tree, WorktreeError, explained

SECONDS = 20.0
"""How long one look may take."""

REVISION_CHARS = 500
"""Longer names of revisions are refused."""

_POINTER_BYTES = 4096
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--find-renames")
_QUERY = ("--git-dir", "--git-common-dir", "--is-bare-repository", "--show-toplevel")
_BIG_FILE = "1m"
_SETTINGS = {
    "core.quotePath": "false",
    "core.bigFileThreshold": _BIG_FILE,
    "color.ui": "false",
    "diff.orderFile": "/dev/null",
}
VARIABLES = {"GIT_CONFIG_COUNT": str(len(_SETTINGS))} | {
    f"GIT_CONFIG_{part}_{at}": text
    for at, pair in enumerate(_SETTINGS.items())
    for part, text in zip(("KEY", "VALUE"), pair, strict=True)
}
"""Names as they are, and a file of more than 1 MiB counts as binary: it is named, not compared."""


class GitTrouble(Exception):
    """git cannot tell; `str()` says why and what to do."""


@contextmanager
def told(what: str) -> Generator[None]:
    """Turn failures of git into `GitTrouble` that begins with `what`."""
    try:
        with explained(what):
            yield
    except WorktreeError as error:
        raise GitTrouble(str(error)) from error


@record
class View:
    """A repository, and the part of its working tree that belongs to the session.

    `specs` are pathspecs for that part, none for all of it. `borrowed` says that the files name a
    repository elsewhere that knows nothing of them: reading it needs the permission of `reading`.
    """

    tree: Tree
    specs: tuple[str, ...] = ()
    borrowed: bool = False

    async def ask(self, *command: str) -> Answer:
        """Run a git command that may fail. Raises `GitError`."""
        return await self.tree.repository.ask(*command, variables=VARIABLES, seconds=SECONDS)

    async def tell(self, *command: str) -> Answer:
        """Run a git command that has to succeed. Raises `GitError`."""
        return await self.tree.repository.tell(*command, variables=VARIABLES, seconds=SECONDS)

    def reading(self, cwd: str) -> Effect | None:
        """What has to be permitted before anything of the repository is shown; mostly nothing."""
        if not self.borrowed:
            return None
        place = self.tree.common_dir
        return Effect("read", f"Read the repository {printable(place)}", paths=(place,), cwd=cwd)


async def open_view(cwd: str, roots: tuple[str, ...], env: Mapping[str, str]) -> View:
    """The repository around `cwd`, as a session with these real `roots` sees it. Raises `GitTrouble`.

    Nothing that the repository configures is run.
    """
    with told(f"The repository around {printable(cwd)} cannot be read"):
        repository = Repository(cwd, env)
        found = await repository.ask("rev-parse", "--path-format=absolute", *_QUERY, seconds=SECONDS)
        if "not a git repository" in found.errors:
            raise GitTrouble(f"{printable(cwd)} is not in a git repository: there is no history to look at.")
        lines = os.fsdecode(found.output).splitlines()
        bare = lines[2:] == ["true"]
        if len(lines) != (3 if bare else 4):
            raise GitError(found.errors or "its path has a line break, which git cannot say.")
        return await asyncio.to_thread(_view, repository, lines, roots)


def _view(repository: Repository, lines: list[str], roots: tuple[str, ...]) -> View:
    git_dir, common, *top = map(os.path.realpath, (*lines[:2], *lines[3:]))
    if not top:
        return View(Tree(repository, git_dir, common, None), (), not _owned(git_dir, roots))
    tree = Tree(repository, git_dir, common, top[0])
    specs = _within(top[0], roots)
    if specs is None:
        raise GitTrouble(
            f"The repository {printable(git_dir)} says that its files are in {printable(top[0])}, "
            "outside the folders of this session (core.worktree): it is not read."
        )
    return View(tree, specs, not (_owned(common, roots) or _knows(tree)) or _scattered(common))


def _within(top: str, roots: Sequence[str]) -> tuple[str, ...] | None:
    """Pathspecs for what the session may see of the files; None when there is nothing of that."""
    if inside(top, roots):
        return ()
    below = [root for root in roots if inside(root, (top,))]
    return tuple(pathspec(os.path.relpath(root, top)) for root in below) or None


def _owned(common: str, roots: Sequence[str]) -> bool:
    """Whether the git folder lies in the session's folders, or holds one of them."""
    return inside(common, roots) or any(inside(root, (common,)) for root in roots)


def _knows(tree: Tree) -> bool:
    """Whether the git folder itself says that the working tree is one of its own."""
    gate = str(Path(tree.files(), ".git"))
    if tree.common_dir == gate:
        return True
    if tree.git_dir != tree.common_dir:
        back = _pointer(Path(tree.git_dir, "gitdir"))
        linked = inside(tree.git_dir, (str(Path(tree.common_dir, "worktrees")),))
        return linked and os.path.realpath(Path(tree.git_dir, back)) == gate
    # A submodule: its git folder lies in that of the repository around it, whose files hold it.
    outer = tree.git_dir.partition("/.git/modules/")
    return bool(outer[1]) and inside(tree.files(), (outer[0],))


def _scattered(common: str) -> bool:
    """Whether what git reads there are links to some other place."""
    names = ("objects", "refs", "packed-refs", "HEAD")
    return any(not inside(os.path.realpath(Path(common, name)), (common,)) for name in names)


def _pointer(file: Path) -> str:
    try:
        content = disk.read(str(file), _POINTER_BYTES)
    except DocumentError:
        return ""
    return os.fsdecode(content.data).strip("\r\n") if content and b"\0" not in content.data else ""


# --- names ---------------------------------------------------------------------------------------


def pathspec(path: str) -> str:
    """A pathspec for exactly this path, given relative to the top of the working tree."""
    return f":(top,literal){'' if path == '.' else path}"


async def commit_of(view: View, name: str) -> str:
    """The id of the commit that a person's word stands for. Raises `GitTrouble`."""
    if not name or len(name) > REVISION_CHARS or not name.isprintable():
        raise GitTrouble("The revision is empty, too long or has unprintable characters.")
    with told(f"{name} cannot be looked up"):
        found = await view.tree.commit(name)
    if found is None:
        raise GitTrouble(f"There is no commit {name!r} here: look with log, or name a branch, tag or id.")
    return found


async def head(view: View) -> str | None:
    """The id of the checked out commit, None when there is none yet. Raises `GitTrouble`."""
    with told("HEAD cannot be read"):
        found = await view.ask("rev-parse", "--verify", "--quiet", "HEAD")
        if found.status:
            return None
        if await view.tree.commit("HEAD") is None:
            raise GitError(f"bad object: the commit {found.text[:12]} that HEAD names is not there.")
    return found.text


# --- status --------------------------------------------------------------------------------------


@record
class FileState:
    """A path with what `git status` says of it: two letters, for the index and for the files.

    `??` is untracked, a letter `U` in it (or `AA`, `DD`) a conflict. `old_path` is where a renamed
    one was. Paths are relative to the top of the working tree.
    """

    path: str
    code: str
    old_path: str | None = None

    @property
    def conflict(self) -> bool:
        """Whether a merge left it unfinished."""
        return "U" in self.code or self.code in ("AA", "DD")


@record
class Status:
    """Branch and changes. `branch` is None when HEAD is detached, `commit` None before the first.

    `upstream` has the distance to it in `ahead` and `behind`, None when it is gone. `locked` says
    that another git command holds the index, or died while it did.
    """

    branch: str | None
    commit: str | None
    files: tuple[FileState, ...] = ()
    upstream: str | None = None
    ahead: int | None = None
    behind: int | None = None
    operation: Operation | None = None
    locked: bool = False


async def status(view: View) -> Status:
    """What is checked out and what is changed. Raises `GitTrouble`, in a bare repository too."""
    files_of(view)
    # Whether a submodule is dirty would be asked of git in there, with its own configuration.
    options = ("--ignore-submodules=dirty", "--", *view.specs)
    with told("The changes cannot be listed"):
        answer = await view.tell(*_STATUS, *options)
    operation = await view.tree.operation()
    locked = await asyncio.to_thread(Path(view.tree.git_dir, "index.lock").exists)
    return _status(answer.output, operation, locked=locked)


def files_of(view: View) -> str:
    """The top folder of the files. Raises `GitTrouble` in a bare repository."""
    if view.tree.top is None:
        place = printable(view.tree.git_dir)
        raise GitTrouble(f"{place} is a bare repository: it has history, but no files to compare.")
    return view.tree.top


def _status(output: bytes, operation: Operation | None, *, locked: bool) -> Status:
    records = os.fsdecode(output).split("\0")[:-1]
    facts = dict(record[2:].split(" ", 1) for record in records if record.startswith("# "))
    branch, commit = printable(facts.get("branch.head", "")), facts.get("branch.oid", "")
    ahead, behind = _distance(facts.get("branch.ab"))
    return Status(
        branch=None if branch == "(detached)" else branch,
        commit=None if commit == "(initial)" else commit,
        files=tuple(_states(iter(records))),
        upstream=printable(facts["branch.upstream"]) if "branch.upstream" in facts else None,
        ahead=ahead,
        behind=behind,
        operation=operation,
        locked=locked,
    )


def _distance(counts: str | None) -> tuple[int | None, int | None]:
    if counts is None:
        return None, None
    ahead, behind = counts.split(" ")
    return abs(int(ahead)), abs(int(behind))


_FIELDS = {"1": 8, "2": 9, "u": 10}
"""Fields before the path in a record of each kind."""


def _states(records: Iterator[str]) -> Iterator[FileState]:
    for entry in records:
        kind, _, rest = entry.partition(" ")
        if kind == "?":
            yield FileState(rest, "??")
        elif kind in _FIELDS:
            code, *_, path = rest.split(" ", _FIELDS[kind] - 1)
            yield FileState(path, code, next(records) if kind == "2" else None)
