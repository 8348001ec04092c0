"""The files as the agent sees them: unsaved editor text first, the disk otherwise.

(Contract skeleton: bodies follow.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hermes_acp.policy.effects import Permit


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


class DocumentError(Exception):
    """A file cannot be read or written as text; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text file as it was when read; `path` is absolute and real.

    `text` has `\\n` line ends; `newline` and `encoding` (BOM included) are what a write restores.
    `exists` is False for a file that is not there yet.
    """

    path: str
    text: str
    exists: bool = True
    newline: str = "\n"
    encoding: str = "utf-8"


class Documents:
    """Reads and writes text files for one session."""

    def __init__(self, roots: tuple[str, ...], editor: EditorFiles | None = None) -> None:
        self.roots = roots
        self.editor = editor

    async def read(self, path: str) -> Document:
        """The current text. A missing file gives `exists=False`; raises `DocumentError`."""
        raise NotImplementedError

    async def write(self, permit: Permit, before: Document, text: str) -> Document:
        """Replace the text that was read as `before`; refuses when the file changed since.

        Raises `DocumentError`; nothing is half written.
        """
        raise NotImplementedError
