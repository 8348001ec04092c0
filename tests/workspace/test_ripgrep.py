"""Finding files and lines: ripgrep and our stand-in give the same, and neither is left behind."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from hermes_acp.workspace.ripgrep import (
    LINE_CHARS,
    Ending,
    Line,
    Query,
    SearchError,
    list_files,
    search_lines,
)

RIPGREP = shutil.which("rg")
PROGRAMS = [
    pytest.param(None, id="own"),
    pytest.param(RIPGREP, id="rg", marks=pytest.mark.skipif(RIPGREP is None, reason="ripgrep is not here")),
]
pytestmark = pytest.mark.parametrize("program", PROGRAMS)

PATIENCE = 30.0


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    files = {
        ".gitignore": b"*.log\nbuild/\n!keep.log\n\\\n",
        ".ignore": b"a.py\n",
        "a.py": b"import os\nfoo = 1\n\n\nprint(foo)\n",
        "build/out.py": b"foo\n",
        "debug.log": b"foo\n",
        "keep.log": b"foo\n",
        ".github/work.yml": b"foo\n",
        "src/.gitignore": b"/local\n",
        "src/local": b"foo\n",
        "src/b.js": b"foo\r\nFoo(\r\n",
        "src/c.py": b"none\n",
        "src/deep/local": b"none\n",
        "src/binary": b"foo\0\n",
        "src/latin": b"caf\xe9 foo\n",
        "src/wide": b"\xff\xfef\0o\0o\0\n\0",
        "vendor/.gitignore": b"*.tmp\n",
        "vendor/x.log": b"foo\n",
        "vendor/x.tmp": b"foo\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for folder in (root, root / "vendor"):
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (root / "link").symlink_to("src")
    return root


def searchers(folder: Path) -> list[list[str]]:
    """The programs that are searching a folder."""
    found: list[list[str]] = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile, or about to be reaped
            found.append(process.cmdline())
    return [words for words in found if str(folder) in words]


def wait_for_searcher(folder: Path) -> None:
    deadline = time.monotonic() + 5
    while not searchers(folder):
        assert time.monotonic() < deadline, "no search was started"


async def listed(program: str | None, root: Path, only: str | None = None) -> list[str]:
    found: list[str] = []

    def take(path: str) -> bool:
        found.append(str(Path(path).relative_to(root)))
        return True

    assert await list_files(Query(str(root), only=only), program, take) == "complete"
    return found


async def lines(program: str | None, query: Query) -> list[tuple[str, int, str, bool]]:
    found: list[Line] = []

    def take(line: Line) -> bool:
        found.append(line)
        return True

    assert await search_lines(query, program, take) == "complete"
    return [(Path(line.path).name, line.number, line.text, line.hit) for line in found]


async def test_what_git_ignores_is_left_out(program: str | None, repo: Path) -> None:
    assert await listed(program, repo) == [
        ".github/work.yml",
        ".gitignore",
        ".ignore",
        "a.py",
        "keep.log",
        "src/.gitignore",
        "src/b.js",
        "src/binary",
        "src/c.py",
        "src/deep/local",
        "src/latin",
        "src/wide",
        "vendor/.gitignore",
        "vendor/x.log",
    ]


async def test_globs_pick_files_but_bring_back_nothing(program: str | None, repo: Path) -> None:
    assert {only: await listed(program, repo, only) for only in ("*.py", "src/*.{js,py}", "*.log")} == {
        "*.py": ["a.py", "src/c.py"],
        "src/*.{js,py}": ["src/b.js", "src/c.py"],
        "*.log": ["keep.log", "vendor/x.log"],
    }


async def test_rules_from_above_hold_below_but_not_in_what_was_asked_for(
    program: str | None, repo: Path
) -> None:
    (repo / "src" / "deep" / "x.log").touch()
    assert await listed(program, repo / "src" / "deep") == ["local"]
    assert await listed(program, repo / "build") == ["out.py"]


async def test_without_a_repository_nothing_is_ignored(program: str | None, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / "a").touch()
    assert await listed(program, tmp_path) == [".gitignore", "a"]


async def test_lines_come_in_order_with_their_surroundings(program: str | None, repo: Path) -> None:
    assert await lines(program, Query(str(repo), "foo", only="*.py", context=1)) == [
        ("a.py", 1, "import os", False),
        ("a.py", 2, "foo = 1", True),
        ("a.py", 3, "", False),
        ("a.py", 4, "", False),
        ("a.py", 5, "print(foo)", True),
    ]


async def test_every_encoding_is_searched_but_no_binary_file(program: str | None, repo: Path) -> None:
    assert await lines(program, Query(str(repo / "src"), "FOO$", ignore_case=True)) == [
        ("b.js", 1, "foo", True),
        ("latin", 1, "caf\ufffd foo", True),
        ("wide", 1, "foo", True),
    ]


async def test_a_file_can_be_searched_even_when_it_is_ignored(program: str | None, repo: Path) -> None:
    assert await lines(program, Query(str(repo / "debug.log"), "foo")) == [("debug.log", 1, "foo", True)]


async def test_long_lines_are_cut(program: str | None, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("foo" + "x" * 100_000 + "\nfoo\n")
    first, second = await lines(program, Query(str(tmp_path), "foo"))
    assert (first[2], second[2]) == ("foo" + "x" * (LINE_CHARS - 3) + " […]", "foo")


async def test_patterns_are_never_options(program: str | None, tmp_path: Path) -> None:
    (tmp_path / "-x").write_text("--files\n")
    assert await lines(program, Query(str(tmp_path), "--files")) == [("-x", 1, "--files", True)]


async def test_pythons_syntax_works_everywhere(program: str | None, repo: Path) -> None:
    assert await lines(program, Query(str(repo), r"Foo(?=\()")) == [("b.js", 2, "Foo(", True)]


async def test_a_wrong_pattern_names_the_position(program: str | None, repo: Path) -> None:
    with pytest.raises(SearchError, match=r"^missing \), unterminated subpattern at position 1$"):
        await lines(program, Query(str(repo), "a(b"))


async def test_a_search_stops_when_there_is_enough(program: str | None, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_text("foo\n" * 20_000)
    found: list[Line] = []

    def take(line: Line) -> bool:
        found.append(line)
        return len(found) < 3

    assert await search_lines(Query(str(tmp_path), "foo"), program, take) == "enough"
    assert [line.number for line in found] == [1, 2, 3]
    assert searchers(tmp_path) == []


async def runaway(program: str | None, folder: Path, seconds: float) -> tuple[Ending, list[str]]:
    """Search with a pattern that Python's engine does not finish in a lifetime."""
    (folder / "1").write_text("aaab\n")
    (folder / "2").write_text("a" * 64 + "!\n")
    found: list[str] = []

    def take(line: Line) -> bool:
        found.append(line.text)
        return True

    # Only our own engine knows what looks ahead, so ripgrep falls back to it.
    query = Query(str(folder), r"^(?=a)(a|a|aa)+b", seconds=seconds)
    return await search_lines(query, program, take), found


async def test_what_a_runaway_pattern_found_in_time_is_kept(program: str | None, tmp_path: Path) -> None:
    assert await runaway(program, tmp_path, 0.9) == ("late", ["aaab"])
    assert searchers(tmp_path) == []


async def test_a_cancelled_search_is_killed_and_never_held_the_loop(
    program: str | None, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as group:
        searching = group.create_task(runaway(program, tmp_path, 10 * PATIENCE))
        await asyncio.to_thread(wait_for_searcher, tmp_path)
        searching.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((searching,))
    assert (searching.cancelled(), searchers(tmp_path)) == (True, [])
