"""The search tools as the model uses them: names and lines, bounded, with places to jump to."""

import os
from pathlib import Path

import pytest
from context import Context, call, error, make_context

from hermes_acp.content import Location
from hermes_acp.policy.effects import Refused
from hermes_acp.tools import files, patch
from hermes_acp.tools import search as module
from hermes_acp.tools.base import Description, ToolResult
from hermes_acp.tools.search import glob, search
from hermes_acp.tools.typed import TypedTool


@pytest.fixture
def context(tmp_path: Path) -> Context:
    root = tmp_path / "project"
    contents = {
        "a.py": "import os\n\nfoo = 1\nbar\nbar\nbar\nfoo = 2\n",
        "src/b.py": "foo()\n",
        "src/c.js": "Foo()\n",
        "note": "a(b\n",
    }
    for age, (name, content) in enumerate(contents.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        os.utime(root / name, (age, age))
    return make_context(root)


def put(context: Context, name: str, text: str) -> None:
    Path(context.cwd, name).write_text(text)


def at(context: Context, *places: tuple[str, int | None]) -> tuple[Location, ...]:
    return tuple(Location(f"{context.cwd}/{name}", line) for name, line in places)


# --- glob ----------------------------------------------------------------------------------------


async def test_files_are_found_newest_first(context: Context) -> None:
    assert await call(glob, context, pattern="*.{py,js}") == ToolResult(
        "src/c.js\nsrc/b.py\na.py",
        locations=at(context, ("src/c.js", None), ("src/b.py", None), ("a.py", None)),
    )
    assert (await call(glob, context, pattern="*.py", path="src")).text == "src/b.py"
    assert (await call(glob, context, pattern="*.rs")).text == f"No files match *.rs in {context.cwd}."
    assert context.effects == []


async def test_absolute_globs_are_split_into_folder_and_pattern(context: Context, tmp_path: Path) -> None:
    found = [
        (await call(glob, context, pattern=f"{context.cwd}/{tail}")).text
        for tail in ("src/*.py", "**/b.py", "a.py")
    ]
    assert (found, context.effects) == (["src/b.py", "src/b.py", "a.py"], [])
    (tmp_path / "other.py").touch()
    await call(glob, context, pattern=f"{tmp_path}/*.py")
    assert context.asked_for == [("read", (str(tmp_path),))]


async def test_long_lists_of_files_are_cut(context: Context) -> None:
    for number in range(module.FILES_SHOWN + 1):
        put(context, f"{number}.txt", "")
    lines = (await call(glob, context, pattern="*.txt")).text.split("\n")
    assert len(lines) == module.FILES_SHOWN + 1
    assert lines[-1] == "[200 of 201 files: narrow the pattern]"


async def test_globs_that_cannot_work_are_errors(context: Context) -> None:
    assert await error(glob, context, pattern="*", path="a.py") == "a.py is not a folder."
    assert await error(glob, context, pattern="*", path="none") == "none is not a folder."
    assert "bad character range" in await error(glob, context, pattern="[z-a]")


# --- search --------------------------------------------------------------------------------------


async def test_lines_are_grouped_below_their_file(context: Context) -> None:
    assert await call(search, context, pattern=r"foo\b", context=1) == ToolResult(
        "a.py\n2-\n3:foo = 1\n4-bar\n--\n6-bar\n7:foo = 2\nsrc/b.py\n1:foo()",
        locations=at(context, ("a.py", 3), ("a.py", 7), ("src/b.py", 1)),
    )
    assert (await call(search, context, pattern="foo")).text == (
        "a.py\n3:foo = 1\n7:foo = 2\nsrc/b.py\n1:foo()"
    )
    assert context.effects == []


async def test_a_search_can_be_narrowed(context: Context) -> None:
    texts = [
        (await call(search, context, pattern="FOO", ignore_case=True, **more)).text
        for more in ({"glob": "src/*.js"}, {"path": "src"}, {"path": "a.py", "glob": "*.js"}, {"limit": 1})
    ]
    assert texts == [
        "src/c.js\n1:Foo()",
        "src/b.py\n1:foo()\nsrc/c.js\n1:Foo()",
        "a.py\n3:foo = 1\n7:foo = 2",
        "a.py\n3:foo = 1\n[the first 1 matches; there are more: narrow the search]",
    ]
    assert (await call(search, context, pattern="nowhere")).text == "No matches."


async def test_results_are_bounded_in_characters_and_places(context: Context) -> None:
    put(context, "many", ("x" * 300 + "\n") * 500)
    result = await call(search, context, pattern="x", path="many", limit=5000)
    assert len(result.text) < module.OUTPUT_CHARS + 100
    assert result.text.endswith("[the first 98 matches; there are more: narrow the search]")
    assert len(result.locations) == module.LOCATIONS


async def test_a_wrong_search_says_what_is_wrong(context: Context) -> None:
    assert [
        await error(search, context, pattern=pattern, **more)
        for pattern, more in (("a(b", {}), ("a\nb", {}), ("x" * 3000, {}), ("a", {"path": "none"}))
    ] == [
        "The pattern cannot be used: missing ), unterminated subpattern at position 1. "
        "Put `\\` before characters that stand for themselves.",
        "The pattern contains a line end or NUL: lines are searched one by one.",
        "The pattern is longer than 2000 characters.",
        "none does not exist.",
    ]


async def test_a_search_outside_the_roots_asks(context: Context, tmp_path: Path) -> None:
    context.refused = ("read",)
    for tool in (glob, search):
        with pytest.raises(Refused):
            await call(tool, context, pattern="x", path="..")
    assert context.asked_for == [("read", (str(tmp_path),))] * 2


# --- what the model and the windows are told -----------------------------------------------------


def test_searches_are_announced_with_their_folder() -> None:
    assert [
        glob.accept({"pattern": "*.py", "path": "src"}).describe("/w"),
        search.accept({"pattern": "a\nb"}).describe("/w"),
    ] == [
        Description("Find *.py", (Location("/w/src"),)),
        Description("Search a\ufffdb", (Location("/w"),)),
    ]


@pytest.mark.parametrize("tool", [*files.TOOLS, *patch.TOOLS, *module.TOOLS], ids=lambda tool: tool.spec.name)
def test_tools_are_described_in_few_bytes(tool: TypedTool) -> None:
    assert len(f"{tool.spec.name}{tool.spec.description}{tool.spec.parameters}") < 600


async def test_secrets_are_searched_only_where_they_were_asked_for(context: Context) -> None:
    put(context, ".env", "foo=secret\n")
    (Path(context.cwd) / ".ssh").mkdir()
    put(context, ".ssh/config", "foo\n")
    found = await call(search, context, pattern="foo=")
    assert found.text == "No matches.\n[not shown, because they may hold secrets: matches in .env]"
    assert context.effects == []
    assert (await call(search, context, pattern="foo", path=".env")).text == ".env\n1:foo=secret"
    assert (await call(search, context, pattern="foo", path=".ssh")).text == ".ssh/config\n1:foo"
    assert context.asked_for == [
        ("read", (f"{context.cwd}/.env",)),
        ("read", (f"{context.cwd}/.ssh",)),
    ]
