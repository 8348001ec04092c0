"""Files that somebody edited by hand and whose facts have changed since: noted until their owner is told.

A note is a file of its own, so that whoever removes it is the one who tells of it. All of it blocks.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

TOLD = 20
"""Files that are told of at once; the others wait for the next time."""


class KeptEdits:
    """The notes in a folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, file: Path) -> None:
        """Have the owner told of a file. Raises `OSError`."""
        self._folder.mkdir(exist_ok=True)
        name = hashlib.sha256(bytes(file)).hexdigest()
        # Nobody may read a half of it.
        whole, half = self._folder / name, self._folder / f".{name}"
        half.write_bytes(bytes(file))
        half.replace(whole)

    def take(self) -> list[str]:
        """The files that are still there and were not told of yet; none where notes cannot be removed."""
        taken: list[str] = []
        try:
            for note in sorted(self._folder.glob("[!.]*"))[:TOLD]:
                file = Path(note.read_text("utf-8", "surrogateescape"))
                note.unlink()
                taken += [str(file)] if file.exists() else []
        except OSError:
            # Somebody else was quicker, or nothing can be written here.
            return taken
        return taken
