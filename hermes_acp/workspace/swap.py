"""Putting contents in the places of many files, wholly or not at all; everything here blocks.

The new files are prepared in a folder of the tree, and the old ones are kept there until the end,
so that going back needs nothing but renames. A journal outside of the tree says how far it came:
what did not end is to be taken back before anything else happens to the tree.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from hermes_acp.records import record
from hermes_acp.storage.files import place, sync
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.places import LINK, PROGRAM, Mark, Name, Places, Version
from hermes_acp.workspace.worktrees.included import clone

STAGING = ".hermes-swap-"
"""What the folders begin with in which a swap prepares itself."""

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o600

_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)

_DIFFERS = "it has changed in these moments"
_BLOCKED = "a folder, a link or a file is in its way"


@record
class Exchange:
    """One file to be brought from `before`, which is on the disk, to `after`; never the same.

    `mode` are the permission bits for a file that has to be made.
    """

    path: str
    before: Version | None
    after: Version | None
    mode: int


@record
class Order:
    """What shall be exchanged in the tree at the real path `root`.

    `object_format` is what the blobs are named with; `empty_before` are the empty folders that
    are there, `empty_after` those that shall be.
    """

    root: str
    object_format: str
    exchanges: tuple[Exchange, ...]
    empty_before: tuple[str, ...] = ()
    empty_after: tuple[str, ...] = ()
    label: str = ""
    """What its owner wants to find in the journal as long as it can be taken back."""


@record
class Entry:
    """A file in the journal; `mark` is that of the new file, None where there is none."""

    path: Name
    mark: Mark | None
    was_there: bool


@record
class Journal:
    """All that is needed to go back; `empty` are folders that were there, `made` such that were not."""

    root: Name
    staging: str
    empty: tuple[Name, ...] = ()
    made: tuple[Name, ...] = ()
    entries: tuple[Entry, ...] = ()
    label: str = ""


_JOURNALS = TypeAdapter(Journal)


class DamagedJournal(Exception):
    """What a crash interrupted cannot be taken back; `str()` says what to do."""


class Clash(Exception):
    """The tree is no longer what it was; `conflicts` say where. What was done has to be taken back."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__("; ".join(map(str, conflicts)))
        self.conflicts = conflicts


class Swap:
    """One exchange: `prepare`, `stage` as often as needed, `apply`, then `finish`.

    Until `finish` has returned, `take_back` undoes all of it. Raises `OSError`.
    """

    def __init__(self, order: Order, journal: Path) -> None:
        self._order = order
        self._file = journal
        made = tuple(sorted({*order.empty_after} - {*order.empty_before}))
        staging = f"{STAGING}{secrets.token_hex(6)}"
        self._journal = Journal(order.root, staging, order.empty_before, made, label=order.label)
        self._marks: dict[str, Mark | None] = {}

    def prepare(self) -> None:
        """Make the folder for the new files."""
        _save(self._file, self._journal)
        staging = Path(self._order.root, self._journal.staging)
        staging.mkdir(mode=0o700)
        # git shall not show what is here only for a moment.
        (staging / ".gitignore").write_bytes(b"*\n")

    def stage(self, contents: Mapping[str, bytes | Path]) -> None:
        """Write those new files whose blobs are given, as bytes or as a file, down to the disk."""
        with Places(self._order.root) as places:
            for number, each in enumerate(self._order.exchanges):
                if each.after is not None and each.after.blob in contents:
                    before = places.find(each.path) if each.before else None
                    mode = _mode(before, each.after, each.mode)
                    _write(self._new(number), each.after, contents[each.after.blob], before, mode)

    def apply(self) -> None:
        """Change the tree. Raises `Clash` when it is not as planned."""
        exchanges = self._order.exchanges
        with Places(self._order.root) as places:
            self._check(places)
            entries = (self._entry(places, number) for number in range(len(exchanges)))
            self._journal = replace(self._journal, entries=tuple(entries))
            _save(self._file, self._journal)
            # First everything that goes, because a folder may have to become a file.
            for number, each in enumerate(exchanges):
                if each.after is None:
                    self._place(places, number, each)
            gone = [each.path for each in exchanges if each.after is None]
            empty = set(self._order.empty_after)
            places.settle(gone, empty, [each for each in self._order.empty_before if each not in empty])
            for number, each in enumerate(exchanges):
                if each.after is not None:
                    self._place(places, number, each)
            places.make_folders(self._order.empty_after)
            places.sync(each.path for each in exchanges)

    def finish(self) -> None:
        """Forget what was there before: from now on it is done.

        Raises `Clash` when a program that had an old file open has written to it meanwhile.
        """
        with Places(self._order.root) as places:
            late = [
                Conflict(each.path, _DIFFERS)
                for number, each in enumerate(self._order.exchanges)
                if each.before and places.mark(self._name(number, "old")) != self._marks[each.path]
            ]
        if late:
            raise Clash(tuple(late))
        # A journal without entries takes nothing back, and still names the folder to remove.
        _save(self._file, Journal(self._journal.root, self._journal.staging))
        sync(self._file.parent)
        _remove(self._journal, self._file)

    def _check(self, places: Places) -> None:
        conflicts: list[Conflict] = []
        for each in self._order.exchanges:
            self._marks[each.path] = places.mark(each.path)
            if not self._as_planned(places, each):
                conflicts.append(Conflict(each.path, _DIFFERS))
        if conflicts:
            raise Clash(tuple(conflicts))

    def _as_planned(self, places: Places, exchange: Exchange) -> bool:
        if exchange.before is not None:
            return places.version(exchange.path, self._order.object_format) == exchange.before
        found = places.find(exchange.path)
        # A folder in the place of a file may be gone by then.
        return found is None or stat.S_ISDIR(found.st_mode)

    def _place(self, places: Places, number: int, exchange: Exchange) -> None:
        path = exchange.path
        try:
            if exchange.before is None:
                places.put(self._name(number, "new"), path)
                return
            if places.mark(path) != self._marks[path]:
                raise Clash((Conflict(path, _DIFFERS),))
            if exchange.after is None:
                places.move(path, self._name(number, "old"))
            else:
                places.save(path, self._name(number, "old"))
                places.move(self._name(number, "new"), path)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            raise Clash((Conflict(path, _BLOCKED),)) from error

    def _entry(self, places: Places, number: int) -> Entry:
        exchange = self._order.exchanges[number]
        mark = places.mark(self._name(number, "new"))
        return Entry(exchange.path, mark, exchange.before is not None)

    def _name(self, number: int, kind: str) -> str:
        return f"{self._journal.staging}/{number}.{kind}"

    def _new(self, number: int) -> Path:
        return Path(self._order.root, self._name(number, "new"))


def read(file: Path) -> Journal | None:
    """What the journal `file` tells of, if there is one. Raises `OSError` and `DamagedJournal`."""
    try:
        return _JOURNALS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedJournal(
            f"{printable(str(file))} is damaged, so a change of many files that was interrupted cannot be "
            f"taken back: look at your files, and at what lies in a folder {STAGING}… beside them, and "
            "remove that file."
        ) from error


def take_back(file: Path) -> tuple[str, ...]:
    """Undo the exchange that the journal `file` tells of, if there is one.

    Gives the files that somebody changed since: they are left as they are. Raises `OSError` and
    `DamagedJournal`.
    """
    journal = read(file)
    if journal is None:
        return ()
    with Places(journal.root) as places:
        kept = [*_return_all(places, journal, came=True)]
        created = [entry.path for entry in journal.entries if not entry.was_there]
        places.settle(created, journal.empty, journal.made)
        # What went comes back last, because a file may have to become a folder again.
        kept += _return_all(places, journal, came=False)
        places.make_folders(journal.empty)
        places.sync(entry.path for entry in journal.entries)
    _remove(journal, file)
    return tuple(kept)


def _remove(journal: Journal, file: Path) -> None:
    shutil.rmtree(Path(journal.root, journal.staging), ignore_errors=True)
    file.unlink()


def _return_all(places: Places, journal: Journal, *, came: bool) -> Iterator[str]:
    """Undo the steps that brought a file, or those that took one; gives what has to be left alone."""
    for number, entry in enumerate(journal.entries):
        if (entry.mark is not None) == came and not _return(places, f"{journal.staging}/{number}", entry):
            yield entry.path


def _return(places: Places, staged: str, entry: Entry) -> bool:
    """Undo one step, whether or not it was done; False when somebody changed the file since."""
    found = places.mark(entry.path)
    ours = entry.mark is not None and found == entry.mark
    if not entry.was_there:
        if ours:
            places.remove(entry.path)
        return ours or found is None or places.mark(f"{staged}.new") == entry.mark
    saved = places.mark(f"{staged}.old")
    if saved is None or saved == found:
        # It was not reached: the old file still has its name.
        return True
    if found is None or ours:
        with suppress(NotADirectoryError):
            places.move(f"{staged}.old", entry.path)
            return True
    return False


def _mode(before: os.stat_result | None, after: Version, made: int) -> int:
    """The permission bits of a new file: those of the old one, as far as being a program allows."""
    if before is None or not stat.S_ISREG(before.st_mode):
        return made
    bits = stat.S_IMODE(before.st_mode)
    if after.mode != PROGRAM:
        return bits & ~0o111 if bits & stat.S_IXUSR else bits
    return bits if bits & stat.S_IXUSR else bits | (bits & 0o444) >> 2


def _write(path: Path, after: Version, data: bytes | Path, before: os.stat_result | None, mode: int) -> None:
    if after.mode == LINK:
        path.symlink_to(data.readlink() if isinstance(data, Path) else os.fsdecode(data))
        return
    if isinstance(data, Path):
        clone(data, path, _PRIVATE)
    else:
        with os.fdopen(os.open(path, _MAKE, _PRIVATE), "wb") as file:
            file.write(data)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _save(file: Path, journal: Journal) -> None:
    draft = file.with_suffix(".tmp")
    draft.write_bytes(_JOURNALS.dump_json(journal, ensure_ascii=True))
    sync(draft)
    place(draft, file)
