"""Where other programs listen: to connect or to write there needs no right to change files. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from stat import S_ISFIFO

from hermes_acp.policy.paths import inside

SOCKETS = Path("/proc/net/unix")
SEEN = 512
"""Unix sockets, and pipes, of other programs that are hidden one by one."""

DESCRIPTORS = 5_000
"""Open files of other programs that are looked at for pipes: 20 ms at most."""

REPLACED = ("/dev", "/proc", "/run", "/tmp", "/var/run", "/var/tmp")
"""Folders that a sandbox has of its own."""


def sockets(roots: tuple[str, ...]) -> list[str]:
    """Unix sockets with a name, outside of the roots: what is in the workspace is the workspace's."""
    try:
        lines = SOCKETS.read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return []
    return _outside((words[7] for line in lines if len(words := line.split(None, 7)) > 7), roots)


def pipes(roots: tuple[str, ...]) -> list[str]:
    """Pipes (FIFOs) outside of the roots that a program of this user has open."""
    return [path for path in _outside(islice(_open_files(), DESCRIPTORS), roots) if _is_pipe(path)]


def _outside(paths: Iterable[str], roots: tuple[str, ...]) -> list[str]:
    named = {path for path in paths if path.startswith("/")}
    outside = (path for path in sorted(named) if not inside(path, (*REPLACED, *roots)))
    return [os.path.realpath(path) for path in islice(outside, SEEN)]


def _open_files() -> Iterator[str]:
    """What every descriptor that may be looked at leads to."""
    for process in os.listdir("/proc"):  # noqa: PTH208
        folder = f"/proc/{process}/fd"
        try:
            numbers = os.listdir(folder) if process.isdigit() else ()  # noqa: PTH208
        except OSError:
            # Another user's, or gone.
            continue
        for number in numbers:
            try:
                yield os.readlink(f"{folder}/{number}")  # noqa: PTH115
            except OSError:
                continue


def _is_pipe(path: str) -> bool:
    try:
        return S_ISFIFO(os.lstat(path).st_mode)
    except OSError:
        return False
