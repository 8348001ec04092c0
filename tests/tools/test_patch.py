"""Patches in both forms: what they change, what they refuse, and that they do all or nothing."""

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest
from context import Buffers, Context, call, diffs, error, make_context, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_acp.content import Diff, Location
from hermes_acp.policy.effects import Refused
from hermes_acp.tools.base import Description, ToolError, ToolResult
from hermes_acp.tools.hunks import apply_hunks, contents
from hermes_acp.tools.patch import apply_patch
from hermes_acp.tools.patch_format import parse


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "project").mkdir()
    return make_context(tmp_path / "project")


@pytest.fixture
def folder(context: Context) -> Path:
    return Path(context.cwd)


def fill(folder: Path, **files: str | bytes) -> None:
    """Write files; two underscores in a name are a slash."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def patched(before: str, patch: str) -> str:
    """A text after the patch of its only file."""
    (change,) = parse(patch)
    return apply_hunks("a", before, change.hunks)[0]


def complaint(before: str, patch: str) -> str:
    with pytest.raises(ToolError) as caught:
        patched(before, patch)
    return str(caught.value)


UNIFIED = """\
diff --git a/a b/a
index 1..2 100644
--- a/a
+++ b/a
@@ -1,2 +1,2 @@
-one
+ONE
 two
diff --git a/new.sh b/new.sh
new file mode 100755
--- /dev/null
+++ b/new.sh
@@ -0,0 +1,2 @@
+#!/bin/sh
+true
diff --git a/dir/old b/dir/moved
similarity index 50%
rename from dir/old
rename to dir/moved
--- a/dir/old
+++ b/dir/moved
@@ -1 +1 @@
-x
+y
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-bye
"""

ENVELOPE = """\
*** Begin Patch
*** Update File: a
@@
-one
+ONE
 two
*** Add File: new.sh
+#!/bin/sh
+true
*** Update File: dir/old
*** Move to: dir/moved
@@
-x
+y
*** Delete File: gone
*** End Patch"""


# --- several files -------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", [UNIFIED, ENVELOPE], ids=["unified", "envelope"])
async def test_a_patch_changes_creates_renames_and_deletes_after_one_question(
    patch: str, context: Context, folder: Path
) -> None:
    fill(folder, a="one\ntwo\n", dir__old="x\n", gone="bye\n")
    (folder / "dir" / "old").chmod(0o755)
    names = ("a", "new.sh", "dir/moved", "dir/old", "gone")
    shown = (
        Diff(f"{folder}/a", "ONE\ntwo\n", "one\ntwo\n"),
        Diff(f"{folder}/new.sh", "#!/bin/sh\ntrue\n", None),
        Diff(f"{folder}/dir/moved", "y\n", None),
        Diff(f"{folder}/dir/old", "", "x\n"),
        Diff(f"{folder}/gone", "", "bye\n"),
    )
    assert await call(apply_patch, context, patch=patch) == ToolResult(
        "Done: change a, create new.sh, create dir/moved, delete dir/old, delete gone.",
        shown=shown,
        locations=tuple(Location(f"{folder}/{name}", 1) for name in names[:3]),
    )
    assert context.asked_for == [("write", tuple(f"{folder}/{name}" for name in names))]
    assert context.asked == [shown]
    assert tree(folder) == {"a": b"ONE\ntwo\n", "dir/moved": b"y\n", "new.sh": b"#!/bin/sh\ntrue\n"}
    assert stat.S_IMODE((folder / "dir" / "moved").stat().st_mode) == 0o755


async def test_a_refused_patch_changes_nothing(context: Context, folder: Path) -> None:
    fill(folder, a="one\ntwo\n", dir__old="x\n", gone="bye\n")
    before = tree(folder)
    context.refused = ("write",)
    with pytest.raises(Refused):
        await call(apply_patch, context, patch=UNIFIED)
    assert tree(folder) == before


async def test_one_file_that_does_not_fit_stops_all_before_anybody_is_asked(
    context: Context, folder: Path
) -> None:
    fill(folder, a="one\ntwo\n", dir__old="z\n", gone="bye\n")
    before = tree(folder)
    assert await error(apply_patch, context, patch=UNIFIED) == (
        "dir/old, change 1: its lines were not found, nothing was written. "
        "Nothing in the file comes close: read it again."
    )
    assert (tree(folder), context.effects) == (before, [])


async def test_a_failure_midway_puts_everything_back(context: Context, folder: Path) -> None:
    fill(folder, a="one\ntwo\n", dir__old="x\n", gone="bye\n")
    before = tree(folder)
    (folder / "a").chmod(0o755)
    # The last step fails, because the file changed while the user was thinking.
    context.meanwhile = lambda: (folder / "gone").write_text("changed\n")
    assert await error(apply_patch, context, patch=UNIFIED) == (
        f"{folder}/gone changed since it was read: nothing was written. Read it again and repeat the "
        "change. The 4 files written before it were put back."
    )
    assert tree(folder) == before | {"gone": b"changed\n"}
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o755


async def test_an_editor_that_fails_midway_gets_its_texts_back(folder: Path) -> None:
    fill(folder, a="one\ntwo\n", dir__old="x\n", gone="bye\n")
    before = tree(folder)
    editor = Buffers({f"{folder}/a": "one\ntwo\nunsaved\n"}, format=lambda text: text.replace("ONE", "One"))
    context = make_context(folder, editor)
    context.meanwhile = lambda: (folder / "gone").write_text("changed\n")
    assert "The 4 files written before it were put back." in await error(apply_patch, context, patch=UNIFIED)
    assert editor.texts[f"{folder}/a"] == "one\ntwo\nunsaved\n"
    assert tree(folder) == before | {"gone": b"changed\n", "a": b"one\ntwo\nunsaved\n"}


@pytest.mark.parametrize("ticks", [1, 3, 6, 10, 15])
async def test_a_cancelled_patch_is_whole_or_absent(ticks: int, context: Context, folder: Path) -> None:
    fill(folder, a="one\ntwo\n", dir__old="x\n", gone="bye\n")
    before = tree(folder)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    context.meanwhile = lambda: loop.call_soon_threadsafe(asked.set)
    async with asyncio.TaskGroup() as group:
        patching = group.create_task(call(apply_patch, context, patch=UNIFIED))
        await asked.wait()
        for _ in range(ticks):
            await asyncio.to_thread(os.sched_yield)
        patching.cancel()
        await asyncio.wait((patching,))
    if patching.cancelled():
        assert tree(folder) == before
    else:
        assert sorted(tree(folder)) == ["a", "dir/moved", "new.sh"]


async def test_the_text_of_the_editor_is_what_is_patched(folder: Path) -> None:
    fill(folder, a="saved\n")
    editor = Buffers({f"{folder}/a": "unsaved\n"})
    patch = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-unsaved\n+patched\n"
    result = await call(apply_patch, make_context(folder, editor), patch=patch)
    assert diffs(result) == {"a": ("unsaved\n", "patched\n")}
    assert editor.texts[f"{folder}/a"] == "patched\n"


async def test_windows_files_stay_windows_files(context: Context, folder: Path) -> None:
    fill(folder, a=b"\xef\xbb\xbf1\r\n2\r\n", b=b"1\r\n2\n")
    patch = (
        "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n-1\n+0\n+1\n 2\n"
    )
    await call(apply_patch, context, patch=patch)
    assert tree(folder) == {"a": b"\xef\xbb\xbf1\r\n3\r\n", "b": b"0\r\n1\r\n2\n"}


async def test_a_patch_outside_the_roots_asks_to_read_first(context: Context, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("x\n")
    await call(apply_patch, context, patch="*** Update File: ../b\n-x\n+y\n")
    assert context.asked_for == [("read", (f"{tmp_path}/b",)), ("write", (f"{tmp_path}/b",))]


REFUSED = {
    "add what exists": (
        "*** Add File: a\n+x",
        "a exists already: update or delete it instead. Nothing was written.",
    ),
    "move onto a file": (
        "*** Update File: gone\n*** Move to: a",
        "a exists already: update or delete it instead. Nothing was written.",
    ),
    "change what is not there": (
        "*** Update File: b\n-x\n+y",
        "b does not exist, so the patch cannot update it.",
    ),
    "delete what is not there": (
        "*** Delete File: b",
        "b does not exist, so the patch cannot delete it.",
    ),
    "delete only a part": (
        "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n",
        "a has more lines than the patch removes: nothing was deleted.",
    ),
    "one file twice": (
        "*** Delete File: a\n*** Update File: ./a\n-one\n+two",
        "The patch names a twice: put all changes of a file into one section.",
    ),
    "a link": ("*** Delete File: link", "link is a link: use a command to remove or rename links."),
    "no file": (
        "hello",
        "The patch changes no file. Begin each file with `--- a/path` and `+++ b/path`, or with "
        "`*** Update File: path`, `*** Add File: path` or `*** Delete File: path`.",
    ),
    "a change before a name": (
        "@@ -1 +1 @@\n-a\n+b",
        "Line 1 of the patch, '@@ -1 +1 @@': a change without `--- a/path` and `+++ b/path` before it. "
        "Nothing was written.",
    ),
    "a line without a mark": (
        "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-one\n+two\nthree\n",
        "Line 6 of the patch, 'three': lines of a change begin with a space, `-` or `+`. "
        "Nothing was written.",
    ),
    "binary": (
        "diff --git a/a b/a\nGIT binary patch\nliteral 0\n",
        "Line 2 of the patch, 'GIT binary patch': binary contents, copies and modes cannot be patched: "
        "use a command. Nothing was written.",
    ),
    "a new link": (
        "diff --git a/b b/b\nnew file mode 120000\n--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+a\n",
        "Line 2 of the patch, 'new file mode 120000': only ordinary files can be created. "
        "Nothing was written.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_a_patch_cannot_do_is_said_and_nothing_is_asked(
    case: str, context: Context, folder: Path
) -> None:
    fill(folder, a="one\ntwo\n", gone="bye\n")
    (folder / "link").symlink_to("a")
    before = tree(folder)
    patch, words = REFUSED[case]
    assert (await error(apply_patch, context, patch=patch)).replace(f"{folder}/", "") == words
    assert (tree(folder), context.effects) == (before, [])


def test_a_patch_is_announced_with_its_files() -> None:
    assert apply_patch.accept({"patch": UNIFIED}).describe("/w") == Description(
        "Patch a and 3 more",
        tuple(Location(f"/w/{name}") for name in ("a", "new.sh", "dir/old", "gone")),
    )
    assert apply_patch.accept({"patch": "?"}).describe("/w") == Description("Apply a patch")


# --- one text ------------------------------------------------------------------------------------

HEAD = "--- a/a\n+++ b/a\n"
ABC = "a\nb\nc\nd\ne\n"

FITS = {
    "shifted lines": ("0\n0\n0\n" + ABC, f"{HEAD}@@ -2,2 +2,2 @@\n b\n-c\n+C\n", "0\n0\n0\na\nb\nC\nd\ne\n"),
    "the nearest of several": (
        "x\ny\n" * 5,
        f"{HEAD}@@ -5,2 +5,2 @@\n-x\n+X\n y\n",
        "x\ny\nx\ny\nX\ny\nx\ny\nx\ny\n",
    ),
    "two changes": (ABC, f"{HEAD}@@ -1 +1,2 @@\n a\n+1\n@@ -5 +6 @@\n-e\n+E\n", "a\n1\nb\nc\nd\nE\n"),
    "wrong counts": (ABC, f"{HEAD}@@ -1,9 +1,9 @@\n a\n-b\n+B\n c\n\n", "a\nB\nc\nd\ne\n"),
    "counts too small": (ABC, f"{HEAD}@@ -1 +1 @@\n a\n-b\n+B\n", "a\nB\nc\nd\ne\n"),
    "an insertion": (ABC, f"{HEAD}@@ -2,0 +3 @@\n+2\n", "a\nb\n2\nc\nd\ne\n"),
    "an insertion at the start": (ABC, f"{HEAD}@@ -0,0 +1 @@\n+0\n", "0\n" + ABC),
    "into an empty file": ("", f"{HEAD}@@ -0,0 +1 @@\n+0\n", "0\n"),
    "spaces at line ends": ("a  \nb\n", f"{HEAD}@@ -1,2 +1,2 @@\n a\n-b \n+B\n", "a  \nB\n"),
    "a lost space on an empty line": ("a\n\nb\n", f"{HEAD}@@ -1,3 +1,3 @@\n a\n\n-b\n+B\n", "a\n\nB\n"),
    "an open end stays": (
        "a\nb",
        f"{HEAD}@@ -1,2 +1,2 @@\n-a\n+A\n b\n\\ No newline at end of file\n",
        "A\nb",
    ),
    "an open end is closed": (
        "a\nb",
        f"{HEAD}@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+b\n",
        "a\nb\n",
    ),
    "an end is opened": ("a\nb\n", f"{HEAD}@@ -2 +2 @@\n-b\n+b\n\\ No newline at end of file\n", "a\nb"),
    "all lines removed": ("a\n", f"{HEAD}@@ -1 +0,0 @@\n-a\n", ""),
    "dashes and pluses": (
        "-- x\ny\nz\n",
        f"{HEAD}@@ -1 +1 @@\n--- x\n+++ x\n@@ -3 +3 @@\n-z\n+Z\n",
        "++ x\ny\nZ\n",
    ),
    "a patch with windows line ends": (
        ABC,
        f"{HEAD}@@ -1 +1 @@\n-a\n+A\n".replace("\n", "\r\n"),
        "A\nb\nc\nd\ne\n",
    ),
    "a fence and words around": (
        ABC,
        f"Here:\n```diff\n{HEAD}@@ -1 +1 @@\n-a\n+A\n```\nDone.\n",
        "A\nb\nc\nd\ne\n",
    ),
    "a mail": (
        ABC,
        f"Subject: x\n\n---\n a | 1\n\n{HEAD}@@ -1 +1 @@\n-a\n+A\n-- \n2.39\n",
        "A\nb\nc\nd\ne\n",
    ),
    "no numbers": (ABC, f"{HEAD}@@\n-c\n+C\n", "a\nb\nC\nd\ne\n"),
    "an anchor": (
        "def f\n x\ndef g\n x\n",
        "*** Update File: a\n@@ def g\n- x\n+ y\n",
        "def f\n x\ndef g\n y\n",
    ),
    "two anchors": (
        "class A\n def f\n  x\nclass B\n def f\n  x\n",
        "*** Update File: a\n@@ class B\n@@ def f\n-  x\n+  y\n",
        "class A\n def f\n  x\nclass B\n def f\n  y\n",
    ),
    "an anchor that is repeated": ("f\nx\ng\nx\n", "*** Update File: a\n@@ g\n g\n-x\n+y\n", "f\nx\ng\ny\n"),
    "the end of the file": ("x\nx\n", "*** Update File: a\n@@\n-x\n+y\n*** End of File\n", "x\ny\n"),
    "at the end": ("a\n", "*** Begin Patch\n*** Update File: a\n@@\n+b\n\n*** End Patch\n", "a\nb\n"),
}


@pytest.mark.parametrize("case", FITS)
def test_a_change_finds_its_place(case: str) -> None:
    before, patch, after = FITS[case]
    assert patched(before, patch) == after


MISFITS = {
    "two places": (
        "x\nx\n",
        "*** Update File: a\n@@\n-x\n+y\n",
        "a, change 1: its lines occur 2 times (at lines 1, 2). Nothing was written. Add lines around the "
        "change, or a line like `@@ def name` with a line that comes before it.",
    ),
    "an anchor that is not there": (
        "x\n",
        "*** Update File: a\n@@ def g\n-x\n+y\n",
        "a, change 1: the file has no line `def g` from line 1 on.",
    ),
    "the wrong order": (
        ABC,
        f"{HEAD}@@ -4 +4 @@\n-d\n+D\n@@ -1 +1 @@\n-a\n+A\n",
        "a, change 2: its lines come before the change above it, nothing was written. "
        "Order them as in the file.",
    ),
    "almost": (
        "def f():\n    return 1\n",
        f"{HEAD}@@ -1,2 +1,2 @@\n def f():\n-    return 2\n+    return 3\n",
        "a, change 1: its lines were not found, nothing was written. "
        "Closest are lines 1-2:\ndef f():\n    return 1",
    ),
    "beyond the end": (
        "a\n",
        f"{HEAD}@@ -9,0 +10 @@\n+b\n",
        "a, change 1: the file has no line 9 to insert after.",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_change_without_a_place_says_what_is_wrong(case: str) -> None:
    before, patch, words = MISFITS[case]
    assert complaint(before, patch) == words


def test_names_are_read_as_git_and_diff_write_them() -> None:
    headers = {
        '--- "a/caf\\303\\251 \\"x\\".txt"\n+++ "b/caf\\303\\251 \\"x\\".txt"': 'café "x".txt',
        "--- x.py\t2024-01-01 00:00:00\n+++ x.py\t2024-01-02 00:00:00": "x.py",
        "--- b/x.py\n+++ b/x.py": "b/x.py",
        "--- a/with space\n+++ b/with space": "with space",
        "--- x.py.orig\n+++ x.py": "x.py",
        "--- /abs/x\n+++ /abs/x": "/abs/x",
    }
    changes = [parse(f"{header}\n@@ -1 +1 @@\n-a\n+b\n")[0] for header in headers]
    assert [change.path for change in changes] == list(headers.values())


# --- what git writes -----------------------------------------------------------------------------

LINES = st.lists(st.sampled_from(["", "a", "b", "-- c", "++ c", "@@ d", " e", "--- f", "\\ g"]), max_size=12)


@given(LINES, LINES, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_difference_that_git_writes_is_applied_exactly(
    tmp_path: Path, old: list[str], new: list[str], old_open: bool, new_open: bool
) -> None:
    texts = [
        "\n".join(lines) + ("" if is_open or not lines else "\n")
        for lines, is_open in ((old, old_open), (new, new_open))
    ]
    for name, text in zip(("a", "b"), texts, strict=True):
        (tmp_path / name).write_text(text)
    command = ["git", "diff", "--no-index", "--no-color", "-U1", "a", "b"]
    patch = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True).stdout
    if patch:
        (change,) = parse(patch)
        assert apply_hunks("a", texts[0], change.hunks)[0] == texts[1]


@given(st.text("ab\n-+@ *\\", max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    for patch in (text, f"{HEAD}@@ -1 +1 @@\n{text}", f"*** Begin Patch\n*** Update File: a\n{text}"):
        try:
            for change in parse(patch):
                apply_hunks("a", text, change.hunks)
                contents("a", change.hunks)
        except ToolError:
            continue
