"""`@` references: what is one, what it stands for, and what is told of one that stands for nothing."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repos import ENV, make

from hermes_acp.content import LinkBlock, ResourceBlock, TextBlock
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.workspace import symbols
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.editors import EditorError
from hermes_acp.workspace.references import Completion, Reference, Wrong, completions, find, quoted
from hermes_acp.workspace.references_read import (
    FILES,
    REFERENCE_CHARS,
    TOTAL_CHARS,
    Expansion,
    Reading,
    complete,
    expand,
)

COUNTED = "its lines are counted from 1, and the last one does not come before the first"

# --- finding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("look at @diff.", Reference("diff", 8, 13, "@diff")),
        ("(@staged)", Reference("staged", 1, 8, "@staged")),
        ("@file:src/a.py", Reference("file", 0, 14, "@file:src/a.py", "src/a.py")),
        ("@file:src/a.py:3-9,", Reference("file", 0, 18, "@file:src/a.py:3-9", "src/a.py", (3, 9))),
        ("@file:a:7", Reference("file", 0, 9, "@file:a:7", "a", (7, 7))),
        ('@file:"a b.py":2 x', Reference("file", 0, 16, '@file:"a b.py":2', "a b.py", (2, 2))),
        ('@file:"x:12"', Reference("file", 0, 12, '@file:"x:12"', "x:12")),
        ("@folder:.", Reference("folder", 0, 9, "@folder:.", ".")),
        ("@folder:src/ and", Reference("folder", 0, 12, "@folder:src/", "src/")),
        ("@git:3?", Reference("git", 0, 6, "@git:3", count=3)),
        ("@symbol:Class.method!", Reference("symbol", 0, 20, "@symbol:Class.method", "Class.method")),
    ],
)
def test_a_reference_is_found_with_its_place(text, found):
    assert find(text) == (found,)
    assert text[found.start : found.end] == found.text


@pytest.mark.parametrize(
    "text",
    [
        "me@diff.com", "@diffs", "@diff-tool", "@diff/x", "@diff.py", "@file", "@types/node", "git@git:x",
        "@@diff", "`@diff`", "```\n@diff\n```", "```\n@file:a", "@", "", "@ diff", "@Diff", "@src/a.py",
    ],
)  # fmt: skip
def test_what_only_looks_alike_is_no_reference(text):
    assert find(text) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("@git:0", "@git:0 is not read: write @git:1 to @git:20."),
        ("@git:21", "@git:21 is not read: write @git:1 to @git:20."),
        ("@git:\u0663", "@git:\u0663 is not read: write @git:1 to @git:20."),
        ("@git:99999999999", "@git:99999999999 is not read: write @git:1 to @git:20."),
        ("@file:", "@file: is not read: it names no file."),
        ("@folder:", "@folder: is not read: it names no folder."),
        ("@symbol:1x", "@symbol:1x is not read: it names no symbol."),
        ('@file:"a":x', None),
        ("@file:a:0", f"@file:a:0 is not read: {COUNTED}."),
        ("@file:a:9-3", f"@file:a:9-3 is not read: {COUNTED}."),
        ('@file:"a":3-', '@file:"a":3- is not read: the lines are written as :3 or :3-9.'),
    ],
)  # fmt: skip
def test_a_wrong_reference_says_what_is_wrong(text, problem):
    assert [item.problem for item in find(text) if isinstance(item, Wrong)] == ([problem] if problem else [])


@given(st.text(alphabet=st.sampled_from('@filedgt:symo"`. \n(3-,/'), max_size=60))
def test_every_text_is_read_and_every_place_is_right(text):
    end = 0
    for item in find(text):
        assert end <= item.start < item.end
        assert text[item.start : item.end] == item.text
        end = item.end


@given(st.text(alphabet=st.sampled_from("ab .:/)1"), min_size=1, max_size=20))
def test_what_a_completion_writes_is_read_back(path):
    if path != path.strip():
        return
    (found,) = find(quoted("file", path))
    assert (found.target, found.lines) == (path, None)


# --- completions ---------------------------------------------------------------------------------


def test_completions_offer_forms_paths_and_counts():
    files = ("src/app.py", "src/ui/main view.py", "README.md")
    assert [item.text for item in completions("")] == [
        "@diff", "@staged", "@file:", "@folder:", "@git:", "@symbol:"
    ]  # fmt: skip
    assert completions("di") == (Completion("@diff", "all uncommitted changes"),)
    assert completions("file:ma", files) == (Completion('@file:"src/ui/main view.py"', "file"),)
    assert [item.text for item in completions("folder:", files)] == ["@folder:src", "@folder:src/ui"]
    assert [item.text for item in completions("git:1")] == ["@git:1", "@git:10"]
    assert completions("symbol:ru", names=("run",)) == (Completion("@symbol:run", "symbol"),)
    assert completions("src/a", files) == completions("nothing:x", files) == ()


async def test_completions_look_into_the_project(tmp_path):
    repo = make(tmp_path, {"src/app.py": "def run_all():\n    pass\n", ".gitignore": "out\n"})
    repo.write("out/app.py", "def run_out():\n    pass\n")
    place = (str(repo.top), (str(repo.top),))
    assert await complete("file:app", *place) == (Completion("@file:src/app.py", "file"),)
    assert await complete("symbol:run", *place) == (Completion("@symbol:run_all", "symbol"),)
    assert await complete("symbol:(", *place) == ()


# --- reading -------------------------------------------------------------------------------------


@dataclass
class Editor:
    texts: dict[str, str]
    can_read: bool = True
    can_write: bool = False

    async def read_text(self, path: str) -> str:
        if path not in self.texts:
            raise EditorError("not open")
        return self.texts[path]

    async def write_text(self, path: str, text: str) -> None:
        raise AssertionError("references write nothing")


@dataclass
class Asked:
    """What was asked for; refuses what lies outside the root, or everything."""

    root: str
    refuse_all: bool = False
    effects: list[Effect] = field(default_factory=list)

    async def permit(self, effect: Effect) -> Permit:
        self.effects.append(effect)
        if self.refuse_all or not all(path.startswith(self.root) for path in effect.paths):
            raise Refused("no", unanswered=self.refuse_all)
        return Permit(effect)


def reading_of(folder: Path, asked: Asked | None = None, texts: dict[str, str] | None = None) -> Reading:
    root = str(folder.resolve())
    documents = Documents((root,), lambda: Editor(texts or {}))
    return Reading(root, (root,), documents, ENV, (asked or Asked(root)).permit)


async def read(text: str, reading: Reading) -> Expansion:
    return await expand((TextBlock(text),), reading)


async def text_of(text: str, reading: Reading) -> str:
    found = await read(text, reading)
    assert not found.problems
    return found.blocks[0].text or ""


async def problem_of(text: str, reading: Reading) -> str:
    found = await read(text, reading)
    assert not found.blocks
    return found.problems[0]


async def test_a_file_comes_with_its_name_and_lines(tmp_path):
    (tmp_path / "a b.py").write_text("one\ntwo\nthree\n")
    asked = Asked(str(tmp_path))
    uri = (tmp_path / "a b.py").as_uri()
    assert await read('see @file:"a b.py" and @file:"a b.py":2-9', reading_of(tmp_path, asked)) == Expansion(
        (
            ResourceBlock(uri, "a b.py lines 1-3 of 3\none\ntwo\nthree", mime_type="text/plain"),
            ResourceBlock(f"{uri}#L2-L3", "a b.py lines 2-3 of 3\ntwo\nthree", mime_type="text/plain"),
        )
    )
    path = str(tmp_path / "a b.py")
    assert asked.effects[0] == Effect("read", f"Read {path}", paths=(path,), cwd=str(tmp_path))


async def test_unsaved_text_is_what_is_read(tmp_path):
    (tmp_path / "a.py").write_text("def saved():\n    pass\n")
    reading = reading_of(tmp_path, texts={str(tmp_path / "a.py"): "\n\ndef saved():\n    return 1\n"})
    assert "return 1" in await text_of("@file:a.py", reading)
    assert "a.py lines 3-4\ndef saved():\n    return 1" in await text_of("@symbol:saved", reading)


async def test_only_texts_of_the_prompt_are_looked_at(tmp_path):
    blocks = (ResourceBlock("file:///x", "@git:0 @diff"), LinkBlock("file:///@diff", "@diff"))
    assert await expand(blocks, reading_of(tmp_path)) == Expansion()


async def test_a_reference_is_read_once(tmp_path):
    (tmp_path / "a").write_text("x")
    assert len((await read("@file:a @file:a @git:0 @git:0", reading_of(tmp_path))).blocks) == 1
    assert len((await read("@file:a @git:0 @git:0", reading_of(tmp_path))).problems) == 1


async def test_long_files_are_cut_and_say_how_to_go_on(tmp_path):
    (tmp_path / "long").write_text("line of text\n" * 10_000)
    (tmp_path / "wide").write_text("x" * 100_000)
    text = await text_of("@file:long", reading_of(tmp_path))
    assert len(text) < REFERENCE_CHARS + 200
    assert text.startswith(
        "long lines 1-3076 of 10000 (cut: 6924 more lines, read them with read_file and offset=3077)\n"
    )
    wide = await text_of("@file:wide", reading_of(tmp_path))
    assert wide.startswith("wide lines 1-1 of 1 (1 long lines are cut)\nxxx")
    assert len(wide) < 2_200


async def test_all_references_together_are_bounded(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}").write_text("line of text\n" * 2_000)
    found = await read(" ".join(f"@file:{number}" for number in range(30)), reading_of(tmp_path))
    assert sum(len(block.text or "") for block in found.blocks) < TOTAL_CHARS + 1_000
    assert found.problems[0] == "Only the first 20 of 30 references were read."
    assert found.problems[-1] == "@file:19 was not read: those before it filled the room there is."


async def test_binary_and_huge_files_are_named_and_not_read(tmp_path):
    (tmp_path / "bin").write_bytes(b"\0\1")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2 * 1024**3)
    os.mkfifo(tmp_path / "pipe")
    reading = reading_of(tmp_path)
    assert "binary, 2 bytes" in await text_of("@file:bin", reading)
    assert "is too large" in await text_of("@file:huge", reading)
    assert "named pipe" in await text_of("@file:pipe", reading)


async def test_empty_files_and_missing_ends_are_read(tmp_path):
    (tmp_path / "empty").write_text("")
    (tmp_path / "one").write_text("x")
    assert await text_of("@file:empty", reading_of(tmp_path)) == "empty is empty"
    assert await text_of("@file:one", reading_of(tmp_path)) == "one lines 1-1 of 1\nx"


async def test_what_is_not_there_is_told_to_the_user(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "a").write_text("x\n")
    reading = reading_of(tmp_path)
    assert await problem_of("@file:no.py", reading) == "@file:no.py was not read: there is no file no.py."
    assert await problem_of("@file:src", reading) == "@file:src is a folder: write @folder:src."
    assert await problem_of("@file:a:7", reading) == "@file:a:7 was not read: a has 1 lines."
    assert await problem_of("@folder:a", reading) == "@folder:a was not read: there is no folder a."
    assert "no definition of it was found" in await problem_of("@symbol:nothing", reading)
    assert "not in a git repository" in await problem_of("@diff", reading)


async def test_files_elsewhere_are_asked_for_by_their_real_path(tmp_path):
    inside = tmp_path / "project"
    inside.mkdir()
    (tmp_path / "secret").write_text("s3cret")
    (inside / "link").symlink_to(tmp_path / "secret")
    asked = Asked(str(inside))
    for text in ("@file:../secret", "@file:link", f"@file:{tmp_path}/secret"):
        written = text
        assert (
            await problem_of(text, reading_of(inside, asked))
            == f"{written} was not read: it is not permitted."
        )
    assert {effect.paths for effect in asked.effects} == {(str(tmp_path / "secret"),)}
    nobody = Asked(str(inside), refuse_all=True)
    (inside / "a").write_text("x")
    assert "nobody was there to permit it" in await problem_of("@file:a", reading_of(inside, nobody))


async def test_a_folder_lists_what_git_does_not_ignore(tmp_path):
    repo = make(tmp_path, {"src/a.py": "", "src/in/b.py": "", ".gitignore": "out/\n"})
    repo.write("src/out/c.py", "")
    assert await text_of("@folder:src", reading_of(repo.top)) == (
        "src: 2 files, without what git ignores\na.py\nin/b.py"
    )
    for number in range(FILES + 5):
        repo.write(f"many/{number:03}", "")
    text = await text_of("@folder:many/", reading_of(repo.top))
    assert text.startswith(
        f"many: {FILES} or more files, {FILES} are listed, without what git ignores\n000\n001"
    )


async def test_changes_and_commits_are_read(tmp_path):
    repo = make(tmp_path, {"a.txt": "one\n"})
    reading = reading_of(repo.top)
    for text in ("@diff", "@staged"):
        assert await problem_of(text, reading) == f"{text} stands for nothing: there are no such changes."
    repo.write("a.txt", "two\n")
    repo.write("b.txt", "new\n")
    found = await read("@diff", reading)
    assert (found.blocks[0].uri, found.blocks[0].mime_type) == ("git:diff", "text/x-diff")
    assert "-one\n+two" in (found.blocks[0].text or "")
    assert "? b.txt (untracked)" in (found.blocks[0].text or "")
    repo.git("add", "b.txt")
    assert "+new" in await text_of("@staged", reading)
    repo.commit("Second")
    text = await text_of("@git:5", reading)
    assert text.startswith("The last 2 commits, newest first\n\ncommit ")
    assert text.index("Tess: Second") < text.index("+two") < text.index("Tess: First") < text.index("+one")


async def test_commits_of_an_empty_repository_are_told_to_the_user(tmp_path):
    repo = make(tmp_path, {})
    assert "there are no commits yet" in await problem_of("@git:1", reading_of(repo.top))


async def test_reading_can_be_cancelled_at_a_question(tmp_path):
    (tmp_path / "a").write_text("x")
    asked = asyncio.Event()

    async def wait(_effect: Effect) -> Permit:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    root = str(tmp_path)
    reading = Reading(root, (root,), Documents((root,)), ENV, wait)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(read("@file:a", reading))
        await asked.wait()
        task.cancel()
    assert task.cancelled()


# --- symbols -------------------------------------------------------------------------------------

SOURCES = {
    "a.py": "import wanted\nx = wanted()\n@c\nasync def wanted(\n  a,\n) -> int:\n  b = a\n\n  return b\n",
    "b.go": "func (s *Server) wanted(a int) error {\n\treturn wanted()\n}\n",
    "c.ts": "export default class K {\n  async wanted(a: string): Promise<void> {\n    wanted(a)\n  }\n}\n",
    "d.rs": "pub(crate) fn wanted<T>(a: T) -> T {\n    a\n}\nlet z = wanted(1);\n",
    "e.c": "static int *wanted(int a)\n{\n  return wanted(a);\n}\n",
    "f.js": "export const wanted = (a) => {\n  return a\n}\nif (x) { wanted(1) }\n",
    "g.java": "class A {\n  public static List<String> wanted(int a) {\n    return wanted(a);\n  }\n}\n",
    "h.rb": "class B\n  def self.wanted(a)\n    a\n  end\nend\n",
    "i.h": "#define wanted(x) (x)\n",
    "j.sql": "CREATE TABLE wanted (id int);\n",
    "k.cpp": "void Box::wanted(int a) {\n  wanted(a);\n}\n",
}
BLOCKS = {
    "a.py": (4, 9), "b.go": (1, 3), "c.ts": (2, 4), "d.rs": (1, 3), "e.c": (1, 4), "f.js": (1, 3),
    "g.java": (2, 4), "h.rb": (2, 4), "i.h": (1, 1), "j.sql": (1, 1), "k.cpp": (1, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
async def test_a_definition_is_found_by_its_look(tmp_path, name):
    (tmp_path / name).write_text(SOURCES[name])
    root = str(tmp_path)
    found = await symbols.definitions("wanted", (root,), Documents((root,)))
    assert [(place.first, place.last) for place in found] == [BLOCKS[name]]


async def test_a_qualified_name_prefers_files_that_define_the_rest(tmp_path):
    (tmp_path / "a.py").write_text("def run(): ...\n")
    (tmp_path / "b.py").write_text("class Job:\n    def run(self): ...\n")
    root = str(tmp_path)
    documents = Documents((root,))
    assert [place.path[-4:] for place in await symbols.definitions("Job.run", (root,), documents)] == ["b.py"]
    assert len(await symbols.definitions("Other.run", (root, root), documents)) == 2


async def test_ignored_and_secret_files_are_not_searched(tmp_path):
    repo = make(tmp_path, {".gitignore": "out\n"})
    repo.write("out/a.py", "def wanted(): ...\n")
    repo.write("secrets.toml", "wanted = 'abc'\n")
    assert await symbols.definitions("wanted", (str(repo.top),), Documents((str(repo.top),))) == ()
