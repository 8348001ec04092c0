"""Three texts merged line by line: cleanly, in conflict, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.workspace.git import Repository
from hermes_acp.workspace.merging import HUNK_CHARS, Hunk, merge_texts
from tests.workspace.repos import ENV

BASE = b"1\n2\n3\n4\n5\n6\n"


async def merged(
    folder: Path, ours: bytes, theirs: bytes, base: bytes = BASE
) -> bytes | tuple[Hunk, ...] | None:
    found = await merge_texts(Repository("/", ENV).ask, folder, ours, base, theirs)
    assert list(folder.iterdir()) == []
    return found


async def test_changes_of_different_lines_are_brought_together(tmp_path: Path) -> None:
    ours, theirs = BASE.replace(b"1\n", b"one\n"), BASE.replace(b"6\n", b"six")
    assert await merged(tmp_path, ours, theirs) == b"one\n2\n3\n4\n5\nsix"


async def test_the_same_change_on_both_sides_is_no_conflict(tmp_path: Path) -> None:
    both = BASE.replace(b"3\n", b"three\n")
    assert await merged(tmp_path, both, both) == both


async def test_changes_of_the_same_lines_are_told_with_the_line_of_ours(tmp_path: Path) -> None:
    ours, theirs = b"0\n" + BASE.replace(b"4\n", b"four\n"), BASE.replace(b"4\n", b"vier\n")
    assert await merged(tmp_path, ours, theirs) == (Hunk(5, "4\n", "four\n", "vier\n"),)


async def test_texts_with_conflict_marks_of_their_own_are_merged(tmp_path: Path) -> None:
    marks = b"<<<<<<< a\n=======\n>>>>>>> b\n"
    assert await merged(tmp_path, BASE + marks, b"0\n" + BASE) == b"0\n" + BASE + marks


async def test_long_sides_of_a_hunk_are_cut(tmp_path: Path) -> None:
    long = b"x" * (HUNK_CHARS + 1)
    (hunk,) = await merged(tmp_path, long, b"y", b"z") or ()
    assert hunk == Hunk(1, "z\n", "x" * (HUNK_CHARS - 1) + "…", "y\n")


@pytest.mark.parametrize("place", range(3))
async def test_what_is_no_text_is_not_merged(tmp_path: Path, place: int) -> None:
    texts = [b"a\n", b"b\n", b"c\n"]
    texts[place] = b"\0"
    assert await merged(tmp_path, texts[0], texts[1], texts[2]) is None
