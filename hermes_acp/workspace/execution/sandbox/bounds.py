"""What a confined command may touch on this disk now: paths that exist, and how. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from hermes_acp.policy.sandbox import SECRETS_AT_HOME, SECRETS_OF_THE_SYSTEM, Confinement
from hermes_acp.records import record
from hermes_acp.workspace.execution.sandbox.repository import GitData
from hermes_acp.workspace.execution.sandbox.tree import Found

Access: TypeAlias = Literal["hidden", "writable", "read_only"]
"""Ordered: of two that concern the same path, the later one counts."""

ORDER: tuple[Access, ...] = ("hidden", "writable", "read_only")


@record
class Bounds:
    """`access` by real path, the outer before the inner; all else can be read."""

    access: tuple[tuple[str, Access], ...]
    network: bool

    def paths(self, *kinds: Access) -> tuple[str, ...]:
        """The paths of some kinds."""
        return tuple(path for path, kind in self.access if kind in kinds)


def bounds(
    confinement: Confinement,
    git: Iterable[GitData],
    found: Iterable[Found],
    env: Mapping[str, str],
    others: Iterable[str] = (),
) -> Bounds:
    """Put together what was found; `env` names the home folder, `others` is where other programs listen."""
    git, found = tuple(git), tuple(found)
    access: dict[str, Access] = {}
    home = env.get("HOME", "")
    hidden = (
        *confinement.hidden,
        *(os.path.realpath(Path(home, name)) for name in SECRETS_AT_HOME if home),
        *map(os.path.realpath, SECRETS_OF_THE_SYSTEM),
        *others,
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
    for path in [path for path, kind in access.items() if kind == "read_only"]:
        access.update(dict.fromkeys(_around(path, access), "writable"))
    ordered = sorted(access.items(), key=lambda item: (item[0].count("/"), ORDER.index(item[1]), item[0]))
    return Bounds(tuple(ordered), confinement.network)


def _plain(holder: str) -> str:
    return holder.rstrip("/")


def _around(path: str, access: Mapping[str, Access]) -> list[str]:
    """The folders from a read-only path up to what can be changed.

    Each gets a mount of its own, because only what is one cannot be renamed: else another folder with another
    file could be put where the protected one was.
    """
    folders: list[str] = []
    for folder in map(str, Path(path).parents):
        if folder in access:
            return folders if access[folder] == "writable" else []
        folders.append(folder)
    return []
