"""Bounded reads and atomic writes of ordinary files; everything here blocks: call it in a thread."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace import resolve
from hermes_acp.workspace.locations import DocumentError, printable

_KINDS = (
    (stat.S_ISDIR, "a folder: use list_dir"),
    (stat.S_ISFIFO, "a named pipe, which cannot be read or written as a file"),
    (stat.S_ISSOCK, "a socket, which cannot be read or written as a file"),
    (stat.S_ISCHR, "a device, which cannot be read or written as a file"),
    (stat.S_ISBLK, "a device, which cannot be read or written as a file"),
)


SWAPPED = "a link has taken its place, or that of a folder above it; name it again"

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


@record
class Content:
    """The bytes of a file and its permission bits."""

    data: bytes
    mode: int


@record
class _New:
    data: bytes
    mode: int | None


def read(path: str, limit: int) -> Content | None:
    """A whole ordinary file, None when there is none. Raises `DocumentError`; never waits for a pipe."""
    return _content(path, limit, lambda: Path(path).stat(), lambda: os.open(path, _READ))


def read_real(path: str, limit: int) -> Content | None:
    """The same of the file at a real path; where a link is on the way by now, it raises."""
    try:
        with resolve.parent(path) as (at, name):
            return _content(
                path,
                limit,
                lambda: resolve.status(at, name),
                lambda: os.open(name, _READ | os.O_NOFOLLOW, dir_fd=at),
            )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DocumentError(f"{printable(path)} cannot be read: {reason(error)}.") from error


def _content(
    path: str, limit: int, look: Callable[[], os.stat_result], opened: Callable[[], int]
) -> Content | None:
    try:
        # The kind is checked before opening, because opening a device may already do something,
        # and again afterwards, because the name may have changed hands in between.
        _check(path, look(), limit)
        descriptor = opened()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DocumentError(f"{printable(path)} cannot be read: {reason(error)}.") from error
    with os.fdopen(descriptor, "rb") as file:
        try:
            status = os.fstat(descriptor)
            _check(path, status, limit)
            # Files of /proc say that they are empty, so the size alone proves nothing.
            data = file.read(limit + 1)
        except OSError as error:
            raise DocumentError(f"{printable(path)} cannot be read: {reason(error)}.") from error
    if len(data) > limit:
        raise _too_large(path, len(data), limit)
    return Content(data, stat.S_IMODE(status.st_mode))


def reason(error: OSError) -> str:
    """What went wrong, in words for the user."""
    return SWAPPED if error.errno == errno.ELOOP else error.strerror or str(error)


def _check(path: str, status: os.stat_result, limit: int) -> None:
    _check_kind(path, status)
    if status.st_size > limit:
        raise _too_large(path, status.st_size, limit)


def _check_kind(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((text for test, text in _KINDS if test(status.st_mode)), "not an ordinary file")
        raise DocumentError(f"{printable(path)} is {kind}.")


def _too_large(path: str, size: int, limit: int) -> DocumentError:
    return DocumentError(
        f"{printable(path)} is too large: {size:,} bytes or more, the limit is {limit:,}. "
        "Use search or a command to look at parts of it."
    )


def replace(path: str, data: bytes, mode: int | None, unchanged: Callable[[], None]) -> None:
    """Put `data` in the place of the file at the real `path`, wholly or not at all.

    Missing parent folders are created. An existing file keeps its mode and, where we may, its owner, and
    loses its other names (hard links); a new one gets `mode`, or what the umask leaves. `unchanged` is
    called last before the file is replaced and may raise to prevent it. Raises `DocumentError`, also where
    a link is on the way by now.
    """
    made: list[Path] = []
    try:
        with resolve.parent(path, lambda folder: made.append(Path(folder))) as (at, name):
            _replace(path, (at, name), _New(data, mode), unchanged)
    except BaseException as error:
        remove_folders(made)
        if isinstance(error, OSError):
            said = f"{printable(path)} cannot be written: {reason(error)}. Nothing was changed."
            raise DocumentError(said) from error
        raise


def _replace(path: str, place: tuple[int, str], new: _New, unchanged: Callable[[], None]) -> None:
    at, name = place
    temporary = f".hermes-{secrets.token_hex(8)}.tmp"
    try:
        _fill((at, temporary), new, _writable(path, place))
        unchanged()
        # Whatever has this name by now is replaced itself: a rename follows no link.
        _writable(path, place)
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=at)
        raise


def remove(path: str) -> None:
    """Remove the file at the real `path`. Raises `DocumentError`."""
    try:
        with resolve.parent(path) as (at, name):
            resolve.status(at, name)
            os.unlink(name, dir_fd=at)
    except OSError as error:
        raise DocumentError(f"{printable(path)} cannot be deleted: {reason(error)}.") from error


def make_parents(path: str, made: list[Path]) -> None:
    """Create the folders that the file at the real `path` needs, noting each in `made`. Raises `OSError`."""
    with resolve.parent(path, lambda folder: made.append(Path(folder))):
        pass


def remove_folders(made: list[Path]) -> None:
    """Undo `make_parents`, as far as the folders are still empty."""
    for folder in reversed(made):
        with suppress(OSError), resolve.parent(str(folder)) as (at, name):
            os.rmdir(name, dir_fd=at)


def _writable(path: str, place: tuple[int, str]) -> os.stat_result | None:
    at, name = place
    try:
        status = resolve.status(at, name)
    except FileNotFoundError:
        return None
    _check_kind(path, status)
    if not os.access(name, os.W_OK, dir_fd=at, follow_symlinks=False):
        # Replacing needs no right to the file itself, but the mark "read-only" is meant.
        raise DocumentError(f"{printable(path)} is read-only: nothing was written.")
    return status


def _fill(place: tuple[int, str], new: _New, before: os.stat_result | None) -> None:
    """Write the new file beside the old one, with its owner and mode, down to the disk."""
    at, name = place
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(name, flags, 0o666, dir_fd=at), "wb") as file:
        file.write(new.data)
        file.flush()
        if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        wanted = new.mode if before is None else stat.S_IMODE(before.st_mode)
        if wanted is not None:
            os.fchmod(file.fileno(), wanted)
        os.fsync(file.fileno())
