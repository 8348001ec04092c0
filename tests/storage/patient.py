"""A database in a process of its own, to which bad things can happen while it is used.

Reads commands, a line each, and answers each with a line: `write N` inserts events, `read` counts
them, `files N` bounds the number of open files (0: as before), `open` and `close`.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from hermes_acp.storage.database import Database, StorageError
from tests.storage import damage

LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)
FILLER = "x" * 2_000


class Patient:
    def __init__(self, path: Path) -> None:
        self._database = Database(path, repair=True)
        self._seq = 0

    async def do(self, command: str, number: int) -> str:
        match command:
            case "write":
                return await self._write(number)
            case "read":
                rows = await self._database.fetch("SELECT count(*), coalesce(max(seq), 0) FROM events")
                return f"{rows[0][0]} {rows[0][1]} {self._database.notice or ''}"
            case "files":
                used = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + number, LIMITS[1]) if number else LIMITS)
                return "done"
            case "open":
                await self._database.fetch("SELECT 1")
                return "done"
            case _:
                await self._database.close()
                return "done"

    async def _write(self, number: int) -> str:
        """At once: some may fail, and those that did not have to be there."""
        if self._seq == 0:
            await self._database.write(f"{damage.SESSION} ON CONFLICT DO NOTHING", ("s", "Title"))
        first, self._seq = self._seq + 1, self._seq + number
        outcomes = await asyncio.gather(
            *(
                self._database.write(damage.EVENT, ("s", seq, float(seq), damage.data("s", seq, 2_000)))
                for seq in range(first, first + number)
            ),
            return_exceptions=True,
        )
        failed = [outcome for outcome in outcomes if outcome != 1]
        if failed:
            raise failed[0] if isinstance(failed[0], Exception) else AssertionError(failed)
        return "done"


async def main(path: Path) -> None:
    patient = Patient(path)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, _, number = line.strip().partition(" ")
        try:
            answer = await patient.do(command, int(number or 0))
        except StorageError as error:
            answer = f"StorageError: {error}"
        print(answer.replace("\n", " "), flush=True)
    await patient.do("close", 0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
