"""The projects that we know: a folder for each below our data folder, with a `project.json` in it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import cast

from pydantic import BaseModel, Field, ValidationError

from hermes_acp.records import record
from hermes_acp.storage import files, locks
from hermes_acp.storage.errors import StorageError, explain
from hermes_acp.workspace import disk, marks
from hermes_acp.workspace.lineage import Lineage
from hermes_acp.workspace.locations import DocumentError

PROJECTS_BOUND = 10_000
"""Folders that are looked at; further ones are not seen by a listing or a match."""
RECORD_BYTES = 1024 * 1024
"""A longer `project.json` is damaged."""
LOCK_SECONDS = 10.0
"""How long another process may be changing the registry."""
LAST_TIME = 32_503_680_000.0
"""The year 3000: a later time is damage, with which no date could be shown."""
FORGOTTEN = ".forgotten-"
"""The beginning of the names of folders that are being deleted."""

logger = logging.getLogger(__name__)


@record
class Record:
    """What is known of a project. Paths are real, times in seconds since the epoch.

    `keys` are the places where it lives (`Project.key`: several when clones were joined), `former`
    those where it lived, `paths` the trees in which it was used, the last one first; `parent` is the
    id of the project that has it as a submodule, or empty.
    """

    id: str
    name: str
    keys: tuple[str, ...]
    former: tuple[str, ...]
    paths: tuple[str, ...]
    lineage: Lineage
    parent: str
    created: float
    last_used: float


class Registry:
    """The records below `folder`, which several processes may change.

    Every method blocks: call it in a thread. All raise `StorageError`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def folder_of(self, project_id: str) -> Path:
        """Where everything that belongs to a project is kept; deleting it forgets the project."""
        if not project_id or marks.well_formed(project_id) != project_id:
            raise ValueError(f"{project_id!r} is no project id")
        return self.folder / project_id

    def get(self, project_id: str) -> Record | None:
        """The project with this id; None also when its record is damaged, which the log tells."""
        path = self.folder_of(project_id) / "project.json"
        try:
            content = disk.read(str(path), RECORD_BYTES)
        except DocumentError as error:
            raise StorageError(str(error)) from error
        if content is None:
            return None
        try:
            record = _decoded(content.data)
        except (ValueError, RecursionError) as error:
            logger.warning("%s is damaged and counts as missing: %s", path, error)
            return None
        return record if record.id == project_id else None

    def all(self) -> list[Record]:
        """All projects, the one used last first."""
        try:
            names = [entry.name for entry in islice(os.scandir(self.folder), PROJECTS_BOUND)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(explain(self.folder, error)) from error
        ids = (name for name in names if name and marks.well_formed(name) == name)
        records = [record for project_id in ids if (record := self.get(project_id)) is not None]
        return sorted(records, key=lambda record: record.last_used, reverse=True)

    @contextlib.contextmanager
    def changing(self) -> Generator[None, None, None]:
        """Keep other processes and threads from changing records meanwhile."""
        path = self.folder / "registry.lock"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(explain(self.folder, error)) from error
        descriptor = locks.open_lock(path)
        try:
            if not locks.wait(descriptor, path, LOCK_SECONDS):
                raise StorageError(
                    f"Another process has been changing the projects in {self.folder} for "
                    f"{LOCK_SECONDS:.0f} seconds. Wait for its end, then try again."
                )
            try:
                yield
            finally:
                # A child process that is being started holds the descriptor too for a moment.
                locks.unlock(descriptor)
        finally:
            os.close(descriptor)

    def keep(self, record: Record) -> None:
        """Write a record, wholly or not at all; only while `changing`."""
        folder = self.folder_of(record.id)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.replace(os.path.realpath(folder / "project.json"), _encoded(record), 0o600, lambda: None)
            files.sync(folder)
        except OSError as error:
            raise StorageError(explain(folder, error)) from error
        except DocumentError as error:
            raise StorageError(str(error)) from error

    def is_empty(self, project_id: str) -> bool:
        """Whether nothing is kept for a project but its record."""
        folder = self.folder_of(project_id)
        try:
            return all(entry.name == "project.json" for entry in folder.iterdir())
        except OSError as error:
            raise StorageError(explain(folder, error)) from error

    def remove(self, project_id: str) -> None:
        """Delete everything in the folder of a project; only while `changing`.

        It is gone at once: what is left after a crash is deleted by the next removal.
        """
        folder = self.folder_of(project_id)
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rename(self.folder / f"{FORGOTTEN}{project_id}-{secrets.token_hex(4)}")
                files.sync(self.folder)
            for rest in self.folder.glob(f"{FORGOTTEN}*"):
                shutil.rmtree(rest)
        except OSError as error:
            raise StorageError(explain(folder, error)) from error


class _File(BaseModel):
    """A `project.json`."""

    id: str
    name: str
    keys: tuple[str, ...]
    former: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    remote: str = ""
    roots: tuple[str, ...] = ()
    parent: str = ""
    created: float = Field(ge=0, le=LAST_TIME)
    last_used: float = Field(ge=0, le=LAST_TIME)


def _decoded(data: bytes) -> Record:
    """Raises `ValueError` and `RecursionError`."""
    # Python's own decoder: paths that are not UTF-8 stand in the file as half characters.
    try:
        found = _File.model_validate(cast("object", json.loads(data)))
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} members are wrong or missing") from error
    parent = marks.well_formed(found.parent)
    lineage = Lineage(found.remote, found.roots)
    return Record(
        id=found.id,
        name=found.name,
        keys=found.keys,
        former=found.former,
        paths=found.paths,
        lineage=lineage,
        parent=parent,
        created=found.created,
        last_used=found.last_used,
    )


def members(record: Record) -> dict[str, object]:
    """A record as JSON: the form of the file, and what commands show."""
    return {
        "id": record.id,
        "name": record.name,
        "keys": record.keys,
        "former": record.former,
        "paths": record.paths,
        "remote": record.lineage.remote,
        "roots": record.lineage.roots,
        "parent": record.parent,
        "created": record.created,
        "last_used": record.last_used,
    }


def _encoded(record: Record) -> bytes:
    return (json.dumps(members(record), indent=2) + "\n").encode()
