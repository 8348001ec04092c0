"""The tools that read, write and edit one file, and list one folder."""

from __future__ import annotations

import asyncio
import base64
import difflib
import os
import stat
from itertools import islice
from pathlib import Path

from pydantic import Field

from hermes_acp.content import Diff, ImageBlock, Location
from hermes_acp.policy.effects import Effect
from hermes_acp.tools.access import announce, explained, locate, open_document, readable, shorten
from hermes_acp.tools.base import Description, Params, ToolContext, ToolError, ToolResult
from hermes_acp.tools.replacing import Edit, Edited, apply_edits
from hermes_acp.tools.typed import tool
from hermes_acp.workspace import disk, resolve
from hermes_acp.workspace.documents import Document
from hermes_acp.workspace.locations import printable

READ_LINES = 2000
"""Most lines of one read."""

READ_CHARS = 60_000
"""Most characters of one read."""

LINE_CHARS = 2000
"""Longer lines are cut."""

IMAGE_BYTES = 3_750_000
"""Larger images are refused: models take 5 MB of base64."""

LIST_ENTRIES = 500
"""Most entries of one listing."""

FOLDER_ENTRIES = 20_000
"""Entries of a folder that are looked at."""

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


# --- reading -------------------------------------------------------------------------------------


class ReadFile(Params):
    """Parameters of `read_file`."""

    path: str
    offset: int = Field(default=1, ge=1, description="first line")
    limit: int = Field(default=READ_LINES, ge=1)


def _announce_read(params: ReadFile, cwd: str) -> Description:
    line = params.offset if params.offset > 1 else None
    return announce("Read", params.path, cwd, line)


@tool(ReadFile, kind="read", describe=_announce_read, parallel=True)
async def read_file(params: ReadFile, context: ToolContext) -> ToolResult:
    """Read a text file or an image. The header line is not part of the file."""
    path = await readable(context, params.path)
    if path.lower().endswith(_IMAGE_SUFFIXES) and (image := await _image(context, path)):
        return image
    with explained():
        document = await context.documents.read(path)
    if not document.exists:
        raise ToolError(await asyncio.to_thread(_missing, path, context.cwd))
    text = _excerpt(document, params, context.cwd)
    return ToolResult(text, locations=(Location(path, params.offset),))


async def _image(context: ToolContext, path: str) -> ToolResult | None:
    with explained():
        data = await context.documents.read_bytes(path, IMAGE_BYTES)
    mime_type = _image_type(data or b"")
    if data is None or mime_type is None:
        return None
    encoded = await asyncio.to_thread(base64.b64encode, data)
    image = ImageBlock(encoded.decode("ascii"), mime_type)
    text = f"{shorten(path, context.cwd)}: {mime_type}, {len(data):,} bytes"
    return ToolResult(text, shown=(image,), locations=(Location(path),), images=(image,))


def _image_type(data: bytes) -> str | None:
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime_type for magic, mime_type in _IMAGES if data.startswith(magic)), None)


def _excerpt(document: Document, params: ReadFile, cwd: str) -> str:
    """The lines asked for below a line that says which they are; bounded in every direction."""
    name = shorten(document.path, cwd)
    lines = _lines(document.text)
    if not lines:
        return f"{name} is empty"
    if params.offset > len(lines):
        raise ToolError(f"{name} has {len(lines)} lines: offset {params.offset} is behind its end.")
    taken: list[str] = []
    room = READ_CHARS
    first = params.offset - 1
    for line in lines[first : first + min(params.limit, READ_LINES)]:
        if len(line) > LINE_CHARS:
            line = f"{line[:LINE_CHARS]}[… {len(line) - LINE_CHARS:,} more characters]"
        room -= len(line) + 1
        if room < 0:
            break
        taken.append(line)
    last = params.offset + len(taken) - 1
    rest = f"; go on with offset={last + 1}" if last < len(lines) else ""
    return "\n".join([f"{name} lines {params.offset}-{last} of {len(lines)}{rest}", *taken])


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _missing(path: str, cwd: str) -> str:
    """What to say about a file that is not there; blocks."""
    file = Path(path)
    if not file.parent.is_dir():
        folder = next(folder for folder in file.parents if folder.is_dir())
        return f"{shorten(path, cwd)} does not exist: there is nothing below {shorten(str(folder), cwd)}."
    with os.scandir(file.parent) as entries:
        names = [entry.name for entry in islice(entries, FOLDER_ENTRIES)]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.5)
    hint = f" Its folder has {', '.join(map(printable, near))}." if near else " Look with list_dir or glob."
    return f"{shorten(path, cwd)} does not exist.{hint}"


# --- writing -------------------------------------------------------------------------------------


class WriteFile(Params):
    """Parameters of `write_file`."""

    path: str
    content: str


@tool(WriteFile, kind="edit", describe=lambda params, cwd: announce("Write", params.path, cwd))
async def write_file(params: WriteFile, context: ToolContext) -> ToolResult:
    """Create a file or replace all of it. For changes prefer edit_file."""
    path = await locate(context, params.path)
    with explained():
        document = await context.documents.read(path)
    name = shorten(path, context.cwd)
    content = params.content.replace("\r\n", "\n") if document.newline == "\r\n" else params.content
    if document.exists and document.text == content:
        return ToolResult(f"{name} has this content already: nothing was written.")
    said = f"{'Wrote' if document.exists else 'Created'} {name} ({len(_lines(content))} lines)."
    return await _change(context, document, Edited(content, said, 1))


class EditFile(Params):
    """Parameters of `edit_file`."""

    path: str
    edits: list[Edit] = Field(min_length=1)


@tool(EditFile, kind="edit", describe=lambda params, cwd: announce("Edit", params.path, cwd))
async def edit_file(params: EditFile, context: ToolContext) -> ToolResult:
    """Replace exact text in a file: edits in order, all or none. `old` must be unique unless `all`."""
    document = await open_document(context, params.path)
    if not document.exists:
        raise ToolError(await asyncio.to_thread(_missing, document.path, context.cwd))
    name = shorten(document.path, context.cwd)
    # Looking for the closest passage of a large file takes a while.
    edited = await asyncio.to_thread(apply_edits, name, document.text, params.edits)
    return await _change(context, document, edited)


async def _change(context: ToolContext, before: Document, edited: Edited) -> ToolResult:
    """Ask with the exact difference, write, and say what is stored now."""
    old = before.text if before.exists else None
    verb = "Change" if before.exists else "Create"
    places = (Location(before.path, edited.line),)
    effect = Effect(
        "write", f"{verb} {shorten(before.path, context.cwd)}", paths=(before.path,), cwd=context.cwd
    )
    permit = await context.permit(effect, (Diff(before.path, edited.text, old),), places)
    with explained():
        after = await context.documents.write(permit, before, edited.text)
    note = ""
    if after.text.replace("\r\n", "\n") != edited.text.replace("\r\n", "\n"):
        note = " The editor changed the text when it saved it: read it again before the next edit."
    return ToolResult(edited.said + note, shown=(Diff(before.path, after.text, old),), locations=places)


# --- folders -------------------------------------------------------------------------------------


class ListDir(Params):
    """Parameters of `list_dir`."""

    path: str = "."


@tool(ListDir, kind="read", describe=lambda params, cwd: announce("List", params.path, cwd), parallel=True)
async def list_dir(params: ListDir, context: ToolContext) -> ToolResult:
    """List a folder: folders first, files with their size in bytes."""
    path = await readable(context, params.path)
    text = await asyncio.to_thread(_listing, path, context.cwd)
    return ToolResult(text, locations=(Location(path),))


def _listing(path: str, cwd: str) -> str:
    try:
        with resolve.listed(path) as (folder, found):
            entries = [_entry(folder, entry) for entry in islice(found, FOLDER_ENTRIES)]
    except FileNotFoundError as error:
        raise ToolError(_missing(path, cwd)) from error
    except NotADirectoryError as error:
        raise ToolError(f"{shorten(path, cwd)} is a file: use read_file.") from error
    except OSError as error:
        raise ToolError(f"{shorten(path, cwd)} cannot be listed: {disk.reason(error)}.") from error
    if not entries:
        return "(empty)"
    entries.sort()
    lines = [line for _, _, line in entries[:LIST_ENTRIES]]
    if len(entries) > LIST_ENTRIES:
        more = "or more" if len(entries) == FOLDER_ENTRIES else "in all"
        lines.append(f"[{LIST_ENTRIES} of {len(entries)} entries {more}: use glob to find a name]")
    return "\n".join(lines)


def _entry(folder: int, entry: os.DirEntry[str]) -> tuple[bool, str, str]:
    """A sort key that puts folders first, and the line to print."""
    name = printable(entry.name)
    if entry.is_symlink():
        try:
            return True, entry.name, f"{name} -> {printable(os.readlink(entry.name, dir_fd=folder))}"
        except OSError:
            return True, entry.name, f"{name} -> ?"
    if entry.is_dir(follow_symlinks=False):
        return False, entry.name, f"{name}/"
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return True, entry.name, f"{name} ?"
    size = f"{status.st_size}" if stat.S_ISREG(status.st_mode) else "(no ordinary file)"
    return True, entry.name, f"{name} {size}"


TOOLS = (read_file, write_file, edit_file, list_dir)
