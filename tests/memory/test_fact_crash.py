"""Kill -9 at every step on the disk: what was acknowledged is there, once, and nothing is damaged."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hermes_acp.memory.facts.changes import Amend
from hermes_acp.workspace.branch_state import BranchState
from tests.memory.memories import FEATURE, MAIN, Memory, fact

pytestmark = pytest.mark.slow

STEPS = 200
"""More than any of this takes."""
_STEPS = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "subprocess.Popen", "shutil.rmtree"})


def killed(folder: Path, work: Callable[[Memory], Awaitable[object]], steps: int) -> bool:
    """Do the work in a process that gets a SIGKILL at a step; False when it lived to the end.

    A step is a change of names, a process that is started, or a file that is opened to be written.
    """
    child = os.fork()
    if child == 0:
        left = steps

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in _STEPS or (event == "open" and _writes(arguments)):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        async def run() -> None:
            memory = await Memory.open(folder)
            sys.addaudithook(count)
            await work(memory)

        try:
            asyncio.run(run())
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def _writes(arguments: tuple[object, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def at_every_step(
    tmp_path: Path,
    prepare: Callable[[Memory], Awaitable[object]],
    work: Callable[[Memory], Awaitable[object]],
    check: Callable[[Memory, bool], Awaitable[None]],
) -> int:
    """Kill the work at each step, and look each time; the number of kills."""

    async def begin(folder: Path) -> None:
        memory = await Memory.open(folder)
        await prepare(memory)
        await memory.close()

    async def look(folder: Path, crashed: bool) -> None:
        memory = await Memory.open(folder)
        await memory.whole(("p",))
        await check(memory, crashed)
        await memory.close()

    for steps in range(STEPS):
        folder = tmp_path / str(steps)
        folder.mkdir()
        asyncio.run(begin(folder))
        crashed = killed(folder, work, steps)
        asyncio.run(look(folder, crashed))
        if not crashed:
            return steps
    raise AssertionError("there are more steps than expected")


async def two(memory: Memory) -> None:
    await memory.learn(MAIN, fact("SQLite", "database"))
    await memory.learn(FEATURE, fact("Postgres", "database"))


async def nothing(memory: Memory) -> None:
    """Begin with an empty folder."""


def test_a_kill_while_changes_are_made_and_written_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    async def work(memory: Memory) -> None:
        said = memory.folder / "acknowledged"
        for number in range(3):
            await memory.learn((MAIN, FEATURE)[number % 2], fact(f"fact {number}"))
            said.touch()
            said.rename(memory.folder / f"acknowledged {number}")
            said = memory.folder / "acknowledged"
        await memory.facts.drain()

    async def check(memory: Memory, crashed: bool) -> None:
        states = await memory.states()
        promised = len([*memory.folder.glob("acknowledged ?")])
        assert {f"fact {number}" for number in range(promised)} <= states.keys()
        commits = memory.git("log", "--branches", "--format=%H").split()
        assert len(commits) == len(states)
        assert crashed or len(states) == 3

    assert at_every_step(tmp_path, nothing, work, check) > 15


def test_a_kill_while_facts_move_leaves_them_in_one_place(tmp_path: Path) -> None:
    async def prepare(memory: Memory) -> None:
        await two(memory)
        state = BranchState("main", tips={"main": "m", "feature": "f"}, landed=frozenset({"m"}))
        await memory.facts.reconcile("p", "here", state)
        await memory.facts.drain()

    async def work(memory: Memory) -> None:
        state = BranchState("main", tips={"main": "f", "feature": "f"}, landed=frozenset({"m", "f"}))
        await memory.facts.reconcile("p", "here", state)
        await memory.facts.drain()

    async def check(memory: Memory, crashed: bool) -> None:
        promoted = {"SQLite": ("superseded", "project"), "Postgres": ("active", "project")}
        before = {"SQLite": ("active", "project"), "Postgres": ("active", "overlay/feature")}
        assert await memory.states() in (promoted, *([before] if crashed else []))
        await work(memory)
        assert await memory.states() == promoted
        assert memory.git("branch", "--format=%(refname:short)").split() == ["project"]

    assert at_every_step(tmp_path, prepare, work, check) > 5


def test_a_kill_while_a_fact_is_forgotten_ends_with_it_forgotten_or_whole(tmp_path: Path) -> None:
    async def prepare(memory: Memory) -> None:
        await two(memory)
        await memory.facts.drain()
        [known] = [key for key, item in (await memory.facts.all("p")).items() if item.text == "SQLite"]
        await memory.learn(MAIN, Amend(known, text="the secret word", author="user"))

    async def work(memory: Memory) -> None:
        [known] = [key for key, item in (await memory.facts.all("p")).items() if "secret" in item.text]
        await memory.facts.forget("p", known)

    async def check(memory: Memory, crashed: bool) -> None:
        states = await memory.states()
        history = memory.git("cat-file", "--batch-all-objects", "--batch")
        assert ("secret" in history) == ("the secret word" in states)
        assert crashed or "the secret word" not in states
        if "the secret word" not in states:
            for path in memory.folder.rglob("*"):
                assert not path.is_file() or b"secret" not in path.read_bytes(), path
        assert not [*memory.folder.glob("p/memory.git.*")]

    assert at_every_step(tmp_path, prepare, work, check) > 10
