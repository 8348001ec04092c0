"""How the file tools reach files: names as the model writes them, permission outside the roots."""

from __future__ import annotations

import asyncio
import os.path
from collections.abc import Generator
from contextlib import contextmanager

from hermes_acp.content import Location
from hermes_acp.policy.effects import Effect
from hermes_acp.tools.base import Description, ToolContext, ToolError
from hermes_acp.workspace.documents import Document
from hermes_acp.workspace.locations import DocumentError, inside, printable, resolve


@contextmanager
def explained() -> Generator[None]:
    """Turn what a file refuses into what the model reads."""
    try:
        yield
    except DocumentError as error:
        raise ToolError(str(error)) from error


async def locate(context: ToolContext, path: str) -> str:
    """The absolute real path of what the model named. Raises `ToolError`."""
    with explained():
        real = await asyncio.to_thread(resolve, context.cwd, path)
    try:
        real.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"{printable(real)} has a name that is not UTF-8: use a command for it.") from error
    return real


async def readable(context: ToolContext, path: str) -> str:
    """`locate`, and the permission to read it. Raises `Refused` too."""
    real = await locate(context, path)
    effect = Effect("read", f"Read {printable(real)}", paths=(real,), cwd=context.cwd)
    await context.permit(effect, locations=(Location(real),))
    return real


async def open_document(context: ToolContext, path: str) -> Document:
    """The text behind a name, read with permission; it may not exist. Raises `ToolError`."""
    real = await readable(context, path)
    with explained():
        return await context.documents.read(real)


def shorten(path: str, cwd: str) -> str:
    """A path as the model should see it: relative to `cwd` when it is below it."""
    below = inside(path, (cwd,)) and path != cwd
    return printable(path[len(cwd.rstrip("/")) + 1 :] if below else path)


def announce(verb: str, path: str, cwd: str, line: int | None = None) -> Description:
    """The announcement of a call about one file or folder; no I/O, so links are not followed."""
    name = printable(path)
    absolute = os.path.normpath(name if name.startswith("/") else f"{cwd}/{name}")
    return Description(f"{verb} {name}", (Location(absolute, line),))
