"""The sandbox without bubblewrap: the launcher makes namespaces and mounts by itself, and Landlock the rest.

It has no namespace of processes, so it is Landlock that keeps signals inside.
"""

from __future__ import annotations

import ctypes
import sys

from hermes_acp.workspace.execution.sandbox.bounds import Bounds
from hermes_acp.workspace.execution.sandbox.bubblewrap import Places, mounts, writable

VERSION_OF = 444
"""The number of the call that tells the version of Landlock."""

NEEDED = 6
"""The first version that keeps signals and abstract sockets inside."""


def version() -> int:
    """The version of Landlock, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(VERSION_OF, None, 0, 1))


def options(bounds: Bounds, places: Places) -> list[str]:
    """What the launcher is told."""
    namespaces = "network" if bounds.network else "1"
    changeable = [f"w={path}" for path in writable(bounds)]
    return [f"namespaces={namespaces}", *mounts(bounds, places), *changeable]
