"""Where files are: names made absolute and real, and whether they lie inside a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from unicodedata import category

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


class DocumentError(Exception):
    """A file cannot be named, read or written; `str()` says why and what to do."""


def resolve(cwd: str, path: str) -> str:
    """The absolute real path of `path`, which is taken relative to `cwd`; it need not exist.

    `~` is an ordinary name. Follows links, so it touches the disk: call it in a thread. Raises
    `DocumentError` for a name that no file can have.
    """
    if not path:
        raise DocumentError("The path is empty: name a file or a folder.")
    if "\0" in path:
        raise DocumentError("The path contains a NUL character: no file can have that name.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise DocumentError("The path contains half a character: no file can have that name.") from error
    return os.path.realpath(Path(cwd, path))


def inside(path: str, roots: Iterable[str]) -> bool:
    """Whether the real `path` is one of the real `roots` or below one; pure."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def printable(path: str) -> str:
    """A path as text that can be sent and shown: control characters and broken ones replaced."""
    if path.isprintable():
        return path
    return "".join("\N{REPLACEMENT CHARACTER}" if category(char) in _UNPRINTABLE else char for char in path)
