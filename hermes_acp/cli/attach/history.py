"""The prompts that were typed before: a file of JSON lines that only the user can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

ENTRIES = 1_000
"""Prompts that are kept."""
ENTRY_CHARS = 16 * 1024
"""A longer prompt is not kept."""
FILE_BYTES = 4 * 1024 * 1024
"""The end of the file that is read."""


def read(file: Path) -> list[str]:
    """The prompts, oldest first; none where they cannot be read. Blocking."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - FILE_BYTES))
            lines = stream.read(FILE_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [text for line in lines if (text := _entry(line))][-ENTRIES:]


def append(file: Path, prompt: str) -> None:
    """Add a prompt. Blocking. Raises `OSError`."""
    if len(prompt) > ENTRY_CHARS:
        return
    line = f"{json.dumps(prompt)}\n".encode()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    if file.exists() and file.stat().st_size + len(line) > FILE_BYTES:
        line = "".join(f"{json.dumps(entry)}\n" for entry in [*read(file), prompt][-ENTRIES // 2 :]).encode()
        flags = os.O_WRONLY | os.O_TRUNC
    descriptor = os.open(file, flags, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _entry(line: str) -> str:
    try:
        value = cast("object", json.loads(line))
    except (ValueError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""
