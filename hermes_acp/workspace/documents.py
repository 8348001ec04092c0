"""The files as the agent sees them: unsaved editor text first, the disk otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from hermes_acp.policy.effects import Permit
from hermes_acp.workspace import disk, encoding
from hermes_acp.workspace.encoding import NotText, Text
from hermes_acp.workspace.locations import DocumentError, inside, printable, resolve

__all__ = ["Document", "DocumentError", "Documents", "EditorError", "EditorFiles", "EditorGone"]

TEXT_BYTES = 10 * 1024 * 1024
"""Larger files are neither read nor written as text."""

EDITOR_SECONDS = 15.0
"""How long an editor may take for one file; then a read goes to the disk and a write fails."""

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Document:
    """A text file as it was when read; `path` is absolute and real.

    `text` has `\\n` line ends, unless the file mixes them: then they are all part of the text.
    `newline` and `encoding` (BOM included) are what a write restores. `exists` is False for a file
    that is not there yet. `mode` is the permission bits that a write gives to a new file; None
    leaves them to the umask. Existing files keep theirs.
    """

    path: str
    text: str
    exists: bool = True
    newline: str = "\n"
    encoding: str = "utf-8"
    mode: int | None = field(default=None, compare=False)


class Documents:
    """Reads and writes text files for one session.

    Each operation asks `lender` once, and stays with that editor to its end. When the editor leaves
    meanwhile, a read goes to the disk; a write does so only when the editor was not asked yet.

    Writes of one session wait for each other. A write that is cancelled on its way to the disk
    ends first, wholly or not at all; only then is the cancellation passed on.
    """

    def __init__(self, roots: tuple[str, ...], lender: Lender = nobody) -> None:
        self.roots = roots
        self._lender = lender
        self._writing = asyncio.Lock()

    async def read(self, path: str) -> Document:
        """The current text. A missing file gives `exists=False`; raises `DocumentError`."""
        found = await asyncio.to_thread(_load, path)
        return await self._as_seen(self._editor(found.path), found)

    async def _as_seen(self, editor: EditorFiles | None, found: Document) -> Document:
        """What the editor shows in place of what was found on the disk."""
        if editor is None or not editor.can_read:
            return found
        try:
            async with asyncio.timeout(EDITOR_SECONDS):
                raw = await editor.read_text(found.path)
        except (EditorError, TimeoutError):
            return found
        if not found.exists and not raw:
            # Some editors answer with nothing, not an error, for a file that is not there.
            return found
        return _as_edited(found, raw, keep_newline=not editor.can_write)

    async def read_bytes(self, path: str, limit: int) -> bytes | None:
        """The bytes on the disk, None for a missing file; `DocumentError` over `limit` bytes."""

        def load() -> bytes | None:
            content = disk.read(resolve("/", path), limit)
            return None if content is None else content.data

        return await asyncio.to_thread(load)

    async def write(self, permit: Permit, before: Document, text: str) -> Document:
        """Replace the text that was read as `before`; refuses when the file changed since.

        Gives what is stored now, which an editor that formats may have changed. Raises
        `DocumentError`; nothing is half written.
        """
        permit.check_write(before.path)
        data = _encode(before, text)
        async with self._writing:
            editor = self._editor(before.path)
            if editor is not None:
                found = await asyncio.to_thread(_load, before.path)
                _same(before, await self._as_seen(editor, found))
            if editor is not None and editor.can_write:
                try:
                    return await self._write_in_editor(editor, before, text)
                except EditorGone:
                    # It heard nothing of this write: what is on the disk counts from now on.
                    editor = None
            seen = _load if editor is None or not editor.can_read else None
            return await _to_the_end(lambda: _store(before, data, seen))

    async def delete(self, permit: Permit, before: Document) -> None:
        """Remove the file that was read as `before`; refuses when it changed since.

        Raises `DocumentError`.
        """
        permit.check_write(before.path)
        async with self._writing:
            _same(before, await self.read(before.path))
            await _to_the_end(lambda: disk.remove(before.path))

    def _editor(self, path: str) -> EditorFiles | None:
        return self._lender() if inside(path, self.roots) else None

    async def _write_in_editor(self, editor: EditorFiles, before: Document, text: str) -> Document:
        raw = encoding.join_newline(text, before.newline)
        made = await asyncio.to_thread(_prepare, before)
        try:
            await _hand_over(editor, before.path, raw)
        except (DocumentError, EditorGone):
            await asyncio.to_thread(disk.remove_folders, made)
            raise
        return await self._as_seen(editor, await asyncio.to_thread(_load, before.path))


async def _hand_over(editor: EditorFiles, path: str, raw: str) -> None:
    """Raises `DocumentError`, and `EditorGone` when the editor was not asked."""
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


async def _to_the_end(work: Callable[[], T]) -> T:
    """Run in a thread; a cancel waits for its end, so that nothing happens behind the caller's back."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait((future,))
        raise


# --- below: in a thread, or pure -----------------------------------------------------------------


def _load(path: str) -> Document:
    real = resolve("/", path)
    content = disk.read(real, TEXT_BYTES)
    if content is None:
        return Document(real, "", exists=False)
    try:
        return _decoded(real, content.data, content.mode)
    except NotText as error:
        size = f"{len(content.data):,} bytes"
        raise DocumentError(
            f"{printable(real)} is not readable as text ({error}, {size}): use a command to look at it."
        ) from error


def _decoded(path: str, data: bytes, mode: int | None) -> Document:
    content = encoding.decode(data)
    return Document(path, content.text, True, content.newline, content.encoding, mode)


def _as_edited(found: Document, raw: str, *, keep_newline: bool) -> Document:
    """What the editor showed, with the encoding of the file.

    The line ends are those that the editor writes with; where it only reads, those of the file.
    """
    if len(raw) > TEXT_BYTES:
        limit = f"the limit is {TEXT_BYTES:,} characters"
        raise DocumentError(f"{printable(found.path)} is too large in the editor: {limit}.")
    text, newline = encoding.split_newline(raw)
    if keep_newline and newline == "\n" and found.exists:
        newline = found.newline
    return Document(found.path, text, True, newline, found.encoding, found.mode)


def _encode(before: Document, text: str) -> bytes:
    try:
        data = encoding.encode(Text(text, before.newline, before.encoding))
    except NotText as error:
        reason = f"The new text of {printable(before.path)} contains {error}: nothing was written."
        raise DocumentError(reason) from error
    if len(data) > TEXT_BYTES:
        size = f"{len(data):,} bytes, the limit is {TEXT_BYTES:,}"
        raise DocumentError(f"The new text of {printable(before.path)} is too large: {size}.")
    return data


def _same(before: Document, now: Document) -> None:
    missing = not before.exists and not now.exists and before.path == now.path
    if now != before and not missing:
        raise DocumentError(
            f"{printable(before.path)} changed since it was read: nothing was written. "
            "Read it again and repeat the change."
        )


def _store(before: Document, data: bytes, seen: Callable[[str], Document] | None) -> Document:
    def unchanged() -> None:
        if seen is not None:
            _same(before, seen(before.path))

    disk.replace(before.path, data, before.mode, unchanged)
    return _decoded(before.path, data, before.mode)


def _prepare(before: Document) -> list[Path]:
    """Make the folders of a new file, because editors do not agree on making them."""
    made: list[Path] = []
    try:
        disk.make_parents(before.path, made)
    except OSError as error:
        disk.remove_folders(made)
        name = printable(before.path)
        raise DocumentError(f"The folder of {name} cannot be created: {error.strerror}.") from error
    return made
