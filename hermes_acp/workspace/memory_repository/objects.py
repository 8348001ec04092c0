"""Reads the repositories of facts: branches from their files, trees and texts through one `git cat-file`.

Everything here blocks. The module brings GitPython along, so it is imported when it is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import cast

from git import Repo, SymbolicReference
from git.objects import Blob, Commit, Tree

from hermes_acp.storage.fact_commits import FactVersion

FOLDER = "facts"
"""The folder that the files lie in."""


def tips(folder: Path) -> dict[str, str]:
    """The last commit of each branch; starts no process."""
    with _opened(folder) as repository:
        return {
            head.name: SymbolicReference.dereference_recursive(repository, head.path)
            for head in repository.heads
        }


def texts(folder: Path) -> dict[str, dict[str, str]]:
    """All files of all branches, by the name of the branch and their paths."""
    with _opened(folder) as repository:
        return {
            head.name: {path: _text(blob) for path, blob in _files(head.commit).items()}
            for head in repository.heads
        }


def versions(folder: Path, commits: Iterable[str]) -> list[FactVersion]:
    """What commits did to files: one that came from a merged branch was there before."""
    with _opened(folder) as repository:
        return [version for name in commits for version in _versions(repository.commit(name))]


def _versions(commit: Commit) -> list[FactVersion]:
    before: dict[str, Blob] = {}
    for parent in reversed(commit.parents):
        before |= _files(parent)
    return [
        FactVersion(path, _text(before[path]) if path in before else None, _text(blob))
        for path, blob in _files(commit).items()
        if path not in before or before[path].binsha != blob.binsha
    ]


def _files(commit: Commit) -> dict[str, Blob]:
    try:
        folder = commit.tree / FOLDER
    except KeyError:
        return {}
    return {str(blob.path): blob for blob in folder.blobs} if isinstance(folder, Tree) else {}


def _text(blob: Blob) -> str:
    return cast("bytes", blob.data_stream.read()).decode("utf-8", "replace")


@contextlib.contextmanager
def _opened(folder: Path) -> Generator[Repo, None, None]:
    """The repository at `folder`, whatever the environment says about another one."""
    repository = Repo(folder)
    repository.git.update_environment(
        GIT_DIR=str(folder),
        GIT_OBJECT_DIRECTORY=str(folder / "objects"),
        GIT_ALTERNATE_OBJECT_DIRECTORIES="",
        GIT_NO_LAZY_FETCH="1",
        GIT_ALLOW_PROTOCOL="none",
    )
    try:
        yield repository
    finally:
        repository.close()
