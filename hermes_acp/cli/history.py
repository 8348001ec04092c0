"""The history of a project, as the commands about what was said know it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hermes_acp import config
from hermes_acp.cli.screen import one_line
from hermes_acp.records import record
from hermes_acp.workspace import identity
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.registry import Registry


class NoFolder(Exception):
    """What was typed is no folder; `str()` says so."""


@record
class History:
    """A folder and the names by which sessions know its project, the one for new sessions first."""

    cwd: str
    real_cwd: str
    names: tuple[str, ...]


async def of_folder(typed: str | None, paths: config.Paths) -> History:
    """The history of the project of a folder, of this one when none was typed.

    Raises `NoFolder` and `StorageError`.
    """
    cwd = await asyncio.to_thread(os.path.abspath, typed or ".")
    real_cwd = await asyncio.to_thread(os.path.realpath, cwd)
    if not await asyncio.to_thread(Path(real_cwd).is_dir):
        raise NoFolder(f"{one_line(cwd)} is not a folder.")
    place = await find_project(real_cwd)
    names = await asyncio.to_thread(identity.names, place, Registry(paths.projects))
    return History(cwd, real_cwd, names)
