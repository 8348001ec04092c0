"""A terminal for tests: a program on a pty, its screen as a terminal emulator sees it, keys to type."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

SECONDS = 60.0
"""How long a screen may take to show what is waited for."""
HISTORY = 500


class Pane:
    """A program in a terminal window; it ends with the context."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, size: tuple[int, int] = (80, 24)
    ) -> None:
        columns, rows = size
        self.screen = pyte.HistoryScreen(columns, rows, history=HISTORY, ratio=1)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = os.openpty()
        self._size(columns, rows)
        self.process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (no threads here)
        )
        os.close(slave)
        self.raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without empty lines at its end."""
        shown = [line.rstrip() for line in self.screen.display]
        return "\n".join(shown).rstrip("\n").split("\n")

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.screen.resize(rows, columns)
        self._size(columns, rows)

    def until(self, *parts: str, without: str = "") -> str:
        """Wait until all these are on the screen and `without` is not: the screen."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            text = self.text
            if all(part in text for part in parts) and (not without or without not in text):
                return text
            if not self._read(end) and self.process.poll() is not None:
                break
        raise AssertionError(f"waited for {parts} without {without!r}; the screen:\n{self.text}")

    def end(self) -> int:
        """Wait for the end of the program: its exit code."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(SECONDS)

    def _read(self, end: float) -> bool:
        """Take in what the program writes; False when nothing comes any more."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
