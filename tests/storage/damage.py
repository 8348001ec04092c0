"""A history to damage, and ways to damage it."""

from __future__ import annotations

import random
from pathlib import Path

from hermes_acp.storage.database import Database

SESSION = (
    "INSERT INTO sessions"
    " (session_id, project, cwd, real_cwd, title, mode, model, effort, created_at, updated_at)"
    " VALUES (?, '/code', '/code', '/code', ?, 'ask', 'm', 'default', 1.0, 1.0)"
)
EVENT = "INSERT INTO events VALUES (?, ?, 't1', '', ?, ?)"
RULE = (
    "INSERT INTO rules VALUES (?, 'allow', 'write', ?, '', 'project', 1.0, '', '', '', '', 'exact', '', '')"
)
PAGE = 4096

Events = dict[str, list[str]]
"""The data of the events of each session, in order."""


async def write(path: Path, sessions: int = 5, events: int = 25, size: int = 300) -> Events:
    """A history, closed in order."""
    database = await Database.open(path)
    kept = await add(database, sessions, events, size)
    await database.close()
    return kept


async def add(database: Database, sessions: int, events: int, size: int = 300) -> Events:
    """Sessions with events, and a rule for each."""
    kept: Events = {}
    for number in range(sessions):
        name = f"s{number:03}"
        await database.write(SESSION, (name, f"Title {number}"))
        await database.write(RULE, (f"r{number}", name))
        kept[name] = [data(name, seq, size) for seq in range(1, events + 1)]
        marks = ", ".join(["(?, ?, 't1', '', ?, ?)"] * events)
        values = [v for seq, text in enumerate(kept[name], 1) for v in (name, seq, 1.0 + seq, text)]
        await database.write(f"INSERT INTO events VALUES {marks}", values)
    return kept


def data(name: str, seq: int, size: int = 300) -> str:
    """The text of an event."""
    if seq == 1:
        return '{"type":"session_started","cwd":"/code"}'
    return f'{{"type":"turn_started","message_id":"{name}-{seq}","content":"{"x" * size}"}}'


async def read(database: Database) -> Events:
    """The history as it is now; numbers without a gap are part of the promise."""
    kept: Events = {name: [] for (name,) in await database.fetch("SELECT session_id FROM sessions")}
    for name, seq, text in await database.fetch("SELECT session_id, seq, data FROM events ORDER BY 1, 2"):
        assert seq == len(kept[name]) + 1
        kept[name].append(text)
    return kept


def pages(path: Path) -> int:
    return path.stat().st_size // PAGE


def spoil(path: Path, page: int, start: int = 0, length: int = PAGE, seed: int = 1) -> None:
    """Write noise into a page, counted from 0."""
    with path.open("r+b") as file:
        file.seek(page * PAGE + start)
        file.write(random.Random(seed).randbytes(length))
