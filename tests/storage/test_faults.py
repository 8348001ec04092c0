"""A disk that refuses: the error is clear, reading goes on, and the same database recovers."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_acp.storage.database import Database, StorageError
from tests.mounts import fill, mounted
from tests.storage import damage

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
ATTACHED = 60.0
"""Seconds that strace may take to get hold of a process."""


class Patient:
    """The process of `tests/storage/patient.py`."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.patient", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    patient = Patient(tmp_path / "data" / "x.db")
    yield patient
    patient.kill()


@contextmanager
def injected(pid: int, calls: str, error: str) -> Iterator[None]:
    """System calls of a running process fail."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid)]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + ATTACHED
        # All threads: SQLite works in one of them.
        while not all("TracerPid:\t0\n" not in status for status in statuses(pid)):
            if strace.poll() is not None:
                pytest.skip(f"strace cannot attach: {strace.communicate()[1]}")
            assert time.monotonic() < deadline
            time.sleep(0.001)
        yield
    finally:
        strace.terminate()
        strace.communicate()


def statuses(pid: int) -> list[str]:
    return [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


async def test_a_full_disk_is_said_by_everybody_and_over_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=256k"):
        database = await Database.open(disk / "x.db", repair=True)
        await database.write(damage.SESSION, ("s", "Title"))
        kept: list[int] = []

        async def write(seq: int) -> None:
            await database.write(damage.EVENT, ("s", seq, 1.0, damage.data("s", seq, 1_000)))
            kept.append(seq)

        outcomes = await asyncio.gather(*(write(seq) for seq in range(1, 301)), return_exceptions=True)
        problems = {str(outcome) for outcome in outcomes if outcome is not None}
        assert len(problems) == 1
        assert problems.pop().startswith(f"The disk is full: {disk / 'x.db'} could not be written. Free some")
        await asyncio.to_thread(fill, disk / "filler")
        with pytest.raises(StorageError, match="disk is full"):
            await write(1_000)
        rows = await database.fetch("SELECT seq FROM events ORDER BY seq")
        assert [seq for (seq,) in rows] == sorted(kept)
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=1m", str(disk)], check=True)
        await write(1_000)
        await database.close()
        rows = await database.fetch("SELECT seq FROM events ORDER BY seq")
        assert [seq for (seq,) in rows] == sorted(kept)
        assert database.notice is None
        await database.close()


async def test_on_a_full_disk_nothing_new_begins_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=256k"):
        await asyncio.to_thread(fill, disk / "filler")
        database = Database(disk / "x.db", repair=True)
        for _ in range(2):
            with pytest.raises(StorageError, match="disk is full"):
                await database.fetch("SELECT count(*) FROM sessions")
        (disk / "filler").unlink()
        assert await database.fetch("SELECT count(*) FROM sessions") == [(0,)]
        await database.close()


async def test_a_folder_that_became_read_only_is_said_and_usable_again_later(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m"):
        wanted = await damage.write(disk / "x.db", 2, 10)
        remount = ["mount", "-o", "remount,ro", str(disk)]
        await asyncio.to_thread(subprocess.run, remount, check=True)
        database = Database(disk / "x.db", repair=True)
        with pytest.raises(StorageError, match=r"cannot be written .*permissions"):
            await database.fetch("SELECT 1")
        remount[2] = "remount,rw"
        await asyncio.to_thread(subprocess.run, remount, check=True)
        assert await damage.read(database) == wanted
        await database.close()


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "error", "said"),
    [
        ("pwrite64", "EIO", "could not be read or written"),
        ("pwrite64", "ENOSPC", "The disk is full"),
        ("pwrite64", "EROFS", "could not be"),
        ("fsync,fdatasync", "EIO", "could not be read or written"),
        ("pwrite64,fsync,fdatasync,ftruncate", "EIO", "could not be read or written"),
        ("flock", "ENOLCK", "cannot be locked"),
    ],
)
def test_writing_that_fails_is_said_and_works_again_when_the_fault_is_gone(
    patient: Patient, calls: str, error: str, said: str
) -> None:
    assert patient.ask("write 5") == "done"
    with injected(patient.pid, calls, error):
        for _ in range(2):
            answer = patient.ask("write 3")
            assert answer.startswith("StorageError: ")
            assert said in answer
        assert patient.ask("read") == "5 5"
    assert patient.ask("write 4") == "done"
    # What failed is not there, or at least not by halves; what was acknowledged is.
    assert patient.ask("read").split() in (["9", "15"], ["15", "15"])
    assert patient.ask("close") == "done"
    assert patient.ask("read").split() in (["9", "15"], ["15", "15"])


@needs_strace
@pytest.mark.slow
def test_a_file_that_cannot_be_read_for_a_while_is_not_taken_for_a_damaged_one(
    patient: Patient, tmp_path: Path
) -> None:
    assert patient.ask("write 500") == "done"
    assert patient.ask("close") == "done"
    with injected(patient.pid, "pread64", "EIO"):
        assert patient.ask("read").startswith("StorageError: ")
        assert patient.ask("write 1").startswith("StorageError: ")
    assert patient.ask("read") == "500 500"
    assert patient.ask("write 1") == "done"
    assert not list((tmp_path / "data").glob("*damaged*"))


@pytest.mark.slow
def test_without_a_file_left_to_open_it_says_so_and_goes_on_later(patient: Patient) -> None:
    assert patient.ask("files 1") == "done"
    for command in ("read", "write 1"):
        answer = patient.ask(command)
        assert answer.startswith("StorageError: ")
        assert "oo many" in answer
    assert patient.ask("files 0") == "done"
    assert patient.ask("write 3") == "done"
    # What is open already needs no more files.
    assert patient.ask("files 1") == "done"
    assert patient.ask("write 3") == "done"
    assert patient.ask("read").split()[0] in ("6", "7")
    assert patient.ask("files 0") == "done"
    assert patient.ask("close") == "done"
    assert patient.ask("read").split()[0] in ("6", "7")
