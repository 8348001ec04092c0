"""What a checkpoint is, and what is said about one: pure data."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from pydantic import TypeAdapter

from hermes_acp.records import record
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.places import Name, Version

REPOSITORY = "checkpoints.git"
"""The name of the repository of checkpoints in a project's folder."""


class CheckpointError(Exception):
    """A checkpoint cannot be taken, read or restored; `str()` says why and what to do."""


Reason: TypeAlias = Literal["large", "many", "repository", "special", "unreadable"]

REASONS: dict[Reason, str] = {
    "large": "too large",
    "many": "too many new files",
    "repository": "a repository of its own",
    "special": "not an ordinary file",
    "unreadable": "cannot be read",
}
"""What each reason means to a reader."""


@record
class Limits:
    """What is recorded and how long it is kept."""

    file_bytes: int = 32 * 1024 * 1024
    """Larger files are left out; has to stay below what git may print (`git.OUTPUT_BYTES`)."""
    new_files: int = 20_000
    """So many files that the user's repository does not track may appear at once; then the fullest
    folders are left out."""
    new_bytes: int = 1024 * 1024 * 1024
    """The same for their sizes together."""
    count: int = 200
    """Checkpoints kept of each session, the newest."""
    age: float = 30 * 24 * 3600.0
    """Seconds after which a checkpoint may go."""
    store_bytes: int = 4 * 1024 * 1024 * 1024
    """The oldest quarter of all checkpoints goes when the repository is larger."""


@record
class LeftOut:
    """Something that a checkpoint does not hold, relative to the root; a folder ends with a slash."""

    path: Name
    reason: Reason

    def __str__(self) -> str:
        """As one line for the user."""
        return f"{printable(self.path)}: {REASONS[self.reason]}"


@record
class Beside:
    """What was seen of a tree and has no place in a tree of git."""

    left_out: tuple[LeftOut, ...] = ()
    folders: tuple[Name, ...] = ()
    """Empty folders, without a slash."""
    usual: tuple[int, int] = (0o644, 0o755)
    """The permission bits of most files and of most programs."""
    modes: tuple[tuple[Name, int], ...] = ()
    """The permission bits of the files that have others."""


@record
class Checkpoint:
    """The files of one tree at one time.

    `session` and `number` together name it; `id` is the commit, which equal checkpoints may share.
    `at` is in Unix seconds.
    """

    id: str
    session: str
    number: int
    label: str
    at: int
    root: Name
    tree: str
    beside: Beside = field(default_factory=Beside)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What it does not hold."""
        return self.beside.left_out


@record
class Difference:
    """One path that differs between two trees; None where there is no file."""

    path: str
    old: Version | None
    new: Version | None


ChangeKind: TypeAlias = Literal["added", "deleted", "modified", "retyped"]


@record
class FileChange:
    """One file that differs between two checkpoints.

    `patch` is a unified diff of git; empty for a change of mode alone, None when there are no
    texts to compare, or too much of them. `retyped` is a file that became a link, or a link a file.
    """

    path: str
    kind: ChangeKind
    old: Version | None
    new: Version | None
    patch: str | None


@record
class Span:
    """What happened in a tree between two checkpoints: one turn, for example."""

    start: Checkpoint
    end: Checkpoint


Outcome: TypeAlias = Literal["created", "replaced", "deleted", "merged"]


@record
class RestoredFile:
    """What a restore did to one file; `merged` kept what was changed in it since."""

    path: str
    outcome: Outcome


@record
class Restored:
    """How a restore ended. With conflicts nothing was written, and `after` is `before`.

    `skipped` are files that one of the checkpoints left out: they stay as they are. To take the
    restore back, restore the span from `before` to `after`.
    """

    files: tuple[RestoredFile, ...]
    conflicts: tuple[Conflict, ...]
    skipped: tuple[LeftOut, ...]
    before: Checkpoint
    after: Checkpoint


@record
class Note:
    """What is written into the commit of a checkpoint."""

    label: str
    root: Name
    beside: Beside


NOTES = TypeAdapter(Note)


@record
class State:
    """What is remembered of a tree between two checkpoints.

    `lender` and `tracked` say which objects and which index of the user's repository were seen,
    `index` which index of ours stands for the last checkpoint.
    """

    last: Checkpoint
    lender: str
    tracked: str
    index: str


STATES = TypeAdapter(State)
