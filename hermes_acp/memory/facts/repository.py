"""The seam to the repositories that facts are kept in: git, but nothing here says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hermes_acp.storage.fact_commits import FactCommit, FactVersion, LogEntry


class Repository(Protocol):
    """The history of one store's facts. All methods raise `RepositoryError` (of `storage`).

    Everything but `locked`, `kept_edits` and `close` is called while the caller holds the lock.
    """

    def locked(self) -> AbstractAsyncContextManager[bool]:
        """Keep other processes and tasks out; gives whether the last one that was in may have crashed.

        Makes the repository when there is none.
        """
        ...

    async def commit(self, commits: Sequence[FactCommit], *, doubtful: bool) -> None:
        """Add changes, in order; all of it is there on return, or an error is raised.

        With `doubtful`, those parts of them that the history has already are not added again.
        """
        ...

    async def files(self) -> Mapping[str, Mapping[str, str]]:
        """All files of all scopes' branches: texts by path, by the name of the branch."""
        ...

    async def versions(self, change_id: str) -> Sequence[FactVersion]:
        """What a change did; empty when there was no such change."""
        ...

    async def log(self, limit: int, path: str = "") -> Sequence[LogEntry]:
        """The last changes, of one file only if `path` names one, the newest first."""
        ...

    async def purge(self, paths: Collection[str]) -> None:
        """Remove files from all of the history; no byte of them is left."""
        ...

    async def problems(self) -> Sequence[str]:
        """What is wrong with the repository; empty when it is sound."""
        ...

    async def kept_edits(self) -> Sequence[str]:
        """Files that somebody edited and whose facts have changed since: they stay, and are told of once."""
        ...

    async def tidy(self) -> None:
        """Pack what has become many small files."""
        ...

    def close(self) -> None:
        """Give back what is open; the next use opens it again."""
        ...
