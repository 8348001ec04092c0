"""Files below a folder, reached without following a link on the way; everything here blocks."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from hermes_acp.records import record


def _read_name(value: object) -> str:
    return os.fsdecode(str(value).encode("latin-1"))


def _written_name(name: str) -> str:
    return os.fsencode(name).decode("latin-1")


Name: TypeAlias = Annotated[str, PlainValidator(_read_name), PlainSerializer(_written_name)]
"""A path as the system names it: bytes that are no UTF-8 are surrogates, which JSON cannot hold."""


@record
class Version:
    """A file as git holds it: `100644`, `100755` (a program) or `120000` (a link), and its blob."""

    mode: str
    blob: str


LINK = "120000"
PROGRAM = "100755"
FILE = "100644"
OTHER = Version("", "")
"""What is neither a file nor a link."""

Mark: TypeAlias = tuple[int, int, int, int]
"""Tells a file from every other one, and from itself after a change: device, inode, size, time."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1024 * 1024
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NO_HARD_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Places:
    """The files below `root`, by their path relative to it. For use in `with`. Raises `OSError`."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Places:
        """Itself."""
        return self

    def __exit__(self, *_cause: object) -> None:
        """Close it."""
        os.close(self._root)

    def find(self, path: str) -> os.stat_result | None:
        """What is there, links not followed; None when nothing is, or a link is on the way."""
        try:
            with self._parent(path) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOWHERE:
                return None
            raise

    def mark(self, path: str) -> Mark | None:
        """The mark of what is there."""
        found = self.find(path)
        return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def version(self, path: str, object_format: str) -> Version | None:
        """What git would call the contents that are there."""
        found = self.find(path)
        if found is None:
            return None
        with self._parent(path) as (folder, name):
            if stat.S_ISLNK(found.st_mode):
                target = os.fsencode(os.readlink(name, dir_fd=folder))
                return Version(LINK, _blob(target, object_format))
            if not stat.S_ISREG(found.st_mode):
                return OTHER
            blob = _file_blob(os.open(name, _READ, dir_fd=folder), object_format)
        return Version(PROGRAM if found.st_mode & stat.S_IXUSR else FILE, blob)

    def move(self, old: str, new: str) -> None:
        """Give a file another name, in the place of what has it; makes the folders that are missing."""
        with self._parent(old) as (from_folder, from_name), self._parent(new, make=True) as (to_folder, name):
            os.replace(from_name, name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def put(self, old: str, new: str) -> None:
        """Give a file a name that nothing has. Raises `FileExistsError`."""
        with self._parent(old) as (from_folder, from_name), self._parent(new, make=True) as (to_folder, name):
            if _linked(from_folder, from_name, to_folder, name):
                os.unlink(from_name, dir_fd=from_folder)
                return
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=to_folder, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
            os.replace(from_name, name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def save(self, old: str, new: str) -> None:
        """Give a file a second name; only where there are no hard links does it lose the first."""
        with self._parent(old) as (from_folder, from_name), self._parent(new) as (to_folder, name):
            if not _linked(from_folder, from_name, to_folder, name):
                os.replace(from_name, name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._parent(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def settle(self, left: Iterable[str], empty: Collection[str], gone: Iterable[str] = ()) -> None:
        """Remove the folders `gone`, and those that the files `left` leave empty, except those in
        `empty`. What is not empty stays.
        """
        for path in (*(f"{folder}/" for folder in gone), *left):
            parts = path.split("/")[:-1]
            while parts and "/".join(parts) not in empty and self._remove_folder("/".join(parts)):
                parts.pop()

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make the folders that are missing, where nothing is in their way."""
        for folder in folders:
            with suppress(OSError), self._parent(f"{folder}/.", make=True):
                pass

    def sync(self, paths: Iterable[str]) -> None:
        """Have the names in the folders of these files survive a power cut."""
        for folder in {path.rpartition("/")[0] for path in paths}:
            with suppress(OSError), self._parent(f"{folder}/." if folder else ".") as (descriptor, _):
                os.fsync(descriptor)

    def _remove_folder(self, folder: str) -> bool:
        try:
            with self._parent(folder) as (above, name):
                os.rmdir(name, dir_fd=above)
        except OSError:
            return False
        return True

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """The open folder that a path is in, and the last part of it."""
        *folders, name = path.split("/")
        here = os.dup(self._root)
        try:
            for part in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=here)
                below = os.open(part, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
            yield here, name
        finally:
            os.close(here)


def _linked(from_folder: int, from_name: str, to_folder: int, name: str) -> bool:
    """Give a second name to a file; False where the file system knows no such thing."""
    try:
        os.link(from_name, name, src_dir_fd=from_folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return False
        raise
    return True


def _file_blob(descriptor: int, object_format: str) -> str:
    with os.fdopen(descriptor, "rb") as file:
        digest = hashlib.new(object_format, b"blob %d\0" % os.fstat(descriptor).st_size)
        while part := file.read(_PIECE):
            digest.update(part)
    return digest.hexdigest()


def _blob(data: bytes, object_format: str) -> str:
    return hashlib.new(object_format, b"blob %d\0" % len(data) + data).hexdigest()
