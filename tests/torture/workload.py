"""Writes a history and says on standard output what is acknowledged: `python -m … FOLDER SEED [MODE]`.

With the mode `careless` nothing is forced to the disk, which a test of the test needs.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from hermes_acp.storage import backup
from hermes_acp.storage.database import Database
from tests.storage import damage

SESSIONS = 4
ROUNDS = 14
CHECKPOINT = 24
"""Pages of the log after which it is merged, far less than usual: many merges are wanted here."""


async def write(path: Path, rng: random.Random, *, careless: bool) -> None:
    """Two lives of a server, closed in order, with a backup in the second."""
    last = dict.fromkeys((f"s{number}" for number in range(SESSIONS)), 0)
    for life in range(2):
        database = await Database.open(path, repair=True)
        await database.fetch(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        if careless:
            await database.fetch("PRAGMA synchronous = OFF")
        for name in () if life else last:
            await database.write(damage.SESSION, (name, "Title"))
            said(f"session {name}")
        for turn in range(ROUNDS):
            async with asyncio.TaskGroup() as tasks:
                for name in rng.sample(sorted(last), rng.randint(1, SESSIONS)):
                    last[name] += 1
                    tasks.create_task(event(database, name, last[name], rng.choice((50, 600, 5_000))))
            if life and turn == ROUNDS // 2:
                await backup.make(path)
        await database.close()


async def event(database: Database, name: str, seq: int, size: int) -> None:
    """One event, acknowledged."""
    await database.write(damage.EVENT, (name, seq, float(seq), damage.data(name, seq, size)))
    said(f"event {name} {seq}")


def said(text: str) -> None:
    """One write of the whole line: its place among the writes to the disk is what counts."""
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    asyncio.run(
        write(
            Path(sys.argv[1]) / "x.db", random.Random(int(sys.argv[2])), careless=sys.argv[3:] == ["careless"]
        )
    )
