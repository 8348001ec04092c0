"""Reaches files of a workspace without following links: a running command may swap one in. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable


def opened(root: str, folders: Iterable[str]) -> int:
    """A descriptor of the folder, to be closed. Raises OSError."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.open(root, flags)
    for name in folders:
        try:
            inner = os.open(name, flags, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


def identity(path: str, roots: Iterable[str]) -> str | None:
    """What tells a file from all others, as `DEVICE:NUMBER`; None outside of the roots.

    Raises OSError for one that cannot be reached without a link.
    """
    around = [root for root in roots if path.startswith(f"{root}/")]
    if not around:
        return None
    root = max(around, key=len)
    *folders, name = path[len(root) + 1 :].split("/")
    parent = opened(root, folders)
    try:
        return number(os.stat(name, dir_fd=parent, follow_symlinks=False))
    finally:
        os.close(parent)


def number(found: os.stat_result) -> str:
    """The identity of what was found."""
    return f"{found.st_dev}:{found.st_ino}"
