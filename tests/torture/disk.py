"""A disk without power-loss protection: what may be on it after a power cut, by POSIX's own words.

Contents are certain only up to a file's last `fsync`, names only up to their folder's. Of what came
later, any part may have arrived: nothing, all, a beginning, some writes and not others, or pieces
of a write. Names arrive in the order of their changes, as every journaling file system has it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

SECTOR = 512
"""Bytes that are written as a whole."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place in a file."""

    path: str
    place: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """The file gets this size."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A file or a folder is forced to the disk."""

    path: str


@dataclass(frozen=True, slots=True)
class Create:
    """The file is there from now on."""

    path: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The file is gone."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """The file has another name in its folder, in place of what had it before."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Said:
    """The program told somebody something."""

    text: str


Change: TypeAlias = Write | Truncate
Step: TypeAlias = Change | Sync | Create | Remove | Rename | Said


@dataclass(eq=False)
class File:
    """Contents, whatever the name."""

    certain: bytes = b""
    later: list[Change] = field(default_factory=list[Change])

    def sync(self) -> None:
        self.certain = applied(self.certain, self.later)
        self.later = []

    def after_power_cut(self, rng: random.Random) -> bytes:
        return applied(self.certain, _arrived(self.later, rng))


@dataclass(eq=False)
class Folder:
    """Names of files."""

    certain: dict[str, File] = field(default_factory=dict[str, File])
    now: dict[str, File] = field(default_factory=dict[str, File])
    later: list[dict[str, File]] = field(default_factory=list["dict[str, File]"])

    def change(self, change: Callable[[dict[str, File]], object]) -> None:
        change(self.now)
        self.later.append(dict(self.now))

    def sync(self) -> None:
        self.certain = dict(self.now)
        self.later = []


class Disk:
    """The state while the program runs; `do` each of its steps in their order."""

    def __init__(self) -> None:
        self._folders: dict[str, Folder] = {}

    def do(self, step: Step) -> None:
        """Take in one step."""
        match step:
            case Write(path) | Truncate(path):
                self._file(path).later.append(step)
            case Sync(path) if path in self._folders:
                self._folders[path].sync()
            case Sync(path):
                self._file(path).sync()
            case Create(path):
                folder, name = self._place(path)
                if name not in folder.now:
                    folder.change(lambda names: names.update({name: File()}))
            case Remove(path):
                folder, name = self._place(path)
                folder.change(lambda names: names.pop(name))
            case Rename(path, target):
                folder, name = self._place(path)
                wanted = self._place(target)[1]
                folder.change(lambda names: names.update({wanted: names.pop(name)}))
            case Said():
                pass

    def after_power_cut(self, rng: random.Random) -> dict[str, bytes]:
        """One of the many things that may be on the disk: contents by path."""
        found: dict[str, bytes] = {}
        for path, folder in self._folders.items():
            states = [folder.certain, *folder.later]
            names = states[rng.choice((0, len(states) - 1, rng.randrange(len(states))))]
            found |= {f"{path}/{name}": file.after_power_cut(rng) for name, file in names.items()}
        return found

    def _place(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folders.setdefault(folder, Folder()), name

    def _file(self, path: str) -> File:
        folder, name = self._place(path)
        return folder.now[name]


def applied(contents: bytes, changes: Iterable[Change]) -> bytes:
    """The contents after these changes."""
    result = bytearray(contents)
    for change in changes:
        match change:
            case Write(_, place, data):
                result.extend(bytes(max(0, place - len(result))))
                result[place : place + len(data)] = data
            case Truncate(_, size):
                del result[size:]
                result.extend(bytes(size - len(result)))
    return bytes(result)


def _arrived(changes: list[Change], rng: random.Random) -> list[Change]:
    match rng.choice(("nothing", "all", "beginning", "some", "pieces")):
        case "nothing":
            return []
        case "all":
            return changes
        case "beginning":
            return changes[: rng.randint(0, len(changes))]
        case "some":
            return [change for change in changes if rng.random() < 0.5]
        case _:
            return [piece for change in changes for piece in _pieces(change) if rng.random() < 0.7]


def _pieces(change: Change) -> list[Change]:
    """A write as the sectors that it consists of."""
    if isinstance(change, Truncate):
        return [change]
    bounds = [*range(0, len(change.data), SECTOR), len(change.data)]
    return [
        Write(change.path, change.place + start, change.data[start:end])
        for start, end in itertools.pairwise(bounds)
    ]
