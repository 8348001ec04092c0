"""Ownership: one server has a data folder, its death gives it back, and the refusal says what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_acp import __version__
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.owner import DataFolderInUse, Holder, Owner
from tests.mounts import mounted

pytestmark = pytest.mark.programs

OTHER = """
import sys
from pathlib import Path
from hermes_acp.storage.owner import Owner
owner = Owner(Path(sys.argv[1]))
owner.claim()
print("owned", flush=True)
for line in sys.stdin:
    owner.release()
    print("released", flush=True)
"""


@contextmanager
def other_server(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the folder; every line it reads makes it release."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    with process:
        yield process
        process.kill()


def test_a_folder_has_one_owner_and_the_next_one_learns_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    with other_server(folder) as other:
        mine = Owner(folder)
        with pytest.raises(DataFolderInUse) as refused:
            mine.claim()
        assert str(refused.value) == (
            f"{folder} is used by another hermes-editor server (process {other.pid}). Start the agent "
            "without --standalone to share it, or stop it with `hermes-editor server stop`."
        )
        assert mine.holder() == Holder(other.pid, __version__, sqlite3.sqlite_version)
        print("release", file=other.stdin, flush=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "released\n"
        mine.claim()
        assert mine.holder() == Holder(os.getpid(), __version__, sqlite3.sqlite_version)
    mine.release()
    assert mine.holder() is None


def test_a_killed_server_owns_nothing(tmp_path: Path) -> None:
    with other_server(tmp_path) as other:
        other.kill()
        other.wait()
        owner = Owner(tmp_path)
        owner.claim()
        owner.release()


def test_claiming_twice_is_once_and_releasing_what_is_not_owned_is_nothing(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.release()
    owner.claim()
    owner.claim()
    owner.release()
    other = Owner(tmp_path)
    other.claim()
    other.release()
    assert (tmp_path / "owner.lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.claim()
    owner.release()
    (tmp_path / "owner.lock").unlink()
    assert owner.holder() is None
    owner.claim()
    assert owner.holder() is not None
    owner.release()


def test_a_link_a_folder_and_a_pipe_are_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "owner.lock"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock.symlink_to(victim)
    with pytest.raises(StorageError, match="is a link"):
        Owner(tmp_path).claim()
    assert victim.read_text() == "precious"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(StorageError, match="not a plain file"):
        Owner(tmp_path).claim()
    lock.unlink()
    lock.mkdir()
    with pytest.raises(StorageError, match=r"owner\.lock cannot be used"):
        Owner(tmp_path).claim()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="data"):
        Owner(tmp_path / "data").claim()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    refused = pytest.raises(StorageError, match=r"cannot be written .*Check the permissions")
    with mounted(tmp_path / "data", "ro") as folder, refused:
        Owner(folder).claim()


def test_nonsense_in_the_lock_file_only_makes_the_owner_unknown(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.claim()
    (tmp_path / "owner.lock").write_bytes(b"\xff\x00 x" * 100)
    assert owner.holder() is None
    with pytest.raises(DataFolderInUse, match="process unknown"):
        Owner(tmp_path).claim()
    owner.release()
