"""Which project a folder belongs to, what it tells agents, and the state of its git."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from hermes_acp.workspace import project as module
from hermes_acp.workspace.project import (
    Checkout,
    Project,
    checked_out,
    find_project,
    git_state,
    instruction_files,
)

IDENTITY = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
ID = "0a000000-0000-4000-8000-000000000001"
ENV = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *arguments], check=True, capture_output=True, env=ENV
    )


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "file").write_text("text\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "First words")
    return folder


# --- the project ---------------------------------------------------------------------------------


async def test_the_nearest_repository_above_is_the_project(repo: Path) -> None:
    (repo / "src" / "deep").mkdir(parents=True)
    assert await find_project(str(repo / "src" / "deep")) == Project(
        "", str(repo), str(repo / ".git"), "repo"
    )


async def test_a_folder_without_git_is_its_own_project(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # an empty one is no repository
    (tmp_path / "notes").mkdir()
    here = str(tmp_path / "notes")
    assert await find_project(here) == Project("", here, here, "notes")


async def test_what_stands_in_the_place_is_its_id(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "hermes-editor.project", ID)
    marked = tmp_path / "notes" / ".hermes"
    marked.mkdir(parents=True)
    (marked / "project").write_text(f"{ID}\n")
    assert (await find_project(str(repo))).id == (await find_project(str(marked.parent))).id == ID
    assert (await find_project(str(marked))).id == "", "only the folder itself is the project"


async def test_linked_worktrees_share_the_key_and_the_name(repo: Path) -> None:
    git(repo, "worktree", "add", "-q", "../feature")
    git(repo, "worktree", "add", "-q", ".trees/inner")
    for tree in (str(repo.parent / "feature"), str(repo / ".trees" / "inner")):
        assert await find_project(tree) == Project("", tree, str(repo / ".git"), "repo")


@pytest.mark.parametrize(("bare", "name"), [("hub.git", "hub"), ("hub/.bare", "hub"), ("hub", "hub")])
async def test_worktrees_of_a_bare_repository_have_its_name(
    repo: Path, tmp_path: Path, bare: str, name: str
) -> None:
    git(repo, "clone", "-q", "--bare", ".", str(tmp_path / bare))
    git(tmp_path / bare, "worktree", "add", "-q", str(tmp_path / "task"))
    for folder in (tmp_path / "task", tmp_path / bare):
        assert await find_project(str(folder)) == Project("", str(folder), str(tmp_path / bare), name)
    inner = await find_project(str(tmp_path / bare / "refs"))
    assert inner == await find_project(str(tmp_path / bare))


async def test_a_submodule_is_a_project_of_its_own_with_a_parent(repo: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repo), "lib")
    root, key = str(outer / "lib"), str(outer / ".git" / "modules" / "lib")
    parent = Project("", str(outer), str(outer / ".git"), "outer")
    assert await find_project(root) == Project("", root, key, "lib", parent)
    assert await find_project(key) == Project("", key, key, "lib", parent)


async def test_a_submodule_that_keeps_its_git_folder_has_a_parent_and_a_stranger_has_none(
    repo: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    git(tmp_path, "init", "-q", "outer")
    for name in ("lib", "stranger"):
        git(outer, "clone", "-q", str(repo), name)
    git(outer, "submodule", "add", "-q", str(repo), "lib")
    parents = [(await find_project(str(outer / name))).parent for name in ("lib", "stranger")]
    assert parents == [await find_project(str(outer)), None]


async def test_a_submodule_in_a_linked_worktree_belongs_to_the_same_parent(
    repo: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    git(tmp_path, "init", "-q", "outer")
    git(outer, "submodule", "add", "-q", str(repo), "lib")
    git(outer, "commit", "-q", "-m", "With a library")
    git(outer, "worktree", "add", "-q", "../feature")
    git(tmp_path / "feature", "submodule", "update", "-q", "--init")
    found = await find_project(str(tmp_path / "feature" / "lib"))
    assert found.parent == Project("", str(tmp_path / "feature"), str(outer / ".git"), "outer")


async def test_links_to_a_repository_lead_to_the_same_project(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to("repo")
    assert await find_project(str(tmp_path / "alias")) == await find_project(str(repo))


@pytest.mark.parametrize("content", [b"", b"gitdir:", b"gitdir: /nowhere\n", b"\0\xff" * 5000, b"words"])
async def test_a_broken_git_file_makes_no_repository(content: bytes, tmp_path: Path) -> None:
    here = tmp_path / "broken"
    here.mkdir()
    (here / ".git").write_bytes(content)
    assert await find_project(str(here)) == Project("", str(here), str(here), "broken")


async def test_a_git_file_that_is_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".git")
    async with asyncio.timeout(30):
        assert (await find_project(str(tmp_path))).root == str(tmp_path)


# --- instructions --------------------------------------------------------------------------------


async def read(cwd: Path, root: Path) -> list[tuple[str, str]]:
    found = await instruction_files(str(cwd), str(root))
    return [(str(Path(file.path).relative_to(root)), file.text) for file in found]


async def test_instructions_come_from_the_root_down_and_from_nowhere_else(tmp_path: Path) -> None:
    root, here = tmp_path / "root", tmp_path / "root" / "a" / "b"
    here.mkdir(parents=True)
    (here.parent / "beside").mkdir()
    for folder in (tmp_path, root, here, here.parent / "beside"):
        (folder / "AGENTS.md").write_text(folder.name)
    (root / "CLAUDE.md").write_text("claude")
    (root / ".hermes.md").write_text("hermes")
    assert await read(here, root) == [
        (".hermes.md", "hermes"),
        ("AGENTS.md", "root"),
        ("CLAUDE.md", "claude"),
        ("a/b/AGENTS.md", "b"),
    ]
    assert await read(here, here) == [("AGENTS.md", "b")]


async def test_a_file_under_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("one")
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "AGENTS.md").symlink_to("../AGENTS.md")
    assert await read(tmp_path / "sub", tmp_path) == [("AGENTS.md", "one")]


async def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (root / "AGENTS.md").symlink_to("../secret")
    (root / "CLAUDE.md").write_bytes(b"\0binary")
    os.mkfifo(root / "a" / "AGENTS.md")
    (root / "a" / "CLAUDE.md").symlink_to("nowhere")
    (root / "a" / "b" / "AGENTS.md").mkdir()
    assert await read(root / "a" / "b", root) == [
        ("AGENTS.md", "[not read: this is a link to a file outside the project]"),
        ("CLAUDE.md", "[not read: the file is binary]"),
        (
            "a/AGENTS.md",
            f"[not read: {root}/a/AGENTS.md is a named pipe, which cannot be read or written as a file.]",
        ),
        ("a/CLAUDE.md", "[not read: the link leads nowhere]"),
        ("a/b/AGENTS.md", f"[not read: {root}/a/b/AGENTS.md is a folder: use list_dir.]"),
    ]


async def test_long_instructions_are_cut_and_the_nearest_last(tmp_path: Path) -> None:
    folders = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "AGENTS.md").write_text("x" * 40_000)
    texts = [text for _, text in await read(folders[-1], tmp_path)]
    shown = [text.count("x") for text in texts]
    assert (shown[0], shown[2]) == (0, module.INSTRUCTION_CHARS)
    assert module.INSTRUCTION_CHARS - 100 < shown[1] < module.INSTRUCTION_CHARS
    assert texts[2].endswith("\n[cut: 32,000 of 40,000 characters are shown]")


# --- git -----------------------------------------------------------------------------------------


async def test_the_state_names_branch_changes_and_last_commits(repo: Path, tmp_path: Path) -> None:
    git(repo, "clone", "-q", ".", "../clone")
    clone = tmp_path / "clone"
    for number in range(4):
        git(clone, "commit", "-q", "--allow-empty", "-m", f"Step {number}\n\nBody")
    (clone / "file").write_text("changed\n")
    (clone / "new").touch()
    lines = (await git_state(str(clone), ENV)).splitlines()
    assert lines[:3] == [
        "branch main, upstream origin/main (ahead 4, behind 0)",
        "1 changed, 1 untracked",
        "last commits:",
    ]
    assert [line.split(" ", 3)[-1] for line in lines[3:]] == ["Step 3", "Step 2", "Step 1"]


async def test_the_state_of_unusual_repositories(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk", "fresh")
    assert await git_state(str(tmp_path / "fresh"), ENV) == "branch trunk, no commits yet\nclean"
    git(repo, "checkout", "-q", "--detach")
    assert (await git_state(str(repo), ENV)).startswith("detached at ")
    assert await git_state(str(tmp_path), ENV) == ""
    assert await git_state(str(tmp_path / "gone"), ENV) == ""


async def test_without_git_there_is_no_state(repo: Path) -> None:
    assert await git_state(str(repo), ENV | {"PATH": "/nonexistent"}) == ""


async def test_variables_that_point_elsewhere_are_ignored(repo: Path, tmp_path: Path) -> None:
    env = ENV | {"GIT_DIR": str(tmp_path / "elsewhere"), "GIT_WORK_TREE": "/", "GIT_EXTERNAL_DIFF": "false"}
    assert (await git_state(str(repo), env)).startswith("branch main\nclean\nlast commits:\n")


async def test_nothing_that_a_repository_configures_is_run(repo: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho \"$0 $@\" >> '{canary}'\ncat\n")
    script.chmod(0o755)
    hooks = repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (hooks / hook).write_bytes(script.read_bytes())
        (hooks / hook).chmod(0o755)
    (repo / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* filter=ev.il diff=evil\n")
    for name in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "diff.external", "gpg.program"),
        *("diff.evil.textconv", "diff.evil.command", "filter.evil.clean", "filter.ev.il.clean"),
        *("filter.ev.il.process", "filter.evil.smudge", "core.askPass", "credential.helper", "alias.status"),
    ):
        git(repo, "config", name, str(script))
    for name in (
        "log.showSignature",
        "filter.ev.il.required",
        "submodule.recurse",
        "status.submoduleSummary",
    ):
        git(repo, "config", name, "true")
    # A file whose time changed makes git look at its contents, through filters where it may.
    os.utime(repo / "file", (1, 1))
    assert "branch main" in await git_state(str(repo), ENV)
    assert not canary.exists()
    with contextlib.suppress(subprocess.CalledProcessError):
        git(repo, "status")
    assert canary.exists(), "the trap does not work"


async def test_a_filter_that_cannot_be_turned_off_means_no_state(repo: Path) -> None:
    git(repo, "config", "filter.a=b.clean", "true")
    assert await git_state(str(repo), ENV) == ""


async def test_words_of_the_repository_cannot_break_the_lines(repo: Path) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "\x1b[31mred " + "x" * 300)
    (subject,) = [line for line in (await git_state(str(repo), ENV)).splitlines() if "red" in line]
    assert "\x1b" not in subject
    assert len(subject) == 2 + module.SUBJECT_CHARS


async def test_a_git_that_hangs_is_given_up_with_its_children(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    slow = tmp_path / "bin" / "git"
    # Whoever lives holds the pipe open.
    slow.write_text(f"#!/bin/sh\nsleep 100 > '{pipe}' &\nsleep 100 > '{pipe}'\n")
    slow.chmod(0o755)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(git_state(str(repo), ENV | {"PATH": f"{slow.parent}:{os.defpath}"}))
        with await asyncio.to_thread(pipe.open, "rb") as reading:
            asking.cancel()
            assert await asyncio.wait_for(asyncio.to_thread(reading.read), 30) == b""
    assert asking.cancelled()


async def test_what_is_checked_out_is_read_without_git(repo: Path, tmp_path: Path) -> None:
    top = str(repo.resolve())
    assert await checked_out(str(repo)) == Checkout(top, "main")
    git(repo, "switch", "-q", "-c", "feature/\N{HOT BEVERAGE}")
    (repo / "deep").mkdir()
    assert await checked_out(str(repo / "deep")) == Checkout(top, "feature/\N{HOT BEVERAGE}")
    git(repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    assert await checked_out(str(tmp_path / "linked")) == Checkout(
        str(tmp_path.resolve() / "linked"), "other"
    )
    git(repo, "switch", "-q", "--detach")
    commit = (repo / ".git/refs/heads/main").read_text().strip()
    assert await checked_out(str(repo)) == Checkout(top, commit)


async def test_where_nobody_can_tell_what_is_checked_out_it_is_nothing(repo: Path, tmp_path: Path) -> None:
    assert await checked_out(str(tmp_path)) == await checked_out(str(tmp_path / "gone")) == Checkout()
    for head in (b"ref: refs/heads/.invalid\n", b"ref: refs/bisect/x\n", b"\xff\xfe", b"", b"x" * 9_000):
        (repo / ".git/HEAD").write_bytes(head)
        assert (await checked_out(str(repo))).head == ""
