"""Disks that are small, full or read-only: file systems of their own, for tests that may mount some."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """An empty disk at a folder, with these options of `mount`, such as `size=1m`."""
    folder.mkdir(exist_ok=True)
    try:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Leave no byte free."""
    with file.open("ab", buffering=0) as opened:
        for size in (65_536, 4_096, 1):
            try:
                while opened.write(b"x" * size):
                    pass
            except OSError:
                continue
