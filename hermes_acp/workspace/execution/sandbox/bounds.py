"""What a confined command may touch on this disk now: paths that exist, and how. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hermes_acp.policy.paths import inside
from hermes_acp.policy.sandbox import SECRETS_AT_HOME, SECRETS_OF_THE_SYSTEM, Confinement
from hermes_acp.workspace.execution.sandbox.repository import GitData
from hermes_acp.workspace.execution.sandbox.tree import Found

Access: TypeAlias = Literal["hidden", "writable", "read_only"]
"""Ordered: of two that concern the same path, the later one counts."""

ORDER: tuple[Access, ...] = ("hidden", "writable", "read_only")

SOCKETS = Path("/proc/net/unix")
SOCKETS_SEEN = 512
"""Unix sockets of other programs that are hidden one by one."""

REPLACED = ("/dev", "/proc", "/run", "/tmp", "/var/run", "/var/tmp")
"""Folders that a sandbox has of its own."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`access` by real path, the outer before the inner; all else can be read."""

    access: tuple[tuple[str, Access], ...]
    network: bool

    def paths(self, *kinds: Access) -> tuple[str, ...]:
        """The paths of some kinds."""
        return tuple(path for path, kind in self.access if kind in kinds)


def bounds(
    confinement: Confinement, git: Iterable[GitData], found: Iterable[Found], env: Mapping[str, str]
) -> Bounds:
    """Put together what was found; `env` names the home folder."""
    git, found = tuple(git), tuple(found)
    access: dict[str, Access] = {}
    home = env.get("HOME", "")
    hidden = (
        *confinement.hidden,
        *(os.path.realpath(Path(home, name)) for name in SECRETS_AT_HOME if home),
        *map(os.path.realpath, SECRETS_OF_THE_SYSTEM),
        *_sockets(confinement.roots),
        *(path for item in found for name in item.secret for path in (name, os.path.realpath(name))),
    )
    owned = {path for item in git for path in item.writable}
    wanted: tuple[tuple[Access, Iterable[str]], ...] = (
        ("hidden", hidden),
        ("writable", (*confinement.roots, *owned)),
        ("read_only", (path for item in git for path in (*item.read_only, *map(_plain, item.holders)))),
        ("read_only", (path for item in found for path in item.protected if path not in owned)),
    )
    for kind, paths in wanted:
        # A link cannot be covered: only what it leads to could.
        access.update((path, kind) for path in paths if os.path.lexists(path) and not os.path.islink(path))  # noqa: PTH114
    ordered = sorted(access.items(), key=lambda item: (item[0].count("/"), ORDER.index(item[1]), item[0]))
    return Bounds(tuple(ordered), confinement.network)


def _plain(holder: str) -> str:
    return holder.rstrip("/")


def _sockets(roots: tuple[str, ...]) -> list[str]:
    """Sockets that other programs listen at: to connect is not to write, so no read-only mount forbids it."""
    try:
        lines = SOCKETS.read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return []
    paths = {words[7] for line in lines if len(words := line.split(None, 7)) > 7 and words[7].startswith("/")}
    # What is in the workspace is the workspace's.
    outside = (path for path in paths if not inside(path, (*REPLACED, *roots)))
    return [os.path.realpath(path) for path in sorted(outside)[:SOCKETS_SEEN]]
