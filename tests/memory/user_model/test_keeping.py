"""Claims in a real store: counted once whoever writes, kept in the user's history, told while they hold."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hermes_acp.memory.facts.changes import Observe, Retract
from hermes_acp.memory.facts.fact import Evidence, moment
from hermes_acp.memory.scopes import Place
from hermes_acp.memory.user_model.claims import DAY, HALF_LIFE_DAYS
from tests.memory.memories import MAIN, SAID, Memory

PNPM = "Manages JavaScript packages with pnpm."
NOWHERE = Place("")


def spoken(number: int, days: float = 0.0) -> Observe:
    at = moment(time.time() - days * DAY)
    evidence = (Evidence(f"s{number}", 3, SAID.split()[0], at=at),)
    return Observe("profile: javascript packages", "environment", PNPM, evidence)


async def test_sessions_of_two_processes_that_speak_at_once_are_all_counted(tmp_path: Path) -> None:
    one, other = await Memory.open(tmp_path), await Memory.open(tmp_path)
    await asyncio.gather(
        *(memory.learn(NOWHERE, spoken(number)) for number in range(6) for memory in (one, other))
    )
    [claim] = (await one.facts.all("user")).values()
    assert sorted(item.session for item in claim.evidence) == [f"s{number}" for number in range(6)]
    assert await other.texts(MAIN) == [PNPM]
    await one.whole()
    await one.close()
    await other.close()


async def test_a_claim_that_faded_is_told_to_nobody_and_still_there(tmp_path: Path) -> None:
    memory = await Memory.open(tmp_path)
    for number in range(3):
        await memory.learn(NOWHERE, spoken(number, days=2 * HALF_LIFE_DAYS))
    assert await memory.texts(MAIN) == []
    assert await memory.states("user") == {PNPM: ("proposed", "user")}
    await memory.learn(NOWHERE, spoken(3), spoken(4))
    assert await memory.texts(MAIN) == [PNPM]
    await memory.close()


async def test_what_is_retracted_stays_so_and_what_is_forgotten_may_come_back(tmp_path: Path) -> None:
    memory = await Memory.open(tmp_path)
    claim_id = (await memory.learn(NOWHERE, *map(spoken, range(3)))).ids[0]
    await memory.learn(NOWHERE, Retract(claim_id))
    assert (await memory.learn(NOWHERE, *map(spoken, range(9)))).edits == ()
    await memory.facts.forget("user", claim_id)
    assert SAID.split()[0] not in memory.git("log", "-p", "--all", store="user")
    await memory.learn(NOWHERE, *map(spoken, range(3)))
    assert await memory.texts(MAIN) == [PNPM]
    await memory.close()
