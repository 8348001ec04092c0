"""Shows what the shared server had to say, and goes on with what it says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from hermes_acp.cli.command import SUCCESS, fail

LINES = 50
"""Lines that are shown when no other number is asked for."""
TAIL_BYTES = 4 * 1024 * 1024
"""Bytes of the end of the log that are looked at."""
FOLLOW_POLL = 0.2
"""Seconds between two looks for more."""


def show(log: str, lines: int, *, follow: bool) -> int:
    """Print the last lines; with `follow`, go on until interrupted. Returns the exit code."""
    if lines < 0:
        return fail("The number of lines must not be negative.")
    path = Path(log)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return fail(f"There is no log yet: {log} is written when a window starts the server.")
    except OSError as error:
        return fail(f"{log} cannot be read: {error.strerror}.")
    try:
        _write(_tail(file, lines))
        while follow:
            file = _go_on(path, file)
    finally:
        file.close()
    return SUCCESS


def _tail(file: BinaryIO, lines: int) -> bytes:
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - TAIL_BYTES))
    found = file.read().splitlines(keepends=True)
    return b"".join(found[max(0, len(found) - lines) :])


def _go_on(path: Path, file: BinaryIO) -> BinaryIO:
    """Print what is new, then wait a moment; a log that was put aside is followed by its successor."""
    if data := file.read(TAIL_BYTES):
        _write(data)
        return file
    try:
        named, held = path.stat(), os.fstat(file.fileno())
        if (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino):
            successor = path.open("rb")
            file.close()
            return successor
    except FileNotFoundError:
        # It was put aside, and the next server makes a new one.
        pass
    time.sleep(FOLLOW_POLL)
    return file


def _write(data: bytes) -> None:
    sys.stdout.write(data.decode("utf-8", "replace"))
    sys.stdout.flush()
