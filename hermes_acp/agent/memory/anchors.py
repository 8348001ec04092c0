"""The files that facts were read from, by their contents: a fact is stale once its file is another one.

Blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from hermes_acp.memory.facts.evidence import stale
from hermes_acp.memory.facts.fact import BadFact, Fact
from hermes_acp.policy.paths import inside
from hermes_acp.workspace import disk
from hermes_acp.workspace.locations import DocumentError

FILE_BYTES = 8 * 1024 * 1024
"""A larger file is no source that anybody has read."""
NO_FILE = (
    "{typed} is no file of this project that could be a source: give its path, below the project's root."
)


def anchor(root: str, cwd: str, typed: str) -> str:
    """A file as evidence names it: its path below the root, and the name that git has for its contents.

    Raises `BadFact`.
    """
    real = os.path.realpath(Path(cwd, typed))
    path = os.path.relpath(real, root) if inside(real, (root,)) else ""
    blob = _blob(root, path) if path else None
    if blob is None:
        raise BadFact(NO_FILE.format(typed=typed[:200]))
    return f"{path}@{blob}"


def changed(facts: Iterable[Fact], root: str) -> frozenset[str]:
    """The ids of those facts whose files below the root are not as they were."""
    known: dict[str, str | None] = {}

    def blob_of(path: str) -> str | None:
        if path not in known:
            known[path] = _blob(root, path)
        return known[path]

    return frozenset(fact.id for fact in facts if stale(fact, blob_of))


def _blob(root: str, path: str) -> str | None:
    real = os.path.realpath(Path(root, path))
    if not inside(real, (root,)):
        return None
    try:
        content = disk.read(real, FILE_BYTES)
    except DocumentError:
        return None
    if content is None:
        return None
    head = b"blob %d\0" % len(content.data)
    return hashlib.sha1(head + content.data, usedforsecurity=False).hexdigest()
