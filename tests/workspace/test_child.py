"""Programs of ours: asked to end, then killed, and never left behind."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import psutil
import pytest

from hermes_acp.workspace.child import child
from tests.workspace.repos import git

pytestmark = pytest.mark.programs

PATIENCE = 30.0


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def running_with(word: str) -> list[list[str]]:
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if word in line]


async def test_a_git_that_is_broken_off_leaves_no_lock(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    tip = git(tmp_path, "hash-object", "-w", "--stdin", data=b"anything")
    lock = tmp_path / ".git/refs/next.lock"
    async with child(("git", "-C", str(tmp_path), "update-ref", "--stdin"), stdin=PIPE) as process:
        process.stdin.write(f"start\ncreate refs/next {tip}\nprepare\n".encode())
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"start: ok\n"
            assert await process.stdout.readline() == b"prepare: ok\n"
        assert lock.exists()
    assert not lock.exists()
    assert git(tmp_path, "for-each-ref", "refs/next") == ""


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("trap '' TERM; sleep 301 & echo $!; while :; do sleep 302; done", -9),
        ("(trap '' TERM; exec sh -c 'echo $$; exec sleep 303') & sleep 304", -15),
    ],
    ids=["itself", "its child"],
)
async def test_who_does_not_listen_is_killed_with_its_children(script: str, status: int) -> None:
    async with child(("sh", "-c", script)) as process:
        inner = int(await process.stdout.readline())
    assert process.returncode == status
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(gone, inner):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_cancelled_at_any_moment_nothing_stays(tmp_path: Path) -> None:
    async def work(name: str) -> None:
        async with child(("sh", "-c", "trap '' TERM; while :; do sleep 1; done", name)) as process:
            await process.wait()

    before = open_descriptors()
    names = [f"{tmp_path}-{number}" for number in range(6)]
    for passes, name in enumerate(names):
        task = asyncio.ensure_future(work(name))
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(running_with, name) == []
    await asyncio.sleep(0)
    assert open_descriptors() <= before


async def test_much_output_that_nobody_reads_does_not_keep_it(tmp_path: Path) -> None:
    async with child(("sh", "-c", "cat /dev/zero")) as process:
        await process.stdout.readexactly(100_000)
    assert process.returncode == -15


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with child((str(tmp_path / "none"),)):
            pytest.fail("it cannot have started")
