"""Opens exactly what was judged: a real path, on which no link is followed any more.

A verdict is about the real path that a name led to. Whoever swaps a folder or a file of it for a link
afterwards gets an error, because each name is opened below the folder before it, and a link is none. This
is what `openat2` gives with `RESOLVE_NO_SYMLINKS`, in some 20 µs and on every Unix. Everything blocks.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial

_LOOK = os.O_PATH if sys.platform == "linux" else os.O_RDONLY
_FOLDER = _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def parent(path: str, made: Callable[[str], None] | None = None) -> Generator[tuple[int, str]]:
    """The folder of a real path as an open descriptor, and the last name, to be used below it.

    With `made`, folders that are missing are created and told. Raises `OSError`: `ELOOP` where a link is on
    the way by now, else as `open` does.
    """
    *folders, name = _names(path) or (".",)
    at = os.open("/", _FOLDER)
    try:
        so_far = ""
        for folder in folders:
            so_far += f"/{folder}"
            below = _below(at, folder, None if made is None else partial(made, so_far))
            os.close(at)
            at = below
        yield at, name
    finally:
        os.close(at)


def status(at: int, name: str) -> os.stat_result:
    """What a name below a folder is. Raises `OSError`, with `ELOOP` for a link."""
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a link by now")
    return found


@contextmanager
def listed(path: str) -> Generator[tuple[int, Iterator[os.DirEntry[str]]]]:
    """A real folder and the entries in it, whose paths are only names. Raises `OSError`."""
    with parent(path) as (at, name):
        status(at, name)
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        with os.scandir(folder) as entries:
            yield folder, entries
    finally:
        os.close(folder)


def _names(path: str) -> list[str]:
    names = [name for name in path.split("/") if name]
    if not path.startswith("/") or not {".", ".."}.isdisjoint(names):
        raise ValueError(f"{path!r} is no real path")
    return names


def _below(at: int, name: str, made: Callable[[], None] | None) -> int:
    """The folder `name` in the folder `at`."""
    if made is not None:
        _make(at, name, made)
    try:
        return os.open(name, _FOLDER, dir_fd=at)
    except NotADirectoryError:
        status(at, name)
        raise


def _make(at: int, name: str, made: Callable[[], None]) -> None:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        try:
            os.mkdir(name, dir_fd=at)
        except FileExistsError:
            return
        made()
