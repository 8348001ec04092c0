"""A checkpoint made from another one and the contents of a few files, without a look at the tree."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from hermes_acp.workspace.checkpoints import scan
from hermes_acp.workspace.checkpoints.records import Checkpoint, Note
from hermes_acp.workspace.checkpoints.store import Store
from hermes_acp.workspace.checkpoints.tree import Tree
from hermes_acp.workspace.places import PROGRAM, Version

Content: TypeAlias = bytes | Version | None
"""What a file holds: bytes, a version that the store has already, or None for no file."""

NAMED_AT_ONCE = 200
"""Of more files the whole tree is listed: a command line has its bounds."""

_FILE = "100644"
_LINK = "120000"
_NO_SPLIT = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.splitIndex", "GIT_CONFIG_VALUE_0": "false"}


async def amend(
    store: Store, tree: Tree, checkpoint: Checkpoint, contents: Mapping[str, Content], label: str
) -> Checkpoint:
    """The amended checkpoint; the tree has to be held. Raises `GitError` and `OSError`."""
    ours = await asyncio.to_thread(scan.ours, tree.root, store.private)
    wanted = {
        path: held for path, held in contents.items() if _possible(path) and not scan.is_ours(path, ours)
    }
    old = await _versions(store, checkpoint, list(wanted))
    await tree.know(await asyncio.to_thread(_files, tree.root, wanted.keys() - old.keys()))
    new = await asyncio.to_thread(_named, tree, wanted, old)
    changed = {path: version for path, version in new.items() if version != old.get(path)}
    if not changed:
        return checkpoint
    blobs = [content for path, content in wanted.items() if path in changed and isinstance(content, bytes)]
    made = await _composed(store, tree, checkpoint, changed, blobs)
    await store.keep([old[path].blob for path in changed if path in old], tree.object_variables)
    # The tree's own last checkpoint stays that of its index.
    note = Note(label, tree.root, checkpoint.beside)
    return await store.add(checkpoint.session, made, note, "", checkpoint.number)


async def _versions(store: Store, checkpoint: Checkpoint, paths: Sequence[str]) -> dict[str, Version]:
    if not paths:
        return {}
    named = paths if len(paths) <= NAMED_AT_ONCE else ()
    listing = await store.tell("ls-tree", "-r", "-z", "--full-tree", checkpoint.tree, "--", *named)
    # <mode> blob <blob>\t<path>
    entries = (line.partition(b"\t") for line in listing.output.split(b"\0")[:-1])
    found = ((os.fsdecode(path), about.decode("ascii").split(" ")) for about, _, path in entries)
    wanted = set(paths)
    return {path: Version(about[0], about[2]) for path, about in found if path in wanted}


async def _composed(
    store: Store,
    tree: Tree,
    checkpoint: Checkpoint,
    changed: Mapping[str, Version | None],
    blobs: Sequence[bytes],
) -> str:
    """The name of the tree with these versions in it, in an index that nobody else sees."""
    folder = tree.folder / f"amend-{secrets.token_hex(6)}"
    index = {"GIT_INDEX_FILE": str(folder / "index"), **_NO_SPLIT}
    try:
        names = await asyncio.to_thread(_written, folder, blobs)
        if names:
            await store.tell("hash-object", "-w", "--no-filters", "--stdin-paths", data=names)
        await store.tell("read-tree", checkpoint.tree, variables=index)
        listing = b"".join(_entry(path, version, checkpoint.tree) for path, version in changed.items())
        await store.tell("update-index", "--replace", "-z", "--index-info", data=listing, variables=index)
        return (await store.tell("write-tree", "--missing-ok", variables=index)).text
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


# --- below: in a thread, or pure -----------------------------------------------------------------


def _files(root: str, paths: Iterable[str]) -> list[str]:
    """Those at which there is a file or a link now, which git may not know yet."""
    places = ((path, Path(root, path)) for path in paths)
    return sorted(path for path, place in places if place.is_symlink() or place.is_file())


def _possible(path: str) -> bool:
    """Whether a tree of git can hold the path."""
    return ".git" not in path.lower().split("/")


def _named(
    tree: Tree, contents: Mapping[str, Content], old: Mapping[str, Version]
) -> dict[str, Version | None]:
    """The contents as versions; a file keeps its mode."""
    named: dict[str, Version | None] = {}
    for path, content in contents.items():
        if isinstance(content, bytes):
            known = old.get(path)
            mode = known.mode if known is not None and known.mode != _LINK else _mode(tree.root, path)
            named[path] = Version(mode, _name(content, tree.object_format))
        else:
            named[path] = content
    return named


def _mode(root: str, path: str) -> str:
    return PROGRAM if os.access(Path(root, path), os.X_OK) else _FILE


def _name(content: bytes, object_format: str) -> str:
    """What git calls a blob."""
    return hashlib.new(object_format, b"blob %d\0" % len(content) + content).hexdigest()


def _written(folder: Path, blobs: Sequence[bytes]) -> bytes:
    """Write the blobs into files; their names, a line each."""
    folder.mkdir(mode=0o700)
    for number, content in enumerate(blobs):
        (folder / str(number)).write_bytes(content)
    return b"".join(os.fsencode(folder / str(number)) + b"\n" for number in range(len(blobs)))


def _entry(path: str, version: Version | None, name: str) -> bytes:
    """A line of `update-index --index-info`; `name` shows how long the names of objects are."""
    mode, blob = (version.mode, version.blob) if version is not None else ("0", "0" * len(name))
    return f"{mode} {blob}\t".encode() + os.fsencode(path) + b"\0"
