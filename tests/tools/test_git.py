"""The tools for git, on real repositories and with real commits."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from context import Context, make_context
from context import call as call_files
from terminal_context import RecordingContext

from hermes_acp.content import TextBlock
from hermes_acp.policy.effects import Refused
from hermes_acp.policy.gate import judge
from hermes_acp.tools.base import Tool, ToolError, ToolResult
from hermes_acp.tools.git import git_tools
from hermes_acp.tools.toolset import Toolset
from hermes_acp.workspace.execution.local import LocalExecution

ENV = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
GIT, COMMIT = git_tools(ENV)


def run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=ENV).stdout.decode().rstrip("\n")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / "src").mkdir(parents=True)
    (folder / "a.txt").write_text("one\n")
    (folder / "src" / "b.py").write_text("b = 1\n")
    run_git(folder, "init", "-q", "-b", "main")
    run_git(folder, "config", "user.name", "Tess")
    run_git(folder, "config", "user.email", "tess@example.org")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "First")
    return folder


@pytest.fixture
async def context(top: Path):
    execution = LocalExecution(ENV)
    yield RecordingContext(str(top), execution)
    await execution.aclose()


async def call(tool: Tool, context: RecordingContext | Context, **arguments: object) -> ToolResult:
    return await tool.accept(json.loads(json.dumps(arguments))).run(context)


async def error(tool: Tool, context: RecordingContext | Context, **arguments: object) -> str:
    with pytest.raises(ToolError) as raised:
        await call(tool, context, **arguments)
    return str(raised.value)


# --- looking -------------------------------------------------------------------------------------


async def test_status_groups_the_files_and_tells_the_habits(top, context):
    for subject in ("Add x", "Mend y", "Say z"):
        run_git(top, "commit", "-q", "--allow-empty", "-m", subject)
    (top / "a.txt").write_text("two\n")
    run_git(top, "mv", "src/b.py", "src/c.py")
    (top / "new").write_text("")
    assert (await call(GIT, context, what="status")).text == (
        "branch main\n"
        "staged:\n  R src/b.py -> src/c.py\n"
        "not staged:\n  M a.txt\n"
        "untracked:\n  new\n"
        "commit messages here: plain subjects, capitalised, at most 6 characters, mostly no body"
    )
    assert context.effects == []


async def test_an_empty_repository_can_be_looked_at(tmp_path):
    run_git(tmp_path, "init", "-q", "-b", "main")
    context = make_context(tmp_path)
    assert (await call(GIT, context, what="status")).text == "branch main, no commits yet\nclean"
    assert (await call(GIT, context, what="log")).text == "There are no such commits."
    assert (await call(GIT, context, what="show")).text == "There are no commits yet."
    assert "no changes" in (await call(GIT, context, what="diff")).text
    assert "There is no commit 'HEAD' here" in await error(GIT, context, what="diff", rev="HEAD")


async def test_differences_are_given_by_part_and_by_path(top, context):
    (top / "a.txt").write_text("two\n")
    run_git(top, "add", "a.txt")
    (top / "a.txt").write_text("three\n")
    (top / "src" / "b.py").write_text("b = 2\n")
    assert "-one\n+three" in (await call(GIT, context, what="diff", path="a.txt")).text
    assert "b.py" not in (await call(GIT, context, what="diff", path="a.txt")).text
    assert "-one\n+two" in (await call(GIT, context, what="staged")).text
    assert "-two\n+three" in (await call(GIT, context, what="unstaged")).text
    assert "+b = 2" in (await call(GIT, context, what="diff", rev="main", path="src")).text
    run_git(top, "commit", "-qam", "More")
    assert "-one\n+three" in (await call(GIT, context, what="diff", rev="HEAD~1..HEAD")).text


async def test_log_and_show_give_commits_and_files_of_them(top, context):
    short = run_git(top, "log", "-1", "--format=%h %as")
    assert (await call(GIT, context, what="log", path="a.txt")).text == f"{short} Tess: First"
    assert "+b = 1" in (await call(GIT, context, what="show", rev="HEAD", path="src/b.py")).text
    assert (await call(GIT, context, what="show", rev="HEAD:a.txt")).text == "HEAD:a.txt (1 lines)\none\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"what": "show", "rev": "--output=x"}, "There is no commit '--output=x'"),
        ({"what": "diff", "rev": "-p..HEAD"}, "There is no commit '-p'"),
        ({"what": "log", "rev": "a\0b"}, "unprintable"),
        ({"what": "show", "rev": "HEAD:\0"}, "unprintable"),
        ({"what": "diff", "path": "../x"}, "is not in the files of the repository"),
        ({"what": "diff", "path": "/etc"}, "is not in the files of the repository"),
        ({"what": "diff", "path": "a\0"}, "NUL"),
        ({"what": "diff", "path": "\ud800"}, "half a character"),
    ],
)
async def test_what_cannot_be_meant_is_refused_in_words(top, context, arguments, said):
    assert said in await error(GIT, context, **arguments)
    assert not (top / "x").exists()


def test_wrong_arguments_are_named():
    for arguments in ({}, {"what": "push"}, {"what": "log", "limit": 0}, {"what": "log", "x": 1}):
        with pytest.raises(ToolError, match="Wrong arguments for git"):
            GIT.accept(arguments)


async def test_a_link_is_compared_as_a_link(top, context):
    (top / "link").symlink_to("/etc/passwd")
    run_git(top, "add", "link")
    assert "+/etc/passwd" in (await call(GIT, context, what="staged", path="link")).text


async def test_files_that_may_hold_secrets_are_shown_with_permission_only(top):
    (top / ".env").write_text("KEY=abc\n")
    run_git(top, "add", ".env")
    run_git(top, "commit", "-qm", "Oops")
    context = make_context(top)
    assert "abc" not in (await call_files(GIT, context, what="show")).text
    assert "abc" in (await call_files(GIT, context, what="show", path=".env")).text
    assert "abc" in (await call_files(GIT, context, what="show", rev="HEAD:.env")).text
    assert context.asked_for == [("read", (str(top / ".env"),))] * 2
    context.refused = ("read",)
    for arguments in ({"rev": "HEAD:.env"}, {"path": ".env"}):
        with pytest.raises(Refused):
            await call_files(GIT, context, what="show", **arguments)


async def test_a_repository_elsewhere_is_read_with_permission_only(tmp_path, top):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ".git").write_text(f"gitdir: {top / '.git'}\n")
    context = make_context(victim, refused=("read",))
    for tool, arguments in ((GIT, {"what": "log"}), (COMMIT, {"message": "x"})):
        with pytest.raises(Refused):
            await call_files(tool, context, **arguments)
    assert {effect.paths for effect in context.effects} == {(str(top / ".git"),)}


async def test_a_folder_without_git_is_explained(tmp_path):
    context = make_context(tmp_path)
    assert "is not in a git repository" in await error(GIT, context, what="status")
    assert "is not in a git repository" in await error(COMMIT, context, message="x")


# --- committing ----------------------------------------------------------------------------------


async def test_a_commit_is_the_user_s_own_and_is_asked_for_as_it_will_run(top, context):
    (top / "a.txt").write_text("two\n")
    (top / "new file").write_text("n\n")
    (top / "other").write_text("o\n")
    result = await call(
        COMMIT, context, message="Say it's two\n\nWith a body.\n", paths=["a.txt", "new file"]
    )
    command = (
        "git add -- 'new file' && git commit -m 'Say it'\"'\"'s two\n\nWith a body.' -- a.txt 'new file'"
    )
    assert [(effect.kind, effect.command, effect.cwd) for effect in context.effects] == [
        ("execute", command, str(top))
    ]
    (block,) = context.asked[0]
    assert isinstance(block, TextBlock)
    assert command in block.text
    assert "Files:\n.M a.txt\n?? new file" in block.text
    assert not result.failed
    assert "Say it's two" in result.text
    assert run_git(top, "log", "-1", "--format=%an|%s|%b") == "Tess|Say it's two|With a body."
    assert run_git(top, "show", "--name-only", "--format=").splitlines() == ["a.txt", "new file"]
    assert run_git(top, "status", "--porcelain") == "?? other"


async def test_without_paths_what_is_staged_is_committed(top, context):
    assert await error(COMMIT, context, message="x") == "Nothing is staged: name the paths to commit."
    (top / "a.txt").write_text("two\n")
    run_git(top, "add", "a.txt")
    (top / "a.txt").write_text("three\n")
    await call(COMMIT, context, message="Two")
    assert "Staged changes: 1 file, +1 -1\nM a.txt +1 -1" in context.asked[0][0].text
    assert run_git(top, "show", "HEAD:a.txt") == "two"


@pytest.mark.parametrize(
    "name", ["-m", "--amend", ":(top)a", "*.txt", "a'b", "line\nbreak", "[x]", "$(touch x)"]
)
async def test_a_path_of_any_name_stands_for_itself(top, context, name):
    (top / name).write_text("n\n")
    (top / "b.txt").write_text("b\n")
    await call(COMMIT, context, message="Odd", paths=[name])
    assert run_git(top, "show", "--name-only", "-z", "--format=").strip("\0") == name
    assert run_git(top, "status", "--porcelain") == "?? b.txt"


async def test_folders_and_deleted_files_are_committed(top, context):
    (top / "src" / "b.py").unlink()
    (top / "src" / "in").mkdir()
    (top / "src" / "in" / "c.py").write_text("c\n")
    (top / "a.txt").write_text("not this\n")
    await call(COMMIT, context, message="Move", paths=["src"])
    assert run_git(top, "show", "--name-status", "--no-renames", "--format=").splitlines() == [
        "D\tsrc/b.py",
        "A\tsrc/in/c.py",
    ]
    assert await error(COMMIT, context, message="x", paths=["a.txt", "src"]) == (
        "Nothing is changed in src: there is nothing to commit."
    )


async def test_a_file_of_a_new_folder_is_committed_without_its_neighbours(top, context):
    (top / "new" / "in").mkdir(parents=True)
    (top / "new" / "this").write_text("1\n")
    (top / "new" / "in" / "that").write_text("2\n")
    await call(COMMIT, context, message="One", paths=["new/this"])
    assert run_git(top, "show", "--name-only", "--format=") == "new/this"
    await call(COMMIT, context, message="All", paths=["."])
    assert run_git(top, "status", "--porcelain") == ""


async def test_a_session_in_a_folder_names_paths_from_there(top):
    execution = LocalExecution(ENV)
    context = RecordingContext(str(top / "src"), execution)
    (top / "src" / "b.py").write_text("b = 2\n")
    (top / "a.txt").write_text("two\n")
    await call(COMMIT, context, message="Here", paths=["b.py"])
    assert context.effects[0].command == "git commit -m Here -- b.py"
    assert run_git(top, "status", "--porcelain") == " M a.txt"
    assert "is not in the files" in await error(COMMIT, context, message="x", paths=["../a.txt"])
    await execution.aclose()


async def test_the_user_s_hooks_decide(top, context):
    hook = top / ".git" / "hooks" / "commit-msg"
    hook.write_text("#!/bin/sh\necho too short\nexit 1\n")
    hook.chmod(0o755)
    (top / "a.txt").write_text("two\n")
    result = await call(COMMIT, context, message="x", paths=["a.txt"])
    assert result.failed
    assert result.text == "too short\n[not committed: exit code 1; what was staged for it stays staged]"
    assert run_git(top, "log", "--format=%s") == "First"


async def test_no_hook_runs_before_the_user_agreed(top):
    mark = top / "ran"
    hook = top / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    (top / "a.txt").write_text("two\n")
    context = make_context(top, refused=("execute",))
    with pytest.raises(Refused):
        await call_files(COMMIT, context, message="x", paths=["a.txt"])
    assert not mark.exists()
    assert run_git(top, "status", "--porcelain") == " M a.txt"


async def test_the_policy_asks_for_every_commit_and_refuses_it_in_plan_mode(top, context):
    (top / "new").write_text("n\n")
    await call(COMMIT, context, message="x", paths=["new"])
    (effect,) = context.effects
    for mode, decision in (("ask", "ask"), ("accept_edits", "ask"), ("plan", "deny")):
        verdict = await asyncio.to_thread(judge, effect, mode, (), (str(top),))
        assert verdict.decision == decision


async def test_unfinished_states_are_explained_before_anybody_is_asked(top, context):
    (top / ".git" / "index.lock").touch()
    assert "index.lock is held" in await error(COMMIT, context, message="x", paths=["a.txt"])
    assert "index.lock is held" in (await call(GIT, context, what="status")).text
    (top / ".git" / "index.lock").unlink()
    run_git(top, "checkout", "-qb", "other")
    (top / "a.txt").write_text("other\n")
    run_git(top, "commit", "-qam", "Other")
    run_git(top, "checkout", "-q", "main")
    (top / "a.txt").write_text("main\n")
    run_git(top, "commit", "-qam", "Main")
    with pytest.raises(subprocess.CalledProcessError):
        run_git(top, "merge", "-q", "other")
    assert "conflicts:\n  UU a.txt" in (await call(GIT, context, what="status")).text
    assert "A merge is in progress" in await error(COMMIT, context, message="x", paths=["a.txt"])
    assert "There are conflicts: a.txt." in await error(COMMIT, context, message="x")
    run_git(top, "checkout", "-q", "--ours", "a.txt")
    run_git(top, "add", "a.txt")
    assert context.effects == []
    await call(COMMIT, context, message="Merge other")
    assert run_git(top, "log", "-1", "--format=%s %P").count(" ") == 3


async def test_a_missing_identity_is_told_in_git_s_words(top, context):
    for name in ("user.name", "user.email"):
        run_git(top, "config", "--unset", name)
    run_git(top, "config", "user.useConfigOnly", "true")
    (top / "a.txt").write_text("two\n")
    result = await call(COMMIT, context, message="x", paths=["a.txt"])
    assert result.failed
    assert "Please tell me who you are" in result.text


async def test_a_cancelled_commit_leaves_nothing_running(top, context):
    hook = top / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho started\nexec sleep 300\n")
    hook.chmod(0o755)
    (top / "a.txt").write_text("two\n")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call(COMMIT, context, message="x", paths=["a.txt"]))
        while "started" not in "".join(context.outputs):
            context.news.clear()
            await context.news.wait()
        task.cancel()
    assert task.cancelled()
    assert run_git(top, "log", "--format=%s") == "First"


async def test_bad_messages_are_refused(context):
    assert "empty" in await error(COMMIT, context, message="  \n", paths=["a.txt"])
    assert "NUL" in await error(COMMIT, context, message="a\0b", paths=["a.txt"])


# --- the first request ---------------------------------------------------------------------------


async def test_the_two_tools_are_registered_and_small():
    tools = {tool.spec.name: tool for tool in await Toolset(env=ENV).tools()}
    assert (tools["git"].kind, tools["git"].parallel) == ("read", True)
    assert (tools["git_commit"].kind, tools["git_commit"].parallel) == ("execute", False)
    specs = [(tool.spec.name, tool.spec.description, tool.spec.parameters) for tool in (GIT, COMMIT)]
    assert len(json.dumps(specs)) < 1_200
