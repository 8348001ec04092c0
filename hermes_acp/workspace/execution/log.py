"""The whole output of a command in a file: written only when it is long, private, bounded in size and age.

Bytes wait in memory until a worker thread has written them; a writer that falls behind says so
(`full`), and the command's pipe is left unread meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from hermes_acp.policy.secrets.lines import BEGIN_KEY, END_KEY, redacted

SPILL_BYTES = 16_000
"""Output up to this is kept in memory only: the model reads all of it."""

LOG_BYTES = 128 * 1024 * 1024
"""Longest log of one command."""

FOLDER_BYTES = 512 * 1024 * 1024
"""Size of all logs together; over it the oldest are removed."""

LOG_AGE = 7 * 24 * 3600.0
"""Seconds after which a log is removed."""

WAITING_BYTES = 4 * 1024 * 1024
"""Bytes that may wait to be written before the command has to wait."""

WRITE_BYTES = 1024 * 1024
"""Bytes that are looked through and written at once."""

HELD_BYTES = 16 * 1024
"""Longest unfinished line (or key) that waits for its end, so that no secret is cut in two."""

SUFFIX = ".log"


class CommandLog:
    """The log of one command; belongs to the loop, writes in `workers`."""

    def __init__(self, path: Path, workers: Executor, secrets: tuple[str, ...] = ()) -> None:
        self.problem = ""
        """Why the log is not complete; empty while it is."""
        self._path = path
        self._workers = workers
        self._secrets = secrets
        self._waiting: list[bytes] = []
        self._size = 0
        self._begun = False
        self._closed = False
        self._open = False
        self._written = 0
        self._held = b""
        self._file: int | None = None
        self._writing: asyncio.Future[None] | None = None
        self._relieved: Callable[[], None] = _nothing
        self._settled: Callable[[], None] = _nothing

    @property
    def path(self) -> str | None:
        """The file, None while the output is too short for one."""
        return str(self._path) if self._begun else None

    @property
    def full(self) -> bool:
        """Whether more has to wait until `relieved` is called."""
        return self._begun and self._size > WAITING_BYTES

    def add(self, data: bytes, relieved: Callable[[], None]) -> None:
        """Append; `relieved` is called when the log was full and is so no more."""
        self._relieved = relieved
        self._waiting.append(data)
        self._size += len(data)
        if self._size > SPILL_BYTES:
            self._begun = True
        self._write()

    def close(self, settled: Callable[[], None]) -> None:
        """Nothing follows; `settled` is called once all of it is in the file."""
        self._closed = True
        self._settled = settled
        self._write()

    async def settled(self) -> None:
        """Wait until all that was added is in the file."""
        while (writing := self._writing) is not None:
            await asyncio.wait([writing])

    def _write(self) -> None:
        """Begin to write what waits, unless that is being done."""
        if self._writing is not None:
            return
        if not self._begun or not (self._waiting or self._open):
            if self._closed:
                self._settled()
            return
        if not (self._waiting or self._closed):
            return
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        self._open = not self._closed
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._workers, self._store, data, self._closed)
        self._writing.add_done_callback(self._stored)

    def _stored(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        writing.result()
        relieved, self._relieved = self._relieved, _nothing
        relieved()
        self._write()

    # --- in a worker -----------------------------------------------------------------------------

    def _store(self, data: bytes, last: bool) -> None:  # noqa: FBT001 — passed through an executor
        try:
            if self._file is None and not self.problem:
                self._file = _create(self._path)
            for start in range(0, len(data), WRITE_BYTES):
                self._append(data[start : start + WRITE_BYTES])
            if last:
                self._put(redacted(self._held, self._secrets))
        except OSError as error:
            self.problem = f"the log could not be written: {error.strerror}"
        if last and self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, data: bytes) -> None:
        data = self._held + data
        cut = _whole(data)
        self._held = data[cut:]
        self._put(redacted(data[:cut], self._secrets))

    def _put(self, data: bytes) -> None:
        if self.problem or self._file is None:
            return
        room = LOG_BYTES - self._written
        if len(data) > room:
            self.problem = f"the log ends after {LOG_BYTES // 1024**2} MiB"
        rest = memoryview(data)[:room]
        while rest:
            written = os.write(self._file, rest)
            self._written += written
            rest = rest[written:]


def _nothing() -> None:
    """Nobody waits."""


def _whole(data: bytes) -> int:
    """Where the last line ends that can be written now."""
    cut = data.rfind(b"\n") + 1
    begin = data.rfind(BEGIN_KEY)
    if begin >= 0 and data.find(END_KEY, begin, cut) < 0:
        cut = min(cut, begin)
    return cut if len(data) - cut <= HELD_BYTES else len(data)


def _create(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(path.parent)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _sweep(folder: Path) -> None:
    """Remove logs that are old, and the oldest when all together are too large."""
    room, now = FOLDER_BYTES, time.time()
    logs = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
    for status, path in sorted(logs, key=lambda log: log[0].st_mtime, reverse=True):
        room -= status.st_size
        if room < 0 or now - status.st_mtime > LOG_AGE:
            Path(path).unlink(missing_ok=True)
