"""What happens to a database that is not whole: quarantine, rebuild, and a notice for the user.

Only for a process that is alone with the file (`users.Users.alone`). A damaged file is never removed:
it is set aside under a name with the time, together with its write-ahead log. Whatever moment the
process dies at, the next opening finds the old file or the rebuilt one, or ends the exchange of both.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hermes_acp.storage import backup, checks, files, schema
from hermes_acp.storage.errors import Damaged, StorageError, explain
from hermes_acp.storage.users import Left

if TYPE_CHECKING:
    from hermes_acp.storage.salvage import Found

CHECK_SECONDS = 1.0
"""The longest that a start waits for a check. What is larger (hundreds of megabytes that are not in
memory) is checked to its end with the backup of the day."""

logger = logging.getLogger(__name__)


def finish(path: Path) -> str | None:
    """Bring the files of a database into the order that opening it needs: a notice when they were not.

    An exchange of a damaged file for its rebuilt one that a process died in is ended, and a log
    without a database is kept, which SQLite would remove. Raises `OSError`.
    """
    ready = sorted(path.parent.glob(f"{path.name}.rebuilt-*"))
    for rebuilt in ready:
        _exchange(path, rebuilt)
    if ready:
        return f"The history {path} was damaged and has been rebuilt."
    is_orphan = files.size(path) is None and files.size(files.beside(path, "-wal"))
    return _keep_orphan(path) if is_orphan else None


def ensure(path: Path, left: Left, *, thorough: bool) -> str | None:
    """Have a whole file at `path`, or none: a notice when that took a repair.

    Costs nothing when the last user closed in order. Raises `StorageError`, having changed nothing.
    """
    try:
        size, log = files.size(path), files.size(files.beside(path, "-wal"))
        if size is None:
            return None
        # The last page is not whole: SQLite would take the rest of it for zeros.
        thorough = thorough or left == "damaged" or bool(size % files.PAGE)
        problem = _problem(path, left, thorough=thorough)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(explain(path, error)) from error
    if problem is not None:
        return _rebuild(path, problem)
    if left == "open" and log is None:
        return (
            f"The write-ahead log of {path} was removed before the database was closed. "
            "The conversations are whole, but their newest messages may be missing."
        )
    return None


def _problem(path: Path, left: Left, *, thorough: bool) -> str | None:
    log = files.size(files.beside(path, "-wal"))
    if files.size(path) == 0:
        return "it is empty" if left or log else None
    if thorough:
        return checks.structure(path) or _confusion(path) or checks.contents(path)
    if left == "clean" and not log:
        return None
    return checks.structure(path, CHECK_SECONDS)


def _confusion(path: Path) -> str | None:
    try:
        with files.reader(path) as connection:
            schema.pending(connection, path)
    except Damaged as error:
        return str(error)
    return None


def _rebuild(path: Path, problem: str) -> str:
    _refuse_strangers(path)
    # Only now, in SQLite's thread: no other start should pay for what reads damaged files.
    salvage = import_module("hermes_acp.storage.salvage")
    draft = files.beside(path, ".draft")
    try:
        found = cast("Found", salvage.rebuild(path, backup.newest(path), draft))
        stamp = _stamp(path)
        rebuilt = files.beside(path, f".rebuilt-{stamp}")
        files.place(draft, rebuilt)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"{path} is damaged ({problem}) and could not be rebuilt, which takes as much free space as "
            f"the file has. Nothing was changed. {explain(path, error)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            files.remove(draft)
    _exchange(path, rebuilt)
    logger.warning("rebuilt %s: %s", path, problem)
    return _told(path, _aside(path, stamp), found)


def _exchange(path: Path, rebuilt: Path) -> None:
    """Set the damaged file aside and put the rebuilt one in its place. Can be done again."""
    aside = _aside(path, rebuilt.name.removeprefix(f"{path.name}.rebuilt-"))
    # The log goes before its file: applied to the rebuilt one, it would damage that one as well.
    for suffix in (*files.SIDE_FILES, ""):
        with contextlib.suppress(FileNotFoundError):
            files.beside(path, suffix).replace(files.beside(aside, suffix))
    files.beside(aside, "-shm").unlink(missing_ok=True)
    files.sync(path.parent)
    files.place(rebuilt, path)


def _told(path: Path, aside: Path, found: Found) -> str:
    source = f", {found.from_backup} of these events from {found.backup}" if found.from_backup else ""
    sentences = [
        f"The history {path} was damaged and has been rebuilt.",
        f"It has {found.sessions} sessions with {found.events} events{source}.",
    ]
    if found.holes:
        sentences.append(f"Events are missing at {found.holes} places, and maybe at the ends.")
    elif not found.whole:
        sentences.append("Events at the end of conversations may be missing.")
    if not found.rules:
        sentences.append("Not all of your standing permissions could be kept: you may be asked again.")
    sentences.append(f"The damaged file is now {aside}; remove it when you miss nothing.")
    return " ".join(sentences)


def _keep_orphan(path: Path) -> str:
    aside = _aside(path, _stamp(path))
    for suffix in files.SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            files.beside(path, suffix).replace(files.beside(aside, suffix))
    return f"{path} is gone, so an empty history begins. Its write-ahead log was kept as {aside}-wal."


def _refuse_strangers(path: Path) -> None:
    """Leave alone what another program, or a newer version of this one, has written."""
    if not files.size(path):
        return
    with contextlib.suppress(sqlite3.Error), files.reader(path) as connection:
        connection.executescript(files.TOLERANT)
        schema.pending(connection, path)


def _stamp(path: Path) -> str:
    """The local time, as a name that is not taken."""
    now = time.strftime("%Y%m%d-%H%M%S")
    stamps = (now, *(f"{now}-{number}" for number in range(2, 1_000)))
    return next(stamp for stamp in stamps if not _aside(path, stamp).exists())


def _aside(path: Path, stamp: str) -> Path:
    return files.beside(path, f".damaged-{stamp}")
