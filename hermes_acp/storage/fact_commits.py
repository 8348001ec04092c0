"""What goes into a repository of facts and comes out of it: words for those who write and those who keep.

A *scope* is where a fact holds (`project`, `overlay/feature`, …); each has a branch in the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from hermes_acp.records import record


class RepositoryError(Exception):
    """The repository cannot be read or written; `str()` says why and what to do."""


@record
class FactCommit:
    """One change: texts by scope and path (None: the file is removed), at a time (epoch seconds).

    `merges` names the scopes whose history becomes part of that of another one. The message carries
    no text of a fact, so that forgetting a fact never has to change a message.
    """

    change_id: str
    message: str
    at: float
    files: Mapping[str, Mapping[str, str | None]]
    merges: Mapping[str, str] = field(default_factory=dict[str, str])


@record
class FactVersion:
    """A file before (None: there was none) and after a change."""

    path: str
    before: str | None
    after: str


@record
class LogEntry:
    """A change as the history has it; `commits` are its commits, one for each branch."""

    change_id: str
    at: float
    message: str
    commits: tuple[str, ...]
