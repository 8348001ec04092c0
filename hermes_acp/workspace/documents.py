"""The files as the agent sees them: unsaved editor text first, the disk otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from hermes_acp.policy.effects import Permit
from hermes_acp.policy.masking import Masks, Misplaced
from hermes_acp.records import record
from hermes_acp.workspace import disk, encoding
from hermes_acp.workspace.editors import EditorFiles, EditorGone, Lender, hand_over, nobody, text_in
from hermes_acp.workspace.encoding import NotText, Text
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.locations import DocumentError, inside, printable

TEXT_BYTES = 10 * 1024 * 1024
"""Larger files are neither read nor written as text."""

T = TypeVar("T")


class Witness(Protocol):
    """Is told what the writes of a session did, so that it can be taken back."""

    def wrote(self, before: Document, after: Document, *, sure: bool) -> None:
        """A file held `before`, and now holds `after`; one that is not there does not exist.

        Not `sure`: an editor was asked to, and nobody knows whether it did.
        """
        ...


@record
class Document:
    """A text file as it was when read; `path` is absolute and real.

    `text` has `\\n` line ends, unless the file mixes them: then they are all part of the text.
    `newline` and `encoding` (BOM included) are what a write restores. `exists` is False for a file
    that is not there yet. `mode` is the permission bits that a write gives to a new file; None
    leaves them to the umask. Existing files keep theirs. Where `text` has marks in place of secrets,
    `unmasked` is the text itself.
    """

    path: str
    text: str
    exists: bool = True
    newline: str = "\n"
    encoding: str = "utf-8"
    mode: int | None = field(default=None, compare=False)
    unmasked: str | None = field(default=None, compare=False, repr=False)

    @property
    def real(self) -> Document:
        """The same file with its own text."""
        return self if self.unmasked is None else replace(self, text=self.unmasked, unmasked=None)

    def data(self) -> bytes | None:
        """The bytes of the file, None for one that is not there. Raises `DocumentError`."""
        return _encode(self, self.real.text) if self.exists else None


class Documents:
    """Reads and writes text files for one session, by their real paths: no link is followed.

    Each operation asks `lender` once, and stays with that editor to its end. When the editor leaves
    meanwhile, a read goes to the disk; a write does so only when the editor was not asked yet.

    Writes of one session wait for each other. A write that is cancelled on its way to the disk
    ends first, wholly or not at all; only then is the cancellation passed on.

    With `masks` secrets are neither given nor taken: what is read has marks in their place, and what
    is written may have them too.
    """

    def __init__(
        self,
        roots: tuple[str, ...],
        lender: Lender = nobody,
        witness: Witness | None = None,
        masks: Masks | None = None,
    ) -> None:
        self.roots = roots
        self._lender = lender
        self._witness = witness
        self._masks = masks
        self._writing = asyncio.Lock()

    def watched(self, witness: Witness) -> Documents:
        """The same files; `witness` is told of every write through what is given."""
        watched = Documents(self.roots, self._lender, witness, self._masks)
        watched._writing = self._writing
        return watched

    def masked(self, masks: Masks) -> Documents:
        """The same files without their secrets."""
        masked = Documents(self.roots, self._lender, self._witness, masks)
        masked._writing = self._writing
        return masked

    async def read(self, path: str) -> Document:
        """The current text. A missing file gives `exists=False`; raises `DocumentError`."""
        if self._lender() is None:
            # Asking a thread a second time takes longer than what it does.
            return await asyncio.to_thread(lambda: self._told(_load(path)))
        found = await asyncio.to_thread(_load, path)
        return await self._as_told(await self._as_seen(self._editor(found.path), found))

    async def _as_told(self, seen: Document) -> Document:
        return await asyncio.to_thread(self._told, seen) if self._masks is not None else seen

    def _told(self, seen: Document) -> Document:
        """With marks in place of secrets, where they are masked; for a thread."""
        if self._masks is None or not seen.text:
            return seen
        return replace(seen, text=self._masks.hide(seen.text, seen.path), unmasked=seen.text)

    async def _as_seen(self, editor: EditorFiles | None, found: Document) -> Document:
        """What the editor shows in place of what was found on the disk."""
        raw = await text_in(editor, found.path)
        # Some editors answer with nothing, not an error, for a file that is not there.
        if editor is None or raw is None or not (found.exists or raw):
            return found
        return _as_edited(found, raw, keep_newline=not editor.can_write)

    async def read_bytes(self, path: str, limit: int) -> bytes | None:
        """The bytes on the disk, None for a missing file; `DocumentError` over `limit` bytes."""

        def load() -> bytes | None:
            content = disk.read_real(path, limit)
            return None if content is None else content.data

        return await asyncio.to_thread(load)

    async def write(self, permit: Permit, before: Document, text: str) -> Document:
        """Replace the text that was read as `before`; refuses when the file changed since.

        Gives what is stored now, which an editor that formats may have changed. Raises
        `DocumentError`; nothing is half written.
        """
        permit.check_write(before.path)
        if self._masks is None:
            return await self._write(before, text)
        before = before.real
        try:
            restored = self._masks.restore(text, before.path, before.text)
        except Misplaced as error:
            raise DocumentError(str(error)) from error
        stored = await self._write(before, restored)
        if stored.text == restored:
            return replace(stored, text=text, unmasked=restored)
        return await self._as_told(stored)

    async def _write(self, before: Document, text: str) -> Document:
        data = _encode(before, text)
        async with self._writing:
            editor = self._editor(before.path)
            lost = before
            if editor is not None:
                found = await asyncio.to_thread(_load, before.path)
                _same(before, await self._as_seen(editor, found))
                lost = _exact(before, found)
            if editor is not None and editor.can_write:
                try:
                    return await self._write_in_editor(editor, before, lost, text)
                except EditorGone:
                    # It heard nothing of this write: what is on the disk counts from now on.
                    editor = None
            seen = _load if editor is None or not editor.can_read else None
            return await _carry_out(
                lambda: _store(before, data, seen), lambda after: self._tell(lost, after, sure=True)
            )

    async def delete(self, permit: Permit, before: Document) -> None:
        """Remove the file that was read as `before`; refuses when it changed since.

        Raises `DocumentError`.
        """
        permit.check_write(before.path)
        before = before.real
        async with self._writing:
            found = await asyncio.to_thread(_load, before.path)
            _same(before, await self._as_seen(self._editor(found.path), found))
            gone = Document(before.path, "", exists=False)
            await _carry_out(
                lambda: disk.remove(before.path),
                lambda _: self._tell(_exact(before, found), gone, sure=True),
            )

    async def shown(self, path: str) -> tuple[Document, Document] | None:
        """A text file as an editor shows it, and as the disk has it; None where no editor says."""
        try:
            found = await asyncio.to_thread(_load, path)
        except DocumentError:
            return None
        editor = self._editor(found.path)
        if editor is None or not editor.can_read:
            return None
        return await self._as_seen(editor, found), found

    async def follow(self, path: str, shown: Document | None) -> None:
        """The file has changed on the disk: give its text to the editor.

        One that shows something else than `shown` by now, or has read the file already, is left
        alone. Raises `DocumentError`.
        """
        async with self._writing:
            found = await asyncio.to_thread(_load, path)
            editor = self._editor(found.path)
            if editor is None or not editor.can_write or not found.exists:
                return
            seen = await self._as_seen(editor, found)
            if editor.can_read and (shown is None or seen.text != shown.text or seen.text == found.text):
                return
            with suppress(EditorGone):
                await hand_over(editor, found.path, encoding.join_newline(found.text, found.newline))

    def _editor(self, path: str) -> EditorFiles | None:
        return self._lender() if inside(path, self.roots) else None

    async def _write_in_editor(
        self, editor: EditorFiles, before: Document, lost: Document, text: str
    ) -> Document:
        raw = encoding.join_newline(text, before.newline)
        made = await asyncio.to_thread(_prepare, before)
        try:
            await hand_over(editor, before.path, raw)
        except BaseException as error:
            if not isinstance(error, EditorGone):
                self._tell(lost, replace(before, text=text, exists=True), sure=False)
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.to_thread(disk.remove_folders, made)
            raise
        found = await asyncio.to_thread(_load, before.path)
        seen = await self._as_seen(editor, found)
        self._tell(lost, _exact(seen, found), sure=True)
        return seen

    def _tell(self, before: Document, after: Document, *, sure: bool) -> None:
        if self._witness is not None:
            self._witness.wrote(before, after, sure=sure)


async def _carry_out(work: Callable[[], T], done: Callable[[T], None]) -> T:
    """Run in a thread, to the end even on a cancel; `done` hears what came of it, then too."""

    async def told() -> T:
        result = await asyncio.to_thread(work)
        done(result)
        return result

    return await to_the_end(told())


# --- below: in a thread, or pure -----------------------------------------------------------------


def _load(path: str) -> Document:
    content = disk.read_real(path, TEXT_BYTES)
    if content is None:
        return Document(path, "", exists=False)
    try:
        return _decoded(path, content.data, content.mode)
    except NotText as error:
        size = f"{len(content.data):,} bytes"
        raise DocumentError(
            f"{printable(path)} is not readable as text ({error}, {size}): use a command to look at it."
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


def _exact(seen: Document, found: Document) -> Document:
    """What an editor shows, with the line ends of the disk where it is the same text."""
    return found if (seen.text, seen.exists) == (found.text, found.exists) else seen


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
