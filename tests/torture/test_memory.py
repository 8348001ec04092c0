"""However often those who learn are killed, alone or with their git: nothing they were told is lost."""

from __future__ import annotations

import asyncio
import random
import subprocess
from pathlib import Path

import pytest

from hermes_acp import config
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.fact_commits import RepositoryError
from tests.memory.memories import FEATURE, MAIN, Memory, fact
from tests.mounts import mounted
from tests.torture import memory

KILLS = "HERMES_EDITOR_TEST_KILLS"
SEED = "HERMES_EDITOR_TEST_SEED"
REFUSED = 10
"""Times that a full disk says no before somebody makes room."""


@pytest.mark.slow
async def test_no_fact_is_lost_however_often_its_writers_are_killed(tmp_path: Path) -> None:
    env = config.environment()
    seed = int(env.get(SEED, random.randrange(1_000_000)))
    report = await memory.rounds(tmp_path, int(env.get(KILLS, "20")), seed)
    print(seed, report)
    assert report.problems == [], seed
    assert report.promises > 0


@pytest.mark.slow
async def test_programs_that_race_for_the_facts_of_one_project_lose_none_and_write_each_once(
    tmp_path: Path,
) -> None:
    names, count = ["one", "other", "third"], 8
    said = await asyncio.to_thread(memory.race, tmp_path, names, count)
    assert sorted(said.values()) == sorted(f"{name} {number}" for name in names for number in range(count))
    assert await memory.lost(tmp_path, said) == []


@pytest.mark.slow
async def test_on_a_disk_that_fills_up_nothing_that_was_acknowledged_is_lost_nor_damaged(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "disk"
    with mounted(folder, "size=3m"):
        filled = await Memory.open(folder)
        said: list[str] = []
        refused = 0
        for number in range(300):
            try:
                await filled.learn((MAIN, FEATURE)[number % 2], fact(f"{number} " + "word " * 200))
                said.append(f"{number}")
                if number % 5 == 4:
                    await filled.facts.drain()
            except (StorageError, RepositoryError):
                refused += 1
                if refused == REFUSED:
                    break
        assert refused == REFUSED
        assert len(said) > 20
        room = ["mount", "-o", "remount,size=64m", str(folder)]
        await asyncio.to_thread(subprocess.run, room, check=True)
        await filled.close()
        later = await Memory.open(folder)
        await later.whole(("p",))
        known = {item.text.split(" ")[0] for item in (await later.facts.all("p")).values()}
        assert known >= set(said)
        await later.close()
