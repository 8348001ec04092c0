"""Reading, writing, editing and listing as the model does it, and what the person sees of it."""

import base64
import os
from pathlib import Path

import pytest
from context import Buffers, Context, call, diffs, error, make_context, tree

from hermes_acp.content import Diff, ImageBlock, Location
from hermes_acp.policy.effects import Refused
from hermes_acp.tools import files as module
from hermes_acp.tools.base import Description, ToolResult
from hermes_acp.tools.files import edit_file, list_dir, read_file, write_file

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "project").mkdir()
    return make_context(tmp_path / "project")


@pytest.fixture
def folder(context: Context) -> Path:
    return Path(context.cwd)


# --- read_file -----------------------------------------------------------------------------------


async def test_a_file_is_read_below_a_line_that_says_what_is_shown(context: Context, folder: Path) -> None:
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    assert await call(read_file, context, path="a.txt") == ToolResult(
        "a.txt lines 1-3 of 3\none\ntwo\nthree", locations=(Location(f"{folder}/a.txt", 1),)
    )
    part = await call(read_file, context, path=f"{folder}/a.txt", offset=2, limit=1)
    assert part.text == "a.txt lines 2-2 of 3; go on with offset=3\ntwo"
    assert context.effects == []


async def test_long_files_and_lines_are_cut_and_say_how_to_go_on(context: Context, folder: Path) -> None:
    (folder / "lines").write_text("x\n" * 5000)
    (folder / "wide").write_text("y" * 5000 + "\n")
    (folder / "both").write_text(("z" * 1999 + "\n") * 100)
    long = (await call(read_file, context, path="lines", limit=9999)).text
    assert long.startswith("lines lines 1-2000 of 5000; go on with offset=2001\nx\n")
    assert long.count("\n") == 2000
    wide = (await call(read_file, context, path="wide")).text
    assert wide == f"wide lines 1-1 of 1\n{'y' * 2000}[… 3,000 more characters]"
    both = (await call(read_file, context, path="both")).text
    assert both.startswith("both lines 1-30 of 100; go on with offset=31\n")


async def test_a_read_beside_the_text_says_where_the_text_is(context: Context, folder: Path) -> None:
    (folder / "empty").touch()
    (folder / "one").write_text("1")
    (folder / "folder").mkdir()
    assert (await call(read_file, context, path="empty")).text == "empty is empty"
    assert await error(read_file, context, path="one", offset=2) == (
        "one has 1 lines: offset 2 is behind its end."
    )
    assert await error(read_file, context, path="folder") == f"{folder}/folder is a folder: use list_dir."
    assert "Input should be greater than or equal to 1" in await error(
        read_file, context, path="one", offset=0
    )


async def test_a_missing_file_comes_with_its_neighbours(context: Context, folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "parser.py").touch()
    assert [
        await error(read_file, context, path=path) for path in ("src/parsr.py", "src/zz", "lib/a/b.py")
    ] == [
        "src/parsr.py does not exist. Its folder has parser.py.",
        "src/zz does not exist. Look with list_dir or glob.",
        f"lib/a/b.py does not exist: there is nothing below {folder}.",
    ]


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
async def test_impossible_names_are_errors_that_can_be_shown(path: str, context: Context) -> None:
    announced = read_file.accept({"path": path}).describe(context.cwd)
    announced.title.encode()
    (await error(read_file, context, path=path)).encode()


async def test_images_are_handed_over_as_images(context: Context, folder: Path) -> None:
    (folder / "dot.png").write_bytes(PNG)
    (folder / "big.png").write_bytes(PNG + bytes(module.IMAGE_BYTES))
    (folder / "false.png").write_bytes(b"GIF?\0")
    (folder / "words.jpg").write_text("words\n")
    image = ImageBlock(base64.b64encode(PNG).decode(), "image/png")
    assert await call(read_file, context, path="dot.png") == ToolResult(
        "dot.png: image/png, 70 bytes",
        shown=(image,),
        locations=(Location(f"{folder}/dot.png"),),
        images=(image,),
    )
    assert "is too large" in await error(read_file, context, path="big.png")
    assert "binary, 5 bytes" in await error(read_file, context, path="false.png")
    assert (await call(read_file, context, path="words.jpg")).text.endswith("words")


async def test_a_read_outside_the_roots_asks_with_the_real_path(
    context: Context, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to("../secret")
    assert (await call(read_file, context, path="link")).text.endswith("secret")
    assert (context.asked_for, context.effects[0].summary) == (
        [("read", (f"{tmp_path}/secret",))],
        f"Read {tmp_path}/secret",
    )
    context.refused = ("read",)
    for tool, more in (
        (read_file, {}),
        (edit_file, {"edits": [{"old": "guess", "new": "b"}]}),
        (list_dir, {}),
    ):
        with pytest.raises(Refused):
            await call(tool, context, path="../secret", **more)


async def test_unsaved_text_is_what_is_read(folder: Path) -> None:
    (folder / "a").write_text("saved")
    context = make_context(folder, Buffers({f"{folder}/a": "unsaved"}))
    assert (await call(read_file, context, path="a")).text == "a lines 1-1 of 1\nunsaved"


# --- write_file ----------------------------------------------------------------------------------


async def test_a_write_asks_with_the_exact_change_and_shows_it(context: Context, folder: Path) -> None:
    (folder / "a").write_text("old\n")
    path = f"{folder}/a"
    shown = (Diff(path, "new\n", "old\n"),)
    assert await call(write_file, context, path="./a", content="new\n") == ToolResult(
        "Wrote a (1 lines).", shown=shown, locations=(Location(path, 1),)
    )
    created = await call(write_file, context, path="b/c", content="")
    assert (created.text, created.shown) == ("Created b/c (0 lines).", (Diff(f"{folder}/b/c", "", None),))
    assert context.asked_for == [("write", (path,)), ("write", (f"{folder}/b/c",))]
    assert [effect.summary for effect in context.effects] == ["Change a", "Create b/c"]
    assert context.asked == [shown, created.shown]
    assert tree(folder) == {"a": b"new\n", "b/c": b""}


async def test_a_refused_write_changes_nothing(context: Context, folder: Path) -> None:
    (folder / "a").write_text("old")
    context.refused = ("write",)
    for tool, arguments in (
        (write_file, {"path": "a", "content": "new"}),
        (write_file, {"path": "new/b", "content": "new"}),
        (edit_file, {"path": "a", "edits": [{"old": "old", "new": "new"}]}),
    ):
        with pytest.raises(Refused):
            await call(tool, context, **arguments)
    assert (tree(folder), (folder / "new").exists()) == ({"a": b"old"}, False)


async def test_a_file_that_changes_while_the_user_thinks_is_left_alone(
    context: Context, folder: Path
) -> None:
    (folder / "a").write_text("old")
    context.meanwhile = lambda: (folder / "a").write_text("typed meanwhile")
    assert await error(write_file, context, path="a", content="new") == (
        f"{folder}/a changed since it was read: nothing was written. Read it again and repeat the change."
    )
    assert tree(folder) == {"a": b"typed meanwhile"}


async def test_a_write_that_changes_nothing_does_not_ask(context: Context, folder: Path) -> None:
    (folder / "a").write_bytes(b"same\r\n")
    result = await call(write_file, context, path="a", content="same\r\n")
    assert (result.text, context.effects) == ("a has this content already: nothing was written.", [])


async def test_line_ends_of_a_file_survive_a_write(context: Context, folder: Path) -> None:
    (folder / "a").write_bytes(b"1\r\n2\r\n")
    result = await call(write_file, context, path="a", content="1\n3\r\n")
    assert diffs(result) == {"a": ("1\n2\n", "1\n3\n")}
    assert tree(folder) == {"a": b"1\r\n3\r\n"}


async def test_what_the_editor_made_of_a_text_is_shown(folder: Path) -> None:
    context = make_context(folder, Buffers(format=str.upper))
    result = await call(write_file, context, path="a", content="text\n")
    assert result.text == (
        "Created a (1 lines). The editor changed the text when it saved it: "
        "read it again before the next edit."
    )
    assert diffs(result) == {"a": (None, "TEXT\n")}


async def test_binary_files_folders_and_bad_text_are_not_overwritten(context: Context, folder: Path) -> None:
    (folder / "binary").write_bytes(b"\0")
    assert "binary, 1 bytes" in await error(write_file, context, path="binary", content="x")
    assert "is a folder" in await error(write_file, context, path=".", content="x")
    assert "half a character" in await error(write_file, context, path="new", content="\ud800")
    assert tree(folder) == {"binary": b"\0"}


# --- edit_file -----------------------------------------------------------------------------------


def put(context: Context, data: bytes) -> None:
    Path(context.cwd, "a").write_bytes(data)


async def edit(context: Context, before: str | bytes, *edits: tuple[str, str], **more: object) -> ToolResult:
    """Edit a file with this content; each edit is old and new text."""
    put(context, before if isinstance(before, bytes) else before.encode())
    listed = [{"old": old, "new": new, **more} for old, new in edits]
    return await call(edit_file, context, path="a", edits=listed)


async def edit_error(context: Context, before: str, *edits: tuple[str, str]) -> str:
    put(context, before.encode())
    said = await error(edit_file, context, path="a", edits=[{"old": old, "new": new} for old, new in edits])
    assert (tree(Path(context.cwd)), context.effects) == ({"a": before.encode()}, [])
    return said


async def test_edits_are_made_in_order_and_shown_with_the_real_old_text(
    context: Context, folder: Path
) -> None:
    result = await edit(context, "a\nb\nc\n", ("b", "x"), ("x\nc", "y\nc\nd"))
    path = f"{folder}/a"
    assert result == ToolResult(
        "Edited a at line 2, 2.",
        shown=(Diff(path, "a\ny\nc\nd\n", "a\nb\nc\n"),),
        locations=(Location(path, 2),),
    )
    assert (context.asked, context.asked_for) == ([result.shown], [("write", (path,))])
    assert tree(folder) == {"a": b"a\ny\nc\nd\n"}


async def test_all_occurrences_are_replaced_only_when_asked_for(context: Context, folder: Path) -> None:
    assert await edit_error(context, "x\ny\nx x\n", ("x", "z")) == (
        "a: `old` occurs 3 times (lines 1, 3, 3), nothing was written. "
        "Add lines around it until it is unique, or set `all`."
    )
    assert (await edit(context, "x\ny\nx x\n", ("x", "xx"), all=True)).text == "Edited a at line 1, 3, 3."
    assert tree(folder) == {"a": b"xx\ny\nxx xx\n"}


async def test_one_edit_that_fails_fails_all(context: Context) -> None:
    said = await edit_error(context, "one\ntwo\n", ("one", "1"), ("three", "3"))
    assert said.startswith("edit 2: a: `old` was not found, nothing was written.")


NOT_FOUND = {
    "spaces": (
        "if x:\n\treturn 1\n",
        "if x:\n    return 1",
        "Only spaces or indentation differ. Closest are lines 1-2:\nif x:\n\treturn 1",
    ),
    "a word": (
        "def f():\n    a = 1\n    return a\n",
        "    a = 2\n    return a",
        "Closest are lines 2-3:\n    a = 1\n    return a",
    ),
    "a typo": ("import json\nimport os\n", "import jsno", "Closest are lines 1-1:\nimport json"),
    "nothing": ("abc\n", "12345", "Nothing in the file comes close: read it again."),
    "blank": ("abc\n", "\n\n\n", "Nothing in the file comes close: read it again."),
    "empty file": ("", "abc", "Nothing in the file comes close: read it again."),
}


@pytest.mark.parametrize("case", NOT_FOUND)
async def test_text_that_is_not_there_comes_with_what_is_closest(case: str, context: Context) -> None:
    before, old, words = NOT_FOUND[case]
    said = await edit_error(context, before, (old, "new"))
    assert said == f"a: `old` was not found, nothing was written. {words}"


async def test_useless_edits_are_errors(context: Context) -> None:
    assert await edit_error(context, "x\n", ("x", "x")) == (
        "The edits leave a as it is: nothing was written."
    )
    assert "edits.0.old" in await edit_error(context, "x\n", ("", "y"))
    assert "edits" in await edit_error(context, "x\n")
    assert "b does not exist" in await error(edit_file, context, path="b", edits=[{"old": "x", "new": "y"}])


ENDINGS = {
    "windows": (b"a\r\nb\r\nc", ("a\nb", "a\nx\nb"), b"a\r\nx\r\nb\r\nc"),
    "windows, given so": (b"a\r\nb\r\n", ("a\r\nb", "x\r\ny"), b"x\r\ny\r\n"),
    "unix, given as windows": (b"a\nb\n", ("a\r\nb", "x\r\ny"), b"x\ny\n"),
    "mixed, in a windows line": (b"a\r\nb\r\nc\nd\n", ("a\nb", "a\nx"), b"a\r\nx\r\nc\nd\n"),
    "mixed, in a unix line": (b"a\r\nb\r\nc\nd\n", ("c\nd", "c\nx"), b"a\r\nb\r\nc\nx\n"),
    "mixed, one line": (b"a\r\nb\n", ("a", "x\ny"), b"x\r\ny\r\nb\n"),
}


@pytest.mark.parametrize("case", ENDINGS)
async def test_line_ends_match_and_stay(case: str, context: Context, folder: Path) -> None:
    before, change, after = ENDINGS[case]
    await edit(context, before, change)
    assert tree(folder) == {"a": after}


async def test_replacements_are_taken_letter_by_letter(context: Context, folder: Path) -> None:
    await edit(context, "a.c abc\r\nx\n", ("a.c", r"\1\g<0>$&"))
    assert tree(folder) == {"a": b"\\1\\g<0>$& abc\r\nx\n"}


async def test_an_edit_outside_the_roots_asks_to_read_and_to_write(context: Context, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old")
    await call(edit_file, context, path="../b", edits=[{"old": "old", "new": "new"}])
    assert context.asked_for == [("read", (f"{tmp_path}/b",)), ("write", (f"{tmp_path}/b",))]


# --- list_dir ------------------------------------------------------------------------------------


async def test_a_listing_puts_folders_first_and_sizes_behind(context: Context, folder: Path) -> None:
    (folder / "b" / "c").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "a.txt").write_text("12345")
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff")).mkdir()
    assert (await call(list_dir, context)).text.split("\n") == [
        ".git/",
        "b/",
        "\ufffd/",
        "a.txt 5",
        "link -> nowhere",
        "pipe (no ordinary file)",
    ]
    assert (await call(list_dir, context, path="b/c")).text == "(empty)"


async def test_listings_are_bounded(context: Context, folder: Path) -> None:
    for number in range(module.LIST_ENTRIES + 1):
        (folder / f"{number:04}").touch()
    lines = (await call(list_dir, context)).text.split("\n")
    assert (lines[0], lines[499:]) == (
        "0000 0",
        ["0499 0", "[500 of 501 entries in all: use glob to find a name]"],
    )


async def test_what_is_no_folder_is_not_listed(context: Context, folder: Path) -> None:
    (folder / "file").touch()
    assert await error(list_dir, context, path="file") == "file is a file: use read_file."
    assert await error(list_dir, context, path="fil") == "fil does not exist. Its folder has file."


# --- what the model and the windows are told -----------------------------------------------------


def test_calls_are_announced_with_their_place() -> None:
    calls = [
        read_file.accept({"path": "a/../b", "offset": 7}),
        write_file.accept({"path": "/x", "content": ""}),
        list_dir.accept({}),
    ]
    assert [call.describe("/w") for call in calls] == [
        Description("Read a/../b", (Location("/w/b", 7),)),
        Description("Write /x", (Location("/x"),)),
        Description("List .", (Location("/w"),)),
    ]
