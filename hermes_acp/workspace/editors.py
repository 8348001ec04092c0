"""What an editor offers for the files that are open in it, and how it is asked: within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from hermes_acp.workspace.locations import DocumentError, printable

EDITOR_SECONDS = 15.0
"""How long an editor may take for one file; then a read goes to the disk and a write fails."""


class EditorFiles(Protocol):
    """What an editor offers for files inside its project; either half may be missing."""

    @property
    def can_read(self) -> bool:
        """Whether `read_text` may be called."""
        ...

    @property
    def can_write(self) -> bool:
        """Whether `write_text` may be called."""
        ...

    async def read_text(self, path: str) -> str:
        """The text of the open or saved file. Raises `EditorError`."""
        ...

    async def write_text(self, path: str, text: str) -> None:
        """Replace the text through the editor's buffer. Raises `EditorError`."""
        ...


class EditorError(Exception):
    """The editor did not answer or refused; `str()` says why."""


class EditorGone(EditorError):
    """The editor has left; `asked` tells whether it was asked before, so that it may have acted."""

    def __init__(self, reason: str, *, asked: bool) -> None:
        super().__init__(reason)
        self.asked = asked


Lender: TypeAlias = Callable[[], EditorFiles | None]
"""Gives the editor to use now; None for the disk."""


def nobody() -> None:
    """A lender without an editor."""


async def text_in(editor: EditorFiles | None, path: str) -> str | None:
    """The text that an editor shows; None where there is no editor that says."""
    if editor is None or not editor.can_read:
        return None
    try:
        async with asyncio.timeout(EDITOR_SECONDS):
            return await editor.read_text(path)
    except (EditorError, TimeoutError):
        return None


async def hand_over(editor: EditorFiles, path: str, raw: str) -> None:
    """Have the editor write. Raises `DocumentError`, and `EditorGone` when the editor was not asked."""
    try:
        async with asyncio.timeout(EDITOR_SECONDS):
            await editor.write_text(path, raw)
    except EditorGone as error:
        if not error.asked:
            raise
        raise DocumentError(
            f"The editor left before it said whether it wrote {printable(path)}: "
            "read the file before you go on."
        ) from error
    except EditorError as error:
        raise DocumentError(f"The editor did not write {printable(path)}: {error}") from error
    except TimeoutError as error:
        raise DocumentError(
            f"The editor did not say within {EDITOR_SECONDS:g} s whether it wrote {printable(path)}: "
            "read the file before you go on."
        ) from error
