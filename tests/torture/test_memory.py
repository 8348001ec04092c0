"""However often those who learn are killed, alone or with their git: nothing they were told is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hermes_acp import config
from tests.torture import memory

KILLS = "HERMES_EDITOR_TEST_KILLS"
SEED = "HERMES_EDITOR_TEST_SEED"


@pytest.mark.slow
async def test_no_fact_is_lost_however_often_its_writers_are_killed(tmp_path: Path) -> None:
    env = config.environment()
    seed = int(env.get(SEED, random.randrange(1_000_000)))
    report = await memory.rounds(tmp_path, int(env.get(KILLS, "20")), seed)
    print(seed, report)
    assert report.problems == [], seed
    assert report.promises > 0
