"""Bounded reads and atomic writes of ordinary files; everything here blocks: call it in a thread."""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_acp.workspace.locations import DocumentError, printable

_KINDS = (
    (stat.S_ISDIR, "a folder: use list_dir"),
    (stat.S_ISFIFO, "a named pipe, which cannot be read or written as a file"),
    (stat.S_ISSOCK, "a socket, which cannot be read or written as a file"),
    (stat.S_ISCHR, "a device, which cannot be read or written as a file"),
    (stat.S_ISBLK, "a device, which cannot be read or written as a file"),
)


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file and its permission bits."""

    data: bytes
    mode: int


def read(path: str, limit: int) -> Content | None:
    """A whole ordinary file, None when there is none. Raises `DocumentError`; never waits for a pipe."""
    try:
        # The kind is checked before opening, because opening a device may already do something,
        # and again afterwards, because the name may have changed hands in between.
        _check(path, Path(path).stat(), limit)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DocumentError(f"{printable(path)} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as file:
        try:
            status = os.fstat(descriptor)
            _check(path, status, limit)
            # Files of /proc say that they are empty, so the size alone proves nothing.
            data = file.read(limit + 1)
        except OSError as error:
            raise DocumentError(f"{printable(path)} cannot be read: {error.strerror}.") from error
    if len(data) > limit:
        raise _too_large(path, len(data), limit)
    return Content(data, stat.S_IMODE(status.st_mode))


def _check(path: str, status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((text for test, text in _KINDS if test(status.st_mode)), "not an ordinary file")
        raise DocumentError(f"{printable(path)} is {kind}.")
    if status.st_size > limit:
        raise _too_large(path, status.st_size, limit)


def _too_large(path: str, size: int, limit: int) -> DocumentError:
    return DocumentError(
        f"{printable(path)} is too large: {size:,} bytes or more, the limit is {limit:,}. "
        "Use search or a command to look at parts of it."
    )


def replace(path: str, data: bytes, mode: int | None, unchanged: Callable[[], None]) -> None:
    """Put `data` in the place of the file at the real `path`, wholly or not at all.

    Missing parent folders are created. An existing file keeps its mode and, where we may, its
    owner; a new one gets `mode`, or what the umask leaves. `unchanged` is called last before the
    file is replaced and may raise to prevent it. Raises `DocumentError`.
    """
    made: list[Path] = []
    temporary = Path(path).with_name(f".hermes-{secrets.token_hex(8)}.tmp")
    try:
        before = _writable(path)
        make_parents(path, made)
        _fill(temporary, data, before, mode)
        if os.path.realpath(path) != path:
            raise DocumentError(f"{printable(path)} has become a link: nothing was written.")
        unchanged()
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        remove_folders(made)
        if isinstance(error, OSError):
            reason = f"{printable(path)} cannot be written: {error.strerror}. Nothing was changed."
            raise DocumentError(reason) from error
        raise


def remove(path: str) -> None:
    """Remove the file at the real `path`. Raises `DocumentError`."""
    try:
        Path(path).unlink()
    except OSError as error:
        raise DocumentError(f"{printable(path)} cannot be deleted: {error.strerror}.") from error


def make_parents(path: str, made: list[Path]) -> None:
    """Create the folders that the file at `path` needs, noting each in `made`. Raises `OSError`."""
    missing = itertools.takewhile(lambda folder: not folder.is_dir(), Path(path).parents)
    for folder in reversed(list(missing)):
        try:
            folder.mkdir()
            made.append(folder)
        except FileExistsError:
            if not folder.is_dir():
                raise


def remove_folders(made: list[Path]) -> None:
    """Undo `make_parents`, as far as the folders are still empty."""
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


def _writable(path: str) -> os.stat_result | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if not os.access(path, os.W_OK):
        # Replacing needs no right to the file itself, but the mark "read-only" is meant.
        raise DocumentError(f"{printable(path)} is read-only: nothing was written.")
    return status


def _fill(temporary: Path, data: bytes, before: os.stat_result | None, mode: int | None) -> None:
    """Write the new file beside the old one, with its owner and mode, down to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        wanted = mode if before is None else stat.S_IMODE(before.st_mode)
        if wanted is not None:
            os.fchmod(file.fileno(), wanted)
        os.fsync(file.fileno())
