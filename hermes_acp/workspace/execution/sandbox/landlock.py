"""The sandbox of Landlock, for machines without bubblewrap: rules for the launcher, in place of mounts.

Landlock only ever adds rights to what lies below a folder. So a folder that holds something protected or
hidden is opened child by child, and nothing new can be made in the folder itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from hermes_acp.policy.paths import inside
from hermes_acp.workspace.execution.sandbox.bounds import Bounds

VERSION_OF = 444
"""The number of the call that tells the version of Landlock."""

NEEDED = 6
"""The first version that keeps signals and abstract sockets inside."""

KNOWN_MACHINES = frozenset({"x86_64", "aarch64"})
"""Those for which the launcher has a filter of system calls."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
RULES = 4_000
"""Rules for one command; when there would be more, the rest of the disk is closed."""


def version() -> int:
    """The version of Landlock, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(VERSION_OF, None, 0, 1))


def usable() -> bool:
    """Whether Landlock can keep out what has to be kept out."""
    return version() >= NEEDED and platform.machine() in KNOWN_MACHINES


def options(bounds: Bounds, temporary: str, report: str) -> list[str]:
    """What the launcher is told."""
    hidden = frozenset(bounds.paths("hidden"))
    closed = hidden | frozenset(bounds.paths("read_only")) | _git_folders(bounds)
    readable = list(_open("/", hidden - {"/"}))
    readable += [path for root in bounds.paths("writable") for path in _open(root, hidden)]
    changeable = [path for root in bounds.paths("writable") for path in _open(root, closed)]
    devices = [f"/dev/{name}" for name in DEVICES]
    words = ["l=/", *(f"r={path}" for path in readable), *(f"w={path}" for path in changeable)]
    words += [f"w={path}" for path in (temporary, *devices, report) if path]
    return ["namespaces=1", "calls=0", *words[:RULES]]


def _git_folders(bounds: Bounds) -> frozenset[str]:
    """Git folders cannot be opened without their hooks: they stay closed as a whole."""
    roots = bounds.paths("writable")
    inside = (f"{path}/.git" for path in roots)
    return frozenset(path for path in roots if (Path(path) / "HEAD").is_file()) | frozenset(
        path for path in inside if os.path.lexists(path)
    )


def _open(folder: str, closed: frozenset[str]) -> Iterator[str]:
    """The outermost paths in `folder` that hold nothing closed; none when it is closed itself."""
    if folder in closed:
        return
    if not any(inside(path, (folder,)) for path in closed):
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            children = [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for child in children:
        yield from _open(child, closed)
