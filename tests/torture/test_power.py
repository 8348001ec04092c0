"""Power cuts lose nothing that was promised, and the check would notice if they did."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp import config
from tests.torture import power
from tests.torture.disk import Create, Disk, Remove, Rename, Said, Sync, Truncate, Write, applied

STATES = "HERMES_EDITOR_TEST_POWER_CUTS"
SEED = "HERMES_EDITOR_TEST_SEED"


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory: there are many states."""
    with tempfile.TemporaryDirectory(dir=power.quick_folder()) as folder:
        yield Path(folder)


needs_strace = pytest.mark.skipif(power.is_possible() is not None, reason=str(power.is_possible()))


@needs_strace
@pytest.mark.slow
async def test_no_promise_is_lost_whenever_the_power_is_cut(quick: Path) -> None:
    env = config.environment()
    states = int(env.get(STATES, "300"))
    report = await power.run(states, int(env.get(SEED, random.randrange(1_000_000))), quick)
    print(report)
    assert report.problems == [], str(report)
    assert report.states == states
    assert report.promises > states


@needs_strace
@pytest.mark.slow
async def test_a_program_that_forces_nothing_to_the_disk_is_found_out(quick: Path) -> None:
    report = await power.run(20, 1, quick, "careless")
    assert any("lost: " in problem for problem in report.problems)


def everything(disk: Disk) -> set[tuple[tuple[str, bytes], ...]]:
    """What may be there after a power cut, of what many tries have shown."""
    rng = random.Random(1)
    return {tuple(sorted(disk.after_power_cut(rng).items())) for _ in range(500)}


def test_what_was_forced_to_the_disk_is_there_and_the_rest_may_be() -> None:
    disk = Disk()
    for step in (Create("/f/a"), Write("/f/a", 0, b"one"), Sync("/f/a"), Said("hello")):
        disk.do(step)
    assert everything(disk) == {(), (("/f/a", b"one"),)}
    disk.do(Sync("/f"))
    assert everything(disk) == {(("/f/a", b"one"),)}
    for step in (Write("/f/a", 3, b"2"), Write("/f/a", 4, b"3")):
        disk.do(step)
    contents = {b"one", b"one2", b"one\x003", b"one23"}
    assert everything(disk) == {(("/f/a", content),) for content in contents}


def test_a_large_write_may_arrive_in_pieces() -> None:
    disk = Disk()
    for step in (Create("/f/a"), Sync("/f"), Write("/f/a", 0, b"x" * 512 + b"y" * 512)):
        disk.do(step)
    contents = {b"", b"x" * 512, bytes(512) + b"y" * 512, b"x" * 512 + b"y" * 512}
    assert everything(disk) == {(("/f/a", content),) for content in contents}


def test_names_change_in_their_order() -> None:
    disk = Disk()
    for step in (Create("/f/a"), Create("/f/b"), Sync("/f"), Remove("/f/a"), Rename("/f/b", "/f/c")):
        disk.do(step)
    names = {tuple(path for path, _ in state) for state in everything(disk)}
    assert names == {("/f/a", "/f/b"), ("/f/b",), ("/f/c",)}


def test_a_file_can_be_cut_and_made_longer() -> None:
    assert applied(b"abc", [Truncate("", 1), Truncate("", 3), Write("", 5, b"x")]) == b"a\0\0\0\0x"


def test_calls_that_were_interrupted_by_another_thread_are_one() -> None:
    lines = ["7 fsync(3</x> <unfinished ...>\n", "8 close(1) = 0\n", "7 <... fsync resumed>) = 0\n"]
    assert list(power.whole(iter(lines))) == ["8 close(1) = 0\n", "7 fsync(3</x>) = 0\n"]
