"""Claims: one process holds a session, and its death gives the session back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.storage.database import StorageError

pytestmark = pytest.mark.programs

OTHER = """
import sys
from pathlib import Path
from hermes_acp.storage.claims import Claims
claims = Claims(Path(sys.argv[1]))
claims.claim("s1")
for line in sys.stdin:
    claims.release("s1")
    print("released", flush=True)
"""


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `s1`; every line it reads makes it release."""
    code = OTHER.replace('claims.claim("s1")', 'claims.claim("s1"); print("held", flush=True)')
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_session_belongs_to_one_process_until_it_gives_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "claims"
    with other_process(folder) as other:
        mine = Claims(folder)
        with pytest.raises(SessionInUse, match=rf"process {other.pid}\). Close it there"):
            mine.claim("s1")
        mine.claim("s2")
        print("release", file=other.stdin, flush=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "released\n"
        mine.claim("s1")


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as other:
        other.kill()
        other.wait()
        Claims(tmp_path).claim("s1")


def test_claiming_twice_is_once_and_releasing_what_is_not_held_is_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.claim("s1")
    claims.claim("s1")
    claims.release("s1")
    claims.release("s1")
    claims.release("never")
    Claims(tmp_path).claim("s1")


def test_claims_are_the_users_own_and_leave_no_descriptor_behind(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    claims = Claims(folder)
    claims.claim("s1")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "s1").stat().st_mode & 0o777 == 0o600
    held = Claims(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(SessionInUse):
            held.claim("s1")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "claims").write_text("a file")
    with pytest.raises(StorageError, match="claims cannot be used"):
        Claims(tmp_path / "claims").claim("s1")
