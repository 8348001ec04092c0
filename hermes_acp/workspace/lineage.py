"""Where a repository comes from: its remote and its first commits, by which clones know each other."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hermes_acp.private_folder import owner_problem
from hermes_acp.records import record
from hermes_acp.workspace import marks
from hermes_acp.workspace.git import GitError, Repository
from hermes_acp.workspace.project import Project

ROOTS_SECONDS = 20.0
"""How long git may look for first commits; a history that takes longer is not known."""
ROOTS_BOUND = 64
"""Of more first commits only so many are kept."""
REMOTE_CHARS = 2_000
"""A longer address is none."""

_BRANCHES = ("rev-list", "--max-parents=0", "--branches", "--remotes", "--tags")
_CUT = ("shallow", "info/grafts")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHORT = re.compile(r"(?:[^/]*@)?(\[[^]/]+\]|[^][/:@]{2,}):(.*)")
"""`user@host:path`; one letter before the colon is a drive."""
_TRANSPORT = re.compile(r"[A-Za-z0-9]+::")


@record
class Lineage:
    """Host and path of the remote, without user, password and protocol; ids of the first commits.

    Both are empty where they are not known, as in a folder without git or in a shallow clone.
    """

    remote: str = ""
    roots: tuple[str, ...] = ()

    def agrees(self, other: Lineage) -> bool:
        """Whether both can be of one repository: by their first commits or, unknown, by their remotes."""
        if self.roots and other.roots:
            return not set(self.roots).isdisjoint(other.roots)
        return self.remote == other.remote


def remote(place: Project) -> str:
    """The normal form of the address of `origin`, else of the first remote; blocks."""
    settings = marks.settings(place.key) if marks.is_git_folder(Path(place.key)) else ()
    addresses: dict[str, str] = {}
    for entry in settings:
        if (entry.section, entry.name) == ("remote", "url"):
            addresses.setdefault(entry.subsection, entry.value)
    address = addresses.get("origin") or next(iter(addresses.values()), "")
    return normal(address, place.root)


def normal(address: str, root: str) -> str:
    """Host and path of an address of git, or the real path of a local one; empty for anything else.

    The same for all protocols, users and ports, because a proposal is only asked about. A relative
    path is taken from `root`.
    """
    address = address.strip()
    if not address.isprintable() or len(address) > REMOTE_CHARS or _TRANSPORT.match(address):
        return ""
    if _SCHEME.match(address):
        return _of_url(address)
    if short := _SHORT.fullmatch(address):
        return _joined(short[1], short[2])
    return local(os.path.realpath(Path(root, address))) if address else ""


def local(path: str) -> str:
    """The name that a repository at a real path has as a remote."""
    return path.removesuffix("/").removesuffix("/.git").removesuffix(".git")


async def roots(place: Project, env: Mapping[str, str]) -> tuple[str, ...]:
    """The first commits of all branches; none where git cannot tell, or might tell wrongly."""
    if not await asyncio.to_thread(_is_whole, Path(place.key)):
        return ()
    # Naming the folder keeps git from going on to an outer repository when it dislikes this one.
    variables = {"GIT_DIR": place.key, "GIT_NO_REPLACE_OBJECTS": "1"}
    try:
        answer = await Repository(place.root, env).tell(
            *_BRANCHES, variables=variables, seconds=ROOTS_SECONDS
        )
    except GitError:
        return ()
    return tuple(sorted(answer.text.split())[:ROOTS_BOUND])


def _is_whole(key: Path) -> bool:
    """Whether the history of this repository can be asked for: it is ours, and not cut."""
    try:
        # git would wait for a configuration that is a pipe.
        if not (marks.is_git_folder(key) and (key / "config").is_file()):
            return False
        return not (any((key / name).exists() for name in _CUT) or owner_problem(key.stat()))
    except OSError:
        return False


def _of_url(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme == "file":
        return local(os.path.realpath(unquote(parts.path) or "/"))
    return _joined(host, unquote(parts.path)) if host else ""


def _joined(host: str, path: str) -> str:
    return f"{host.strip('[]')}/{path.strip('/')}".removesuffix(".git").rstrip("/").casefold()
