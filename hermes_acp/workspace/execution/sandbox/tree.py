"""What in a workspace is protected or secret: looked for once, and again only where folders changed.

Blocks. Folders of packages are left out: what is in them is code that any build may replace.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque

from hermes_acp.policy.paths import ENDINGS, FILES, FOLDERS, NESTED_FOLDERS, protection
from hermes_acp.records import record

FOLDERS_SEEN = 2_000
"""Folders of one workspace that are looked into, those nearest to its root first."""

SETTLED = 1.0
"""Seconds since its last change after which a folder that looks the same is the same."""

PACKAGES = frozenset({"node_modules", "site-packages", "__pycache__", ".tox", ".nox", ".venv", "venv"})

_ENV = re.compile(
    r"\.env(?!\.(?:dist|example|sample|template|defaults?)$)(?:\..*|rc)?|.+\.env", re.IGNORECASE
)
_OUTER = frozenset(pair[0] for pair in NESTED_FOLDERS)
_NAMES = frozenset((*FOLDERS, *FILES, *(pair[1] for pair in NESTED_FOLDERS)))


@record
class Found:
    """Absolute paths; a link itself, never what it leads to."""

    protected: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()


@record
class _Folder:
    changed: int
    seen: float
    folders: tuple[str, ...]
    protected: tuple[str, ...]
    secret: tuple[str, ...]


class Tree:
    """One workspace; not for two threads at once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._known: dict[str, _Folder] = {}

    def look(self) -> Found:
        """What is there now."""
        protected: list[str] = []
        secret: list[str] = []
        known: dict[str, _Folder] = {}
        waiting = deque((self.root,))
        while waiting and len(known) < FOLDERS_SEEN:
            path = waiting.popleft()
            folder = self._folder(path)
            if folder is not None:
                known[path] = folder
                waiting.extend(folder.folders)
                protected.extend(folder.protected)
                secret.extend(folder.secret)
        self._known = known
        return Found(frozenset(protected), frozenset(secret))

    def _folder(self, path: str) -> _Folder | None:
        known = self._known.get(path)
        try:
            changed = os.stat(path, follow_symlinks=False).st_mtime_ns  # noqa: PTH116
            if known is not None and known.changed == changed and known.seen - changed / 1e9 > SETTLED:
                return known
            return _scan(path, changed)
        except OSError:
            # Gone meanwhile, or not ours to look into: then it is not a command's either.
            return None


def _scan(path: str, changed: int) -> _Folder:
    seen = time.time()
    folders: list[str] = []
    protected: list[str] = []
    secret: list[str] = []
    # The name of the folder is half of some protected names.
    before = os.path.basename(path)  # noqa: PTH119
    before = before if before.lower() in _OUTER else ""
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if _special(name) and protection(f"/{before}/{name}", ()):
                protected.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                if name not in PACKAGES:
                    folders.append(entry.path)
            elif _ENV.fullmatch(name):
                secret.append(entry.path)
    return _Folder(changed, seen, tuple(folders), tuple(protected), tuple(secret))


def _special(name: str) -> bool:
    """Whether a name needs a closer look: most do not."""
    small = name.lower()
    return (
        small in _NAMES
        or not small.isascii()
        or small[-1] in " .:"
        or small.endswith(tuple(ENDINGS))
        or ":" in small
    )
