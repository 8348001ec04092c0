"""The folders in which people look at facts: up to date whoever was killed, and whatever they edit there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from hermes_acp.memory.facts.changes import Amend, Retract
from hermes_acp.memory.facts.fact import name_of
from hermes_acp.storage.fact_commits import RepositoryError
from tests.memory.memories import FEATURE, MAIN, Memory, fact
from tests.mounts import fill, mounted
from tests.workspace.repos import git

pytestmark = pytest.mark.slow

MANY = 400
"""Facts whose files take a while to write."""


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    memory = await Memory.open(tmp_path)
    yield memory
    await memory.close()


def tree_of(memory: Memory, branch: str = "project") -> Path:
    return memory.folder / "p/memory" / branch


def is_current(memory: Memory, branch: str = "project") -> bool:
    """Whether git sees no difference between the folder, its index and the branch."""
    return git(tree_of(memory, branch), "status", "--short") == ""


def files_in(tree: Path) -> int:
    return sum(1 for _ in (tree / "facts").iterdir())


async def crashed(memory: Memory) -> None:
    """What the next process finds when this one has died while it wrote."""
    await memory.close()
    (memory.folder / "p/memory.lock").write_text("busy")


async def look(folder: Path) -> Memory:
    """Another process opens the memory and reads its history."""
    memory = await Memory.open(folder)
    await memory.facts.log("p", 1)
    return memory


def die_in_the_middle(folder: Path, at: Callable[[Path], bool]) -> None:
    """Change all facts in a process that is killed with its git when its folder is as `at` says."""
    child = os.fork()
    if child == 0:

        async def work() -> None:
            memory = await Memory.open(folder)
            facts = await memory.facts.all("p")
            changes = [Amend(name, text=f"new {item.text}", author="user") for name, item in facts.items()]
            await memory.learn(MAIN, *changes, *(fact(f"more {number}") for number in range(MANY)))
            await memory.facts.drain()

        try:
            asyncio.run(work())
        finally:
            os._exit(0)
    parent = psutil.Process(child)
    tree = folder / "p/memory/project"
    deadline = time.monotonic() + 60
    while not at(tree) and parent.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        pass
    family = [parent]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += parent.children(recursive=True)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the child is forked")
@pytest.mark.parametrize("drafted", [True, False])
@pytest.mark.parametrize("written", [1, MANY // 2])
async def test_a_kill_in_the_middle_of_a_checkout_leaves_a_folder_that_is_current_at_the_next_opening(
    tmp_path: Path, written: int, drafted: bool
) -> None:
    memory = await Memory.open(tmp_path)
    ids = (await memory.learn(MAIN, *(fact(f"fact {number}") for number in range(MANY)))).ids
    await memory.facts.drain()
    await memory.close()
    drafts = {name_of(ids[7]): "my draft", "facts/notes.md": "my notes"} if drafted else {}
    for path, text in drafts.items():
        (tree_of(memory) / path).write_text(text)
    die_in_the_middle(tmp_path, lambda tree: files_in(tree) >= MANY + len(drafts) + written)
    assert (tmp_path / "p/memory.lock").read_text() == "busy"
    memory = await look(tmp_path)
    changed = git(tree_of(memory), "status", "--short").splitlines()
    assert changed == ([f" M {name_of(ids[7])}", "?? facts/notes.md"] if drafted else [])
    assert {path: (tree_of(memory) / path).read_text() for path in drafts} == drafts
    await memory.whole(("p",))
    await memory.learn(MAIN, Retract(ids[3]))
    await memory.facts.drain()
    assert git(tree_of(memory), "status", "--short").splitlines() == changed
    await memory.close()


async def test_a_folder_that_stayed_behind_is_current_after_the_next_opening(memory: Memory) -> None:
    [one, two] = (await memory.learn(MAIN, fact("SQLite", "database"), fact("tabs"))).ids
    await memory.facts.drain()
    files = {path: path.read_bytes() for path in tree_of(memory).glob("facts/*.md")}
    index = memory.folder / "p/memory.git/worktrees/project/index"
    old_index = index.read_bytes()
    await memory.learn(MAIN, Amend(one, text="Postgres", author="user"), fact("more"))
    await memory.facts.drain()
    # As when the branch had moved and the checkout had written this much.
    index.write_bytes(old_index)
    [new] = set(tree_of(memory).glob("facts/*.md")) - files.keys()
    new.write_bytes(new.read_bytes()[:40])
    (tree_of(memory) / name_of(two)).unlink()
    (index.parent / "index.lock").touch()
    await crashed(memory)
    memory = await look(memory.folder)
    assert is_current(memory)
    await memory.close()


async def test_the_folder_of_a_branch_that_went_while_somebody_died_is_removed(memory: Memory) -> None:
    await memory.learn(MAIN, fact("SQLite"))
    await memory.learn(FEATURE, fact("Postgres"))
    await memory.facts.drain()
    memory.git("update-ref", "-d", "refs/heads/overlay/feature")
    await crashed(memory)
    memory = await look(memory.folder)
    assert not tree_of(memory, "overlay/feature").exists()
    assert is_current(memory)
    await memory.close()


async def test_a_lost_or_broken_index_is_made_anew_at_the_next_write(memory: Memory) -> None:
    [one] = (await memory.learn(MAIN, fact("SQLite"))).ids
    await memory.facts.drain()
    index = memory.folder / "p/memory.git/worktrees/project/index"
    for number, broken in enumerate((b"", b"nonsense", b"DIRC" + b"\xff" * 60)):
        index.write_bytes(broken)
        await memory.learn(MAIN, Amend(one, text=f"SQLite {number}", author="user"))
        await memory.facts.drain()
        assert is_current(memory)
        index.unlink()
        await memory.learn(MAIN, Amend(one, text=f"Postgres {number}", author="user"))
        await memory.facts.drain()
        assert is_current(memory)


async def test_somebody_else_s_git_at_work_is_not_disturbed_and_one_that_died_is_not_waited_for(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    [one] = (await memory.learn(MAIN, fact("SQLite"))).ids
    await memory.facts.drain()
    lock = memory.folder / "p/memory.git/worktrees/project/index.lock"
    lock.touch()
    await memory.learn(MAIN, Amend(one, text="Postgres", author="user"))
    with caplog.at_level(logging.WARNING):
        await memory.facts.drain()
    assert "another git is at work in it" in caplog.text
    assert "SQLite" in (tree_of(memory) / name_of(one)).read_text()
    assert lock.exists()
    os.utime(lock, (0, 0))
    await memory.learn(MAIN, Amend(one, text="MariaDB", author="user"))
    await memory.facts.drain()
    assert is_current(memory)
    assert "MariaDB" in (tree_of(memory) / name_of(one)).read_text()


async def test_a_folder_that_a_full_disk_left_behind_is_current_once_there_is_room(
    memory: Memory, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        async with memory.on_disk(disk) as facts:
            filling = disk / "filling"
            await facts.apply(MAIN, [fact(f"{number} " + "word " * 100) for number in range(40)])
            # Enough for the history, and too little for a file of each fact.
            fill(filling)
            os.truncate(filling, filling.stat().st_size - 30 * 4096)
            with contextlib.suppress(RepositoryError):
                await facts.drain()
            tree = disk / "memory/project"
            assert git(tree, "--no-optional-locks", "status", "--short") != ""
            filling.unlink()
            await facts.drain()
            await facts.log("p", 1)
            assert git(tree, "status", "--short") == ""
            assert len([*tree.glob("facts/*.md")]) == 41
