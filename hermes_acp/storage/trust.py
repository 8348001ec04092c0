"""The user's answers about projects: a file beside the database, outside of every workspace."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, Field, ValidationError

from hermes_acp.policy.trust import Feature, Kind, Trust
from hermes_acp.storage import files, locks
from hermes_acp.storage.errors import StorageError, explain

FILE = "trust.json"
FILE_BYTES = 16 * 1024 * 1024
"""A longer file is damaged."""
PLACES_BOUND = 10_000
"""Places that are remembered; the oldest answers are forgotten, and asked for again."""
LOCK_SECONDS = 10.0
"""How long another process may be changing the file."""

logger = logging.getLogger(__name__)


class TrustFile:
    """The answers in a data folder, which several processes may change.

    Every method blocks: call it in a thread. All raise `StorageError`.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / FILE

    def get(self, place: str) -> Trust | None:
        """The answer about a place."""
        return self._read().get(place)

    def all(self) -> list[Trust]:
        """All answers, the newest first."""
        return sorted(self._read().values(), key=lambda trust: trust.decided_at, reverse=True)

    def keep(self, trust: Trust) -> None:
        """Write an answer down, in place of the one before."""
        with self._changing():
            self._write([trust, *(other for other in self.all() if other.place != trust.place)])

    def forget(self, places: Iterable[str]) -> bool:
        """Remove the answers about these places; False when there were none."""
        gone = frozenset(places)
        if gone.isdisjoint(self._read()):
            return False
        with self._changing():
            self._write([trust for trust in self.all() if trust.place not in gone])
        return True

    def _read(self) -> dict[str, Trust]:
        """What is in the file; one that is damaged holds no answer, so that nothing is trusted."""
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(explain(self._path, error)) from error
        try:
            if len(data) > FILE_BYTES:
                raise ValueError(f"it is larger than {FILE_BYTES:,} bytes")
            return {trust.place: trust for trust in _decoded(data)}
        except (ValueError, RecursionError) as error:
            logger.warning("%s is damaged, so no project is trusted: %s", self._path, error)
            return {}

    def _write(self, answers: list[Trust]) -> None:
        draft = self._path.with_name(f".{FILE}-{secrets.token_hex(4)}")
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(_encoded(answers[:PLACES_BOUND]))
                file.flush()
                os.fsync(file.fileno())
            files.place(draft, self._path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StorageError(explain(self._path, error)) from error

    @contextlib.contextmanager
    def _changing(self) -> Generator[None, None, None]:
        lock = self._path.with_name("trust.lock")
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(explain(lock.parent, error)) from error
        descriptor = locks.open_lock(lock)
        try:
            if not locks.wait(descriptor, lock, LOCK_SECONDS):
                raise StorageError(
                    f"Another process has been changing {self._path} for {LOCK_SECONDS:.0f} seconds. "
                    "Wait for its end, then try again."
                )
            yield
        finally:
            os.close(descriptor)


class _Feature(BaseModel):
    kind: Kind
    name: str
    digest: str


class _Trust(BaseModel):
    place: str
    identity: str
    answer: Literal["trusted", "never"]
    features: tuple[_Feature, ...]
    decided_at: float = Field(ge=0)
    client: str


class _File(BaseModel):
    places: tuple[_Trust, ...]


def _decoded(data: bytes) -> list[Trust]:
    """Raises `ValueError` and `RecursionError`."""
    # Python's own decoder: paths that are not UTF-8 stand in the file as half characters.
    try:
        found = _File.model_validate(cast("object", json.loads(data)))
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} members are wrong or missing") from error
    return [
        Trust(
            item.place,
            item.identity,
            item.answer,
            tuple(Feature(feature.kind, feature.name, feature.digest) for feature in item.features),
            item.decided_at,
            item.client,
        )
        for item in found.places
    ]


def _encoded(answers: Iterable[Trust]) -> bytes:
    places = [
        {
            "place": trust.place,
            "identity": trust.identity,
            "answer": trust.answer,
            "features": [
                {"kind": feature.kind, "name": feature.name, "digest": feature.digest}
                for feature in trust.features
            ],
            "decided_at": trust.decided_at,
            "client": trust.client,
        }
        for trust in answers
    ]
    return (json.dumps({"places": places}, indent=2) + "\n").encode()
