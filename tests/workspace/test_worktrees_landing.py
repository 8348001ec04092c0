"""Merging a session's branch: only cleanly, only forward, and never over what the user is working on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.workspace.landing import Landed, merge
from hermes_acp.workspace.merging import Conflict, Hunk
from hermes_acp.workspace.worktrees.worktrees import Worktree, WorktreeError, create
from tests.workspace.repos import Repo, files_of, git, make


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a.txt": "1\n2\n3\n4\n5\n", "b.txt": "b\n", ".gitignore": ".env\n"})


async def start(repo: Repo, **options: bool) -> tuple[Worktree, Path]:
    worktree = (await create(repo.place, "Task", "test", **options)).worktree
    path = Path(worktree.path)
    git(path, "config", "--get", "user.name")
    return worktree, path


async def test_uncommitted_work_is_committed_as_the_user_and_the_branch_moves_forward(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("agent\n")
    (path / "new.txt").write_text("new\n")
    repo.write("mine.txt", "untracked\n")
    repo.write("b.txt", "dirty\n")
    head = repo.git("rev-parse", "HEAD")
    landed = await merge(repo.place, worktree, str(repo.top), "Rewrite a\n\nBecause.")
    assert (landed.branch, landed.conflicts) == ("main", ())
    assert [(change.path, change.kind) for change in landed.files] == [
        ("a.txt", "modified"),
        ("new.txt", "added"),
    ]
    assert repo.git("log", "-1", "--format=%H %P %an <%ae> %B") == (
        f"{landed.commit} {head} Tess <tess@example.org> Rewrite a\n\nBecause.\n".rstrip("\n")
    )
    assert repo.git("status", "--porcelain").splitlines() == [" M b.txt", "?? mine.txt"]
    assert files_of(repo.top)["a.txt"] == "agent\n"
    assert git(path, "status", "--porcelain") == ""
    assert git(path, "rev-parse", "HEAD") == landed.commit
    repo.sound()
    again = await merge(repo.place, worktree, str(repo.top), "Nothing")
    assert again == Landed("main", landed.commit)


async def test_branches_that_went_apart_get_a_merge_commit(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("one\n2\n3\n4\n5\n")
    repo.write("a.txt", "1\n2\n3\n4\nfive\n")
    mine = repo.commit("Mine")
    landed = await merge(repo.place, worktree, str(repo.top), "Task")
    tip = git(path, "rev-parse", "HEAD")
    assert repo.git("log", "-1", "--format=%P %s") == f"{mine} {tip} Task"
    assert files_of(repo.top)["a.txt"] == "one\n2\n3\n4\nfive\n"
    assert landed.commit == repo.git("rev-parse", "main")
    assert repo.git("status", "--porcelain") == ""


async def test_conflicting_commits_are_reported_and_nothing_moves(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("1\n2\ntheirs\n4\n5\n")
    repo.write("a.txt", "1\n2\nours\n4\n5\n")
    head = repo.commit("Mine")
    before, files = repo.precious(), files_of(repo.top)
    assert await merge(repo.place, worktree, str(repo.top), "Task") == Landed(
        "main",
        head,
        (),
        (Conflict("a.txt", "both changed the same lines", (Hunk(3, "3\n", "ours\n", "theirs\n"),)),),
    )
    assert (repo.precious(), files_of(repo.top)) == (before, files)


@pytest.mark.parametrize("case", ["changed", "staged", "untracked", "ignored", "folder"])
async def test_what_the_user_is_working_on_is_never_merged_over(repo: Repo, case: str) -> None:
    worktree, path = await start(repo)
    name = {"changed": "a.txt", "staged": "a.txt", "ignored": ".env"}.get(case, "fresh")
    (path / name).write_text("agent\n")
    git(path, "add", "-f", name)
    git(path, "commit", "-qm", "Agent")
    repo.write("fresh/mine" if case == "folder" else name, "mine\n")
    if case == "staged":
        repo.git("add", name)
        repo.write(name, "1\n2\n3\n4\n5\n")
    before, files = repo.precious(), files_of(repo.top)
    landed = await merge(repo.place, worktree, str(repo.top), "Task")
    assert landed.conflicts == (Conflict(name, "you have uncommitted changes in this file"),)
    assert (repo.precious(), files_of(repo.top)) == (before, files)


async def test_carried_changes_stay_the_users_own(repo: Repo) -> None:
    repo.write("b.txt", "mine, uncommitted\n")
    worktree, path = await start(repo, with_changes=True)
    (path / "a.txt").write_text("agent\n")
    head = repo.git("rev-parse", "HEAD")
    landed = await merge(repo.place, worktree, str(repo.top), "Task")
    assert [change.path for change in landed.files] == ["a.txt"]
    assert repo.git("log", "-1", "--format=%P %s") == f"{head} Task"
    assert repo.git("status", "--porcelain") == " M b.txt"
    assert files_of(repo.top)["b.txt"] == "mine, uncommitted\n"


async def test_work_on_carried_changes_conflicts_with_the_branch_without_them(repo: Repo) -> None:
    repo.write("b.txt", "mine, uncommitted\n")
    worktree, path = await start(repo, with_changes=True)
    (path / "b.txt").write_text("agent on mine\n")
    landed = await merge(repo.place, worktree, str(repo.top), "Task")
    assert [conflict.path for conflict in landed.conflicts] == ["b.txt"]
    assert files_of(repo.top)["b.txt"] == "mine, uncommitted\n"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("detached", "HEAD is detached.*apply the work instead"),
        ("merge", "A merge is in progress.*finish or abort it"),
        ("lock", r"remove .*index\.lock"),
        ("twice", "checked out in several worktrees"),
        ("other", "has another branch checked out than hermes/task"),
        ("nobody", "Tell git your name and address"),
    ],
)
async def test_states_that_cannot_take_a_merge_are_refused_in_words(
    repo: Repo, case: str, words: str
) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("agent\n")
    match case:
        case "detached":
            repo.git("checkout", "-q", "--detach")
        case "merge":
            repo.git("merge", "-q", "--no-ff", "--no-commit", "HEAD")
            (repo.top / ".git" / "MERGE_HEAD").write_text(repo.git("rev-parse", "HEAD") + "\n")
        case "lock":
            (repo.top / ".git" / "index.lock").touch()
        case "twice":
            repo.git("worktree", "add", "-q", "--force", "../twice", "main")
        case "other":
            git(path, "checkout", "-q", "-b", "elsewhere")
        case _:
            repo.git("config", "--remove-section", "user")
            repo.git("config", "user.useConfigOnly", "true")
    before, files = repo.precious(), files_of(repo.top)
    with pytest.raises(WorktreeError, match=words):
        await merge(repo.place, worktree, str(repo.top), "Task")
    assert (repo.precious(), files_of(repo.top)) == (before, files)
    assert (path / "a.txt").read_text() == "agent\n"


async def test_no_hook_and_no_setting_of_the_user_changes_what_a_merge_does(
    repo: Repo, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    for name in ("pre-commit", "commit-msg", "post-merge", "pre-merge-commit", "reference-transaction"):
        hook = repo.top / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {canary}\nexit 1\n")
        hook.chmod(0o755)
    repo.git("config", "branch.main.mergeOptions", "--squash --no-commit")
    repo.git("config", "merge.autoStash", "true")
    repo.git("config", "commit.gpgSign", "true")
    worktree, path = await start(repo)
    (path / "a.txt").write_text("agent\n")
    repo.write("b.txt", "dirty\n")
    landed = await merge(repo.place, worktree, str(repo.top), "Task")
    assert landed.commit == repo.git("rev-parse", "main")
    assert not canary.exists()
    assert repo.git("status", "--porcelain") == " M b.txt"
