"""What was judged is what is opened: swapping files and folders for links in between gains nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hermes_acp.workspace import disk, resolve
from hermes_acp.workspace.locations import DocumentError

SWAPS = 10_000
CANARY = b"canary\n"
OURS = b"ours\n"


def test_a_real_path_is_opened_below_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(OURS)
    with resolve.parent(str(tmp_path / "a" / "file")) as (at, name):
        assert (name, resolve.status(at, name).st_size) == ("file", len(OURS))
    with resolve.parent("/") as (at, name):
        assert name == "."


def test_missing_folders_are_made_and_told(tmp_path: Path) -> None:
    made: list[str] = []
    with resolve.parent(str(tmp_path / "a" / "b" / "file"), made.append) as (_, name):
        assert name == "file"
    assert made == [str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    with resolve.parent(str(tmp_path / "a" / "b" / "other"), made.append):
        assert len(made) == 2


@pytest.mark.parametrize("path", ["a/b", "/a/../b", "/a/./b", ""])
def test_what_cannot_be_a_real_path_is_a_bug(path: str) -> None:
    with pytest.raises(ValueError, match="no real path"), resolve.parent(path):
        pass


def test_a_link_on_the_way_or_at_the_end_is_told_apart_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for path, number in (("link/x", errno.ELOOP), ("file/x", errno.ENOTDIR), ("none/x", errno.ENOENT)):
        with pytest.raises(OSError) as raised, resolve.parent(str(tmp_path / path)):
            pass
        assert raised.value.errno == number
    with pytest.raises(OSError) as raised, resolve.listed(str(tmp_path / "link")):
        pass
    assert raised.value.errno == errno.ELOOP


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    before = descriptors()
    for _ in range(20):
        for path in ("link/etc", "none/x", "a/b/c"):
            with suppress(OSError), resolve.parent(str(tmp_path / path)):
                pass
        disk.read_real(str(tmp_path / "none"), 10)
    assert descriptors() == before


def descriptors() -> int:
    """How many are open, as far as that can be seen."""
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder"])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, 0o600 | (0o010000 if kind == "fifo" else 0o140000))
    for work in (
        lambda: disk.read_real(str(path), 100),
        lambda: disk.replace(str(path), b"x", None, lambda: None),
    ):
        with pytest.raises(DocumentError):
            work()
    assert path.exists()
    assert not path.is_file()


# --- races ---------------------------------------------------------------------------------------


@contextmanager
def swapping(swap: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Swap again and again beside the test, which asks whether that still goes on."""
    over = threading.Event()

    def work() -> None:
        for number in range(SWAPS):
            swap()
            if number % 16 == 0:
                # The other side shall not only meet a busy lock of the interpreter.
                time.sleep(0)
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: not over.is_set()
    finally:
        thread.join()


def exchange(one: Path, other: Path) -> None:
    """Give two names to each other's files at once, so that neither is missing for a moment."""
    at, exchanging = -100, 2
    ctypes.CDLL(None).renameat2(at, os.fsencode(one), at, os.fsencode(other), exchanging)


def a_file(root: Path, outside: Path) -> Path:
    """A file that changes places with a link to one outside."""
    (root / "place").write_bytes(OURS)
    (root / "swapped").symlink_to(outside / "place")
    return root / "place"


def a_folder(root: Path, outside: Path) -> Path:
    """A file in a folder that changes places with a link to one outside."""
    (root / "folder").mkdir()
    (root / "folder" / "place").write_bytes(OURS)
    (root / "swapped").symlink_to(outside)
    return root / "folder" / "place"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names at once")
@pytest.mark.parametrize("kind", [a_file, a_folder])
def test_no_race_reads_or_writes_anything_outside(tmp_path: Path, kind: Callable[[Path, Path], Path]) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside):
        folder.mkdir()
    (outside / "place").write_bytes(CANARY)
    place = kind(root, outside)
    name = place if kind is a_file else place.parent
    deep = str(place.parent / "made" / "deep")
    works = (
        lambda: disk.read_real(str(place), 100),
        lambda: disk.replace(str(place), b"new\n", None, lambda: None),
        lambda: disk.replace(deep, b"new\n", None, lambda: None),
        lambda: disk.remove(deep),
    )
    done: Counter[str] = Counter()
    with swapping(lambda: exchange(name, root / "swapped")) as busy:
        while busy():
            for work in works:
                try:
                    content = work()
                    assert content is None or content.data in (OURS, b"new\n")
                    done["done"] += 1
                except DocumentError:
                    done["refused"] += 1
    assert {entry.name: entry.read_bytes() for entry in outside.iterdir()} == {"place": CANARY}
    assert min(done.values()) > 0, done
