"""A working tree as git sees it, and what is in it now written down as a tree object."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

from hermes_acp.records import record
from hermes_acp.storage.errors import StorageError
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.git import GitError, Repository
from hermes_acp.workspace.locations import printable

LONG_SECONDS = 600.0
"""For commands that read or write a whole tree."""

LARGE_BYTES = 64 * 1024 * 1024
"""Larger untracked files are not looked at when a session is reviewed or applied."""

_SETTINGS = {"core.splitIndex": "false", "core.safecrlf": "false", "core.untrackedCache": "false"}
"""Our copies of an index must neither write beside the user's nor stop at a line end."""

_CAUSES = (
    ("dubious ownership", "The repository belongs to another user. If you trust it, tell git so: "
     "git config --global --add safe.directory FOLDER."),
    (r"index\.lock", "Another git command works on this tree. When none is running, remove its index.lock."),
    ("No space left", "The disk is full: free some space and try again."),
    ("does not support --", "git 2.38 or newer is needed."),
    ("usage: git merge-tree", "git 2.38 or newer is needed."),
    ("Please tell me who you are", "Tell git your name and address first."),
    ("can only add regular files",
     "A pipe, a socket or a device stands where git knows a file: move it away."),
    ("bad object|unable to read|missing blob|could not read|invalid object|unable to find",
     "Objects of the repository are missing or damaged; `git fsck` says which."),
    ("index file|bad index|bad signature|unordered stage|unexpected diff status",
     "The index is damaged: `rm .git/index` and `git reset` make a new one; the files stay."),
)  # fmt: skip

_OWN_NAME = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "hermes-editor"), ("EMAIL", "hermes-editor@localhost"))
}

Operation = Literal["merge", "rebase", "cherry-pick", "revert", "bisect"]

_OPERATIONS: tuple[tuple[str, Operation], ...] = (
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)


class WorktreeError(Exception):
    """It cannot be done, and nothing was changed; `str()` says why and what to do."""


@contextmanager
def explained(what: str) -> Generator[None]:
    """Turn failures of git and of the disk into `WorktreeError`s that begin with `what`."""
    try:
        yield
    except (GitError, StorageError) as error:
        hint = next((f" {text}" for sign, text in _CAUSES if re.search(sign, str(error))), "")
        raise WorktreeError(f"{what}: {str(error).strip()}{hint}") from error
    except OSError as error:
        where = f" ({printable(str(error.filename))})" if error.filename else ""
        raise WorktreeError(f"{what}: {error.strerror}{where}.") from error


@record
class Place:
    """Where worktrees come from and where they go.

    `root` is any folder of the user's repository, `folder` the real path of ours for this project
    (made when needed), `env` the environment for git.
    """

    root: str
    folder: str
    env: Mapping[str, str]

    @property
    def worktrees(self) -> Path:
        """The folder that holds the worktrees, each under its own name."""
        return Path(self.folder, "worktrees")


class Tree:
    """A repository opened at one of its working trees; `top` is None in a bare one. Real paths."""

    def __init__(self, repository: Repository, git_dir: str, common_dir: str, top: str | None) -> None:
        self.repository = repository
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.top = top

    async def commit(self, name: str) -> str | None:
        """The commit that `name` stands for, None when there is none. Raises `GitError`."""
        found = await self.repository.ask(
            "rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"
        )
        return found.text if found.status == 0 else None

    async def branch(self) -> str | None:
        """The branch that is checked out, None when HEAD is detached. Raises `GitError`."""
        found = await self.repository.ask("symbolic-ref", "--quiet", "--short", "HEAD")
        return found.text if found.status == 0 else None

    async def operation(self) -> Operation | None:
        """What the user is in the middle of."""
        return await asyncio.to_thread(self._operation)

    def _operation(self) -> Operation | None:
        return next((name for file, name in _OPERATIONS if Path(self.git_dir, file).exists()), None)

    def files(self) -> str:
        """The top folder. Raises `WorktreeError` in a bare repository."""
        if self.top is None:
            raise WorktreeError(
                f"{printable(self.git_dir)} is a bare repository: there are no files here. "
                "Work in one of its worktrees."
            )
        return self.top


async def open_tree(folder: str, env: Mapping[str, str]) -> Tree:
    """The working tree around `folder`. Raises `WorktreeError` when there is none."""
    if not await asyncio.to_thread(Path(folder).is_dir):
        raise WorktreeError(f"The folder {printable(folder)} is gone: it was deleted or moved.")
    with explained(f"{printable(folder)} cannot be used"):
        query = ("--git-dir", "--git-common-dir", "--is-bare-repository", "--show-toplevel")
        found = await Repository(folder, env).ask("rev-parse", "--path-format=absolute", *query)
    lines = os.fsdecode(found.output).splitlines()
    bare = lines[2:] == ["true"]
    if "not a git repository" in found.errors:
        raise WorktreeError(
            f"{printable(folder)} is not in a git repository, which isolation needs: "
            "run git init and make a first commit, or work in place."
        )
    if found.status and not bare:
        with explained(f"{printable(folder)} cannot be used"):
            raise GitError(found.errors)
    if len(lines) != (3 if bare else 4):
        raise WorktreeError(f"{printable(folder)} has a line break in its path, which git cannot say.")
    top = None if bare else lines[3]
    return Tree(Repository(top or lines[0], env), lines[0], lines[1], top)


# --- recording what is there ---------------------------------------------------------------------


@record
class Bench:
    """A temporary folder with an index, and objects that nobody else sees unless `keep` was asked."""

    folder: str
    variables: Mapping[str, str]

    @property
    def index(self) -> Path:
        """The index that our commands use."""
        return Path(self.variables["GIT_INDEX_FILE"])


@record
class Snapshot:
    """What is in a working tree: a tree object, and the paths that could not be part of it.

    `nested` are repositories of their own, `large` files above `LARGE_BYTES`.
    """

    tree: str
    nested: tuple[str, ...] = ()
    large: tuple[str, ...] = ()


@asynccontextmanager
async def bench(tree: Tree, *, keep: bool = False) -> AsyncGenerator[Bench]:
    """A workbench on the repository of `tree`; with `keep`, objects go into the repository itself."""
    async with AsyncExitStack() as undo:
        folder = await to_the_end(asyncio.to_thread(_temporary, undo))
        own = {"GIT_INDEX_FILE": f"{folder}/index", "GIT_LITERAL_PATHSPECS": "1"} | _configuration(_SETTINGS)
        if not keep:
            await asyncio.to_thread(Path(folder, "objects").mkdir)
            own["GIT_OBJECT_DIRECTORY"] = f"{folder}/objects"
            own["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = quoted(f"{tree.common_dir}/objects")
        yield Bench(folder, own)


def _temporary(undo: AsyncExitStack) -> str:
    folder = tempfile.mkdtemp(prefix="hermes-editor-")
    undo.push_async_callback(asyncio.to_thread, shutil.rmtree, folder, ignore_errors=True)
    return folder


async def snapshot(tree: Tree, at: Bench, *, limit: int | None = LARGE_BYTES) -> Snapshot:
    """Everything in the working tree that is not ignored. Raises `GitError`.

    Neither the user's index nor anything else is touched; the index of the bench holds the result.
    """
    await _tracked(tree, at)
    listing = await tree.repository.tell(
        "ls-files", "-z", "--others", "--exclude-standard", variables=at.variables, seconds=LONG_SECONDS
    )
    found = split(listing.output)
    nested = tuple(path for path in found if path.endswith("/"))
    large = await asyncio.to_thread(_large, tree.files(), found, limit)
    left_out = {*nested, *large}
    await _add(tree, at, [path for path in found if path not in left_out])
    return Snapshot(await _written(tree, at), nested, large)


async def snapshot_of(tree: Tree, at: Bench, paths: Iterable[str]) -> str:
    """A tree object of all tracked files and of those `paths` that are there. Raises `GitError`."""
    await _tracked(tree, at)
    await _add(tree, at, await asyncio.to_thread(_ordinary, tree.files(), paths))
    return await _written(tree, at)


async def commit_tree(
    tree: Tree, content: str, parents: Sequence[str], message: str, variables: Mapping[str, str]
) -> str:
    """A commit by us that no branch knows. Raises `GitError`."""
    options = [part for parent in dict.fromkeys(parents) for part in ("-p", parent)]
    made = await tree.repository.tell(
        "commit-tree", *options, content, data=message.encode(), variables=_OWN_NAME | dict(variables)
    )
    return made.text


async def _tracked(tree: Tree, at: Bench) -> None:
    """Fill the index of the bench with the tracked files as they are on the disk."""
    if not await asyncio.to_thread(_copied, Path(tree.git_dir, "index"), at.index):
        await tree.repository.ask("read-tree", "HEAD", variables=at.variables)
    await tree.repository.tell("add", "--update", variables=at.variables, seconds=LONG_SECONDS)


async def _add(tree: Tree, at: Bench, paths: Sequence[str]) -> None:
    if paths:
        await tree.repository.tell(
            *("update-index", "--add", "--replace", "-z", "--stdin"),
            data=joined(paths),
            variables=at.variables,
            seconds=LONG_SECONDS,
        )


async def _written(tree: Tree, at: Bench) -> str:
    # In a partial clone some objects are known by name alone, and stay so.
    return (await tree.repository.tell("write-tree", "--missing-ok", variables=at.variables)).text


def _copied(index: Path, copy: Path) -> bool:
    try:
        # With its times, by which git knows what may have changed after the index was written.
        shutil.copy2(index, copy)
    except FileNotFoundError:
        return False
    return True


def _large(top: str, paths: Iterable[str], limit: int | None) -> tuple[str, ...]:
    def size(path: str) -> int:
        try:
            return Path(top, path).lstat().st_size
        except OSError:
            return 0

    return () if limit is None else tuple(path for path in paths if size(path) > limit)


def _ordinary(top: str, paths: Iterable[str]) -> list[str]:
    return [
        path
        for path in paths
        if (Path(top, path).is_symlink() or Path(top, path).is_file())
        and os.path.realpath(Path(top, path).parent) == str(Path(top, path).parent)
    ]


# --- small things --------------------------------------------------------------------------------


def split(output: bytes) -> list[str]:
    """The paths of a listing that ends each with a NUL."""
    return [os.fsdecode(path) for path in output.split(b"\0") if path]


def joined(paths: Iterable[str]) -> bytes:
    """The paths as git reads them with `-z --stdin`."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def quoted(path: str) -> str:
    """The path in quotes, as git reads paths where a line end or a colon would end them."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    body = "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in os.fsencode(path))
    return f'"{body}"'


def _configuration(settings: Mapping[str, str]) -> dict[str, str]:
    numbered = [(f"GIT_CONFIG_KEY_{n}", f"GIT_CONFIG_VALUE_{n}") for n in range(len(settings))]
    pairs = zip(numbered, settings.items(), strict=True)
    values = {name: value for names, item in pairs for name, value in zip(names, item, strict=True)}
    return {"GIT_CONFIG_COUNT": str(len(settings))} | values
