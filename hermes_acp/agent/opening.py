"""How a window opens a session, and whether one can be opened there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hermes_acp.agent.origins import Origin
from hermes_acp.records import record
from hermes_acp.tools.mcp.config import McpServer


class BadPlace(Exception):
    """A folder cannot be used for a session; `str()` says which and why."""


@record
class Opening:
    """How a window opens a session: from where, in which place, and with what."""

    origin: Origin
    cwd: str
    additional_directories: tuple[str, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()


async def real_folders(opening: Opening) -> tuple[str, tuple[str, ...]]:
    """The real path of the working directory, and of all roots. Raises `BadPlace`."""
    return await asyncio.to_thread(_check, opening)


def _check(opening: Opening) -> tuple[str, tuple[str, ...]]:
    roots: list[str] = []
    for folder in (opening.cwd, *opening.additional_directories):
        real = os.path.realpath(folder)
        if not Path(real).is_dir():
            what = "is not a folder" if Path(real).exists() else "does not exist"
            raise BadPlace(f"{folder} {what}.")
        if real not in roots:
            roots.append(real)
    return roots[0], tuple(roots)
