"""Empty files and folders that hold a place for as long as a sandbox needs something to cover. Blocks."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


class Holders:
    """Those of one server: made with the first command that needs one, removed with the last.

    Only what must not come into being in a git folder is held: there nobody sees it, and it means nothing.
    """

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()
        self._turn = threading.Lock()

    def take(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Make those that do not exist; gives what to `give_back`. A path that ends with `/` is a folder."""
        taken: list[str] = []
        with self._turn:
            for path in paths:
                if self._users[path] or _made(path):
                    self._users[path] += 1
                    taken.append(path)
        return tuple(taken)

    def give_back(self, paths: Iterable[str]) -> None:
        """Remove what nobody needs any more; what somebody has filled stays."""
        with self._turn:
            for path in paths:
                self._users[path] -= 1
                if not self._users[path]:
                    del self._users[path]
                    _remove(path)


def _made(path: str) -> bool:
    try:
        if path.endswith("/"):
            os.mkdir(path)  # noqa: PTH102
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    except OSError:
        # There already, or in a repository that we cannot write: then no command can either.
        return False
    return True


def _remove(path: str) -> None:
    try:
        if path.endswith("/"):
            Path(path).rmdir()
        elif not Path(path).lstat().st_size:
            Path(path).unlink()
    except OSError:
        # Not empty, or gone.
        return
