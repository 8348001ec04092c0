"""The id of a project as it stands in its place: in the local git config, or in `.hermes/project`.

Reading needs no git and takes a fraction of a millisecond. A mark counts only when it is a well-formed
uuid in a plain file of our own user: others may know our ids, and could offer us a folder with one.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from hermes_acp.private_folder import owner_problem
from hermes_acp.workspace import disk
from hermes_acp.workspace.git import GitError, Repository
from hermes_acp.workspace.git_config import Entry, entries
from hermes_acp.workspace.locations import DocumentError

SECTION = "hermes-editor"
NAME = "project"
SETTING = f"{SECTION}.{NAME}"
"""The setting in the local configuration of a repository that holds the id."""
FILE = ".hermes/project"
"""The file that holds the id in a folder without git."""

CONFIG_BYTES = 1024 * 1024
"""A longer configuration holds no mark, and gets none."""
FILE_BYTES = 256
"""A longer file is no mark."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def well_formed(text: str) -> str:
    """The text as a project id in lower case; empty when it is none."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else ""


def is_git_folder(folder: Path) -> bool:
    """Whether git keeps a repository in this very folder, as in `.git` or in a bare repository."""
    head = folder / "HEAD"
    return os.path.lexists(head) and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def settings(key: str) -> tuple[Entry, ...]:
    """What the configuration in the git folder `key` says by itself; nothing when it cannot be read."""
    try:
        content = disk.read(str(Path(key, "config")), CONFIG_BYTES)
    except DocumentError:
        return ()
    return tuple(entries(os.fsdecode(content.data))) if content else ()


def read(key: str) -> str:
    """The id that stands in a place; empty when there is none that counts."""
    if is_git_folder(Path(key)):
        return _in_config(key) if _own_file(Path(key, "config")) else ""
    marker = Path(key, FILE)
    if not (_own_folder(marker.parent) and _own_file(marker)):
        return ""
    try:
        content = disk.read(str(marker), FILE_BYTES)
    except DocumentError:
        return ""
    return well_formed(os.fsdecode(content.data).strip()) if content else ""


def can_hold(key: str, home: str) -> bool:
    """Whether a mark could be written there.

    Not in what belongs to others or is read-only, and neither in `home`, where `.hermes` is no
    folder of one project, nor in the root of the file system.
    """
    folder = Path(key)
    if not (_own_folder(folder) and os.access(folder, os.W_OK)):
        return False
    if is_git_folder(folder):
        return _own_file(folder / "config")
    marker = folder / FILE
    free = not os.path.lexists(marker.parent) or _own_folder(marker.parent)
    return free and key not in ("/", os.path.realpath(home or "/"))


async def write(key: str, project_id: str, env: Mapping[str, str]) -> bool:
    """Put the id in its place; False when that cannot be done now."""
    if not await asyncio.to_thread(can_hold, key, env.get("HOME", "")):
        return False
    if await asyncio.to_thread(is_git_folder, Path(key)):
        return await _edit(key, env, "--replace-all", SETTING, project_id)
    return await asyncio.to_thread(_write_marker, Path(key, FILE), project_id)


async def remove(key: str, project_id: str, env: Mapping[str, str]) -> bool:
    """Take this id away from its place; False when it is still there."""
    if await asyncio.to_thread(read, key) != project_id:
        return True
    if await asyncio.to_thread(is_git_folder, Path(key)):
        return await _edit(key, env, "--unset-all", SETTING)
    return await asyncio.to_thread(_remove_marker, Path(key, FILE))


def _in_config(key: str) -> str:
    values = [
        entry.value
        for entry in settings(key)
        if (entry.section, entry.subsection, entry.name) == (SECTION, "", NAME)
    ]
    return well_formed(values[-1]) if values else ""


def _own_file(path: Path) -> bool:
    return _own(path, stat.S_ISREG)


def _own_folder(path: Path) -> bool:
    return _own(path, stat.S_ISDIR)


def _own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind, not a link to such, and belongs to our user."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return is_kind(found.st_mode) and not owner_problem(found)


# --- a folder without git ------------------------------------------------------------------------


def _write_marker(marker: Path, project_id: str) -> bool:
    try:
        disk.replace(str(marker), f"{project_id}\n".encode(), None, lambda: None)
    except DocumentError:
        return False
    return True


def _remove_marker(marker: Path) -> bool:
    try:
        marker.unlink(missing_ok=True)
    except OSError:
        return False
    with suppress(OSError):
        marker.parent.rmdir()
    return True


# --- a repository --------------------------------------------------------------------------------


async def _edit(key: str, env: Mapping[str, str], *change: str) -> bool:
    """Change the configuration of a repository with `git config`.

    git works on a copy, because cancelling kills it: what it leaves then must not be a
    `config.lock` in the user's repository.
    """
    config = Path(key, "config")
    temporary = await asyncio.to_thread(tempfile.gettempdir)
    folder = Path(temporary, f"hermes-editor-{secrets.token_hex(8)}")
    try:
        before = await asyncio.to_thread(_copy, config, folder)
        answer = await Repository("/", env).ask("config", "--file", str(folder / "config"), *change)
        return answer.status == 0 and await asyncio.to_thread(_swap, config, folder / "config", before)
    except (GitError, DocumentError, OSError):
        return False
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _copy(config: Path, folder: Path) -> bytes:
    folder.mkdir(mode=0o700)
    content = disk.read(str(config), CONFIG_BYTES)
    before = content.data if content else b""
    (folder / "config").write_bytes(before)
    return before


def _swap(config: Path, draft: Path, before: bytes) -> bool:
    """Replace the configuration as git does, under its lock, unless somebody else has changed it."""
    lock = config.with_name("config.lock")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(lock, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if config.read_bytes() != before:
                lock.unlink()
                return False
            status = config.stat()
            with suppress(PermissionError):
                os.fchown(file.fileno(), -1, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            file.write(draft.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        lock.replace(config)
    except BaseException:
        lock.unlink(missing_ok=True)
        raise
    return True
