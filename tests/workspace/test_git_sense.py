"""What git says of a repository, in every state, without running anything that it names."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from repos import ENV, Repo, git, make

from hermes_acp.policy.effects import Effect
from hermes_acp.workspace import git_sense, git_sense_changes, git_sense_log
from hermes_acp.workspace.git_sense import FileState, GitTrouble, Status, View
from hermes_acp.workspace.git_sense_changes import FileChange
from hermes_acp.workspace.git_sense_log import Commit, habits


async def view_of(folder: Path, *roots: Path) -> View:
    return await git_sense.open_view(str(folder), tuple(map(str, roots or (folder,))), ENV)


async def uncommitted(folder: Path, *roots: Path, room: int = 30_000) -> git_sense_changes.Report:
    view = await view_of(folder, *roots)
    return await git_sense_changes.report(view, await git_sense_changes.uncommitted(view), room)


async def trouble(work: Callable[[], object]) -> str:
    with pytest.raises(GitTrouble) as raised:
        await work()
    return str(raised.value)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a.txt": "one\ntwo\n", "src/b.py": "b = 1\n"})


# --- status --------------------------------------------------------------------------------------


async def test_status_tells_index_and_files_apart(repo):
    repo.write("a.txt", "one\nTWO\n")
    repo.git("add", "a.txt")
    repo.write("a.txt", "one\n2\n")
    repo.git("mv", "src/b.py", "src/c d.py")
    repo.write("new\nline -x.txt", "n\n")
    assert await git_sense.status(await view_of(repo.top)) == Status(
        "main",
        repo.git("rev-parse", "HEAD"),
        (
            FileState("a.txt", "MM"),
            FileState("src/c d.py", "R.", "src/b.py"),
            FileState("new\nline -x.txt", "??"),
        ),
    )


async def test_an_empty_repository_has_a_branch_and_no_commits(tmp_path):
    repo = make(tmp_path, {})
    repo.write("a.txt", "a\n")
    repo.git("add", "a.txt")
    view = await view_of(repo.top)
    assert await git_sense.status(view) == Status("main", None, (FileState("a.txt", "A."),))
    assert await git_sense_log.commits(view, 5) == ()
    report = await uncommitted(repo.top)
    assert report.text.startswith(
        "Uncommitted changes, compared with nothing (there are no commits yet): 1 file"
    )
    assert "+a" in report.text


async def test_a_detached_head_has_no_branch(repo):
    repo.git("checkout", "-q", "--detach")
    assert (await git_sense.status(await view_of(repo.top))).branch is None


async def test_a_merge_with_conflicts_is_named_and_its_file_is_listed_once(repo):
    repo.git("checkout", "-qb", "other")
    repo.write("a.txt", "other\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("a.txt", "main\n")
    repo.commit()
    repo.git("merge", "-q", "other", status=1)
    view = await view_of(repo.top)
    found = await git_sense.status(view)
    assert (found.operation, found.files) == ("merge", (FileState("a.txt", "UU"),))
    for span in (
        await git_sense_changes.uncommitted(view),
        await git_sense_changes.staged(view),
        git_sense_changes.unstaged(view),
    ):
        report = await git_sense_changes.report(view, span)
        assert [file.path for file in report.files] == ["a.txt"]
    assert await git_sense_log.surroundings(str(repo.top), ENV) == "a merge is in progress"


async def test_a_rebase_that_stopped_is_named(repo):
    repo.git("checkout", "-qb", "other")
    repo.write("a.txt", "other\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("a.txt", "main\n")
    repo.commit()
    repo.git("rebase", "-q", "other", status=1)
    assert (await git_sense.status(await view_of(repo.top))).operation == "rebase"


async def test_the_distance_to_the_upstream_is_counted(tmp_path, repo):
    git(tmp_path, "clone", "-q", str(repo.top), "copy")
    copy = tmp_path / "copy"
    git(copy, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "More")
    found = await git_sense.status(await view_of(copy))
    assert (found.upstream, found.ahead, found.behind) == ("origin/main", 1, 0)
    git(copy, "update-ref", "-d", "refs/remotes/origin/main")
    found = await git_sense.status(await view_of(copy))
    assert (found.upstream, found.ahead, found.behind) == ("origin/main", None, None)


async def test_a_held_index_lock_hinders_no_look_and_is_named(repo):
    (repo.top / ".git" / "index.lock").touch()
    repo.write("a.txt", "x\n")
    assert (await git_sense.status(await view_of(repo.top))).locked
    assert [file.path for file in (await uncommitted(repo.top)).files] == ["a.txt"]


async def test_looking_changes_nothing_in_the_repository(repo):
    repo.write("a.txt", "x\n")
    repo.write("new.txt", "x\n")
    before = repo.precious()
    view = await view_of(repo.top)
    await git_sense.status(view)
    await uncommitted(repo.top)
    await git_sense_log.commits(view, 3)
    assert repo.precious() == before


# --- differences ---------------------------------------------------------------------------------


async def test_a_difference_begins_with_its_files(repo):
    repo.write("a.txt", "one\nTWO\nthree\n")
    repo.write("src/new.py", "n\n")
    (repo.top / "src" / "b.py").unlink()
    report = await uncommitted(repo.top)
    head = repo.git("rev-parse", "HEAD")[:10]
    assert report.files == (
        FileChange("a.txt", "M", added=2, removed=1),
        FileChange("src/b.py", "D", added=0, removed=1),
    )
    assert report.untracked == ("src/new.py",)
    assert report.text.startswith(
        f"Uncommitted changes, compared with HEAD ({head}): 2 files, +2 -2\n"
        "M a.txt +2 -1\nD src/b.py +0 -1\n? src/new.py (untracked)\ndiff --git a/a.txt b/a.txt\n"
    )
    assert "-two\n+TWO\n+three" in report.text


async def test_staged_and_unstaged_changes_are_told_apart(repo):
    repo.write("a.txt", "staged\n")
    repo.git("add", "a.txt")
    repo.write("a.txt", "files\n")
    view = await view_of(repo.top)
    staged = (await git_sense_changes.report(view, await git_sense_changes.staged(view))).text
    unstaged = (await git_sense_changes.report(view, git_sense_changes.unstaged(view))).text
    assert "+staged" in staged
    assert "files" not in staged.partition("\n")[2]
    assert "-staged\n+files" in unstaged


async def test_commits_are_compared_by_two_and_by_three_dots(repo):
    repo.git("checkout", "-qb", "side")
    repo.write("side.txt", "s\n")
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.write("main.txt", "m\n")
    repo.commit()
    view = await view_of(repo.top)

    async def paths(revision: str) -> dict[str, str]:
        report = await git_sense_changes.report(view, await git_sense_changes.since(view, revision))
        return {file.path: file.letter for file in report.files}

    assert await paths("main..side") == {"side.txt": "A", "main.txt": "D"}
    assert await paths("main...side") == {"side.txt": "A"}
    assert await paths("HEAD~1") == {"main.txt": "A"}


async def test_binary_large_and_linked_files_are_named_and_not_read(repo):
    (repo.top / "bin").write_bytes(b"\0\1\2")
    (repo.top / "large.txt").write_text("line\n" * 300_000)
    (repo.top / "link").symlink_to("/etc/passwd")
    repo.git("add", ".")
    report = await uncommitted(repo.top)
    assert report.files == (
        FileChange("bin", "A"),
        FileChange("large.txt", "A"),
        FileChange("link", "A", added=1, removed=0),
    )
    assert "+/etc/passwd" in report.text
    assert "root:" not in report.text
    assert len(report.text) < 1_500


async def test_a_huge_difference_is_cut_and_says_so(repo):
    for number in range(60):
        repo.write(f"many/{number:02}.txt", f"{number} line\n" * 500)
    repo.write("a.txt", "x" * 900_000)
    repo.git("add", ".")
    report = await uncommitted(repo.top, room=20_000)
    assert len(report.files) == 61
    assert len(report.text) < 21_000
    assert "more characters of this file]" in report.text
    assert report.text.endswith("of 61 files are cut or left out: name a path to see more]")


async def test_names_of_every_kind_are_compared(repo):
    odd = ["--output=x", "a b.txt", "new\nline", "\u00e9t\u00e9", ":(top)x", "*.py", "tab\there"]
    for name in odd:
        repo.write(name, "1\n")
    (repo.top / b"caf\xe9".decode("utf-8", "surrogateescape")).write_text("1\n")
    repo.git("add", "--all")
    report = await uncommitted(repo.top)
    assert {file.path for file in report.files} == {*odd, "caf\udce9"}
    assert report.text.count("diff --git") == len(odd) + 1
    assert "b/\u00e9t\u00e9" in report.text
    assert "new\N{REPLACEMENT CHARACTER}line" in report.text
    report.text.encode()
    assert not (repo.top / "x").exists()


async def test_files_that_may_hold_secrets_are_named_but_not_shown(repo):
    repo.write(".env", "TOKEN=abc\n")
    repo.git("add", ".")
    report = await uncommitted(repo.top)
    assert "A .env +1 -0" in report.text
    assert "abc" not in report.text
    assert report.text.endswith("[not shown, because they may hold secrets: 1 of the files]")


async def test_a_session_in_a_folder_sees_only_the_changes_there(repo):
    repo.write("a.txt", "outside\n")
    repo.write("src/b.py", "inside\n")
    report = await uncommitted(repo.top / "src")
    assert [file.path for file in report.files] == ["src/b.py"]
    assert [file.path for file in (await git_sense.status(await view_of(repo.top / "src"))).files] == [
        "src/b.py"
    ]


async def test_a_submodule_is_compared_by_its_commit_and_never_entered(tmp_path, repo):
    inner = make(tmp_path / "inner", {"x.txt": "x\n"})
    git(repo.top, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner.top), "sub")
    repo.commit("Sub")
    sub = repo.top / "sub"
    trap(sub, tmp_path / "ran")
    options = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "filter.evil.process=")
    git(
        sub,
        *options,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "More",
    )
    (tmp_path / "ran").unlink(missing_ok=True)
    report = await uncommitted(repo.top)
    assert report.files == (FileChange("sub", "M", added=1, removed=1, submodule=True),)
    assert [file.path for file in (await git_sense.status(await view_of(repo.top))).files] == ["sub"]
    assert not (tmp_path / "ran").exists()
    assert not (await view_of(sub)).borrowed


# --- history -------------------------------------------------------------------------------------


async def test_commits_are_listed_and_shown(repo):
    repo.write("a.txt", "one\n")
    repo.git("commit", "-qam", "Drop a line\n\nIt was wrong.\n")
    view = await view_of(repo.top)
    newest, first = await git_sense_log.commits(view, 5)
    assert (newest.subject, newest.body, newest.parents) == ("Drop a line", "It was wrong.", (first.id,))
    assert await git_sense_log.commits(view, 5, "HEAD~1..HEAD") == (newest,)
    assert await git_sense_log.commits(view, 5, "HEAD~1..HEAD", (git_sense.pathspec("src/b.py"),)) == ()
    shown = (await git_sense_log.show(view, newest)).text
    assert shown.startswith(f"commit {newest.line}\nIt was wrong.\nChanges: 1 file, +0 -1\nM a.txt +0 -1\n")
    assert "+b = 1" in (await git_sense_log.show(view, first)).text


async def test_files_and_folders_of_a_commit_are_shown(repo):
    (repo.top / "bin").write_bytes(b"\0")
    repo.commit()
    view = await view_of(repo.top)
    assert await git_sense_log.show_object(view, "HEAD:src/b.py") == "HEAD:src/b.py (1 lines)\nb = 1\n"
    assert await git_sense_log.show_object(view, "HEAD:src") == "HEAD:src (folder)\nb.py"
    assert await git_sense_log.show_object(view, "HEAD:bin") == "HEAD:bin: 1 bytes, binary"
    assert "There is no 'HEAD:nothing' here" in await trouble(
        lambda: git_sense_log.show_object(view, "HEAD:nothing")
    )


@pytest.mark.parametrize("name", ["--output=x", "-p", "", "a\nb", "nothing", "a" * 600, "HEAD;id", "\ud800"])
async def test_a_revision_that_is_none_is_refused_in_words(repo, name):
    view = await view_of(repo.top)
    assert await trouble(lambda: git_sense.commit_of(view, name))
    assert not (repo.top / "x").exists()


async def test_history_without_a_common_ancestor_is_explained(repo):
    repo.git("checkout", "-q", "--orphan", "other")
    repo.git("commit", "-qm", "Root")
    view = await view_of(repo.top)
    assert "no common history" in await trouble(lambda: git_sense_changes.since(view, "main...other"))


async def test_a_repository_with_sha_256_works_like_any_other(tmp_path):
    repo = make(tmp_path, {"a.txt": "a\n"}, "--object-format=sha256")
    repo.write("a.txt", "b\n")
    view = await view_of(repo.top)
    assert "-a\n+b" in (await uncommitted(repo.top)).text
    assert "+a" in (await git_sense_log.show(view, (await git_sense_log.commits(view, 1))[0])).text


# --- damage --------------------------------------------------------------------------------------


async def test_a_folder_without_git_is_named(tmp_path):
    assert "is not in a git repository" in await trouble(lambda: view_of(tmp_path))


async def test_a_bare_repository_has_history_but_no_files(tmp_path, repo):
    git(tmp_path, "clone", "-q", "--bare", str(repo.top), "bare.git")
    view = await view_of(tmp_path / "bare.git")
    assert len(await git_sense_log.commits(view, 5)) == 1
    assert "is a bare repository" in await trouble(lambda: git_sense.status(view))
    assert "is a bare repository" in await trouble(lambda: git_sense_changes.uncommitted(view))


async def test_a_truncated_index_is_explained(repo):
    index = repo.top / ".git" / "index"
    index.write_bytes(index.read_bytes()[:20])
    view = await view_of(repo.top)
    assert "The index is damaged" in await trouble(lambda: git_sense.status(view))
    assert len(await git_sense_log.commits(view, 5)) == 1


async def test_missing_objects_are_explained(repo):
    blob = repo.git("rev-parse", "HEAD:a.txt")
    repo.write("a.txt", "other\n")
    (repo.top / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert "Objects of the repository are missing" in await trouble(lambda: uncommitted(repo.top))
    commit = repo.git("rev-parse", "HEAD")
    (repo.top / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    view = await view_of(repo.top)
    assert "Objects of the repository are missing" in await trouble(lambda: git_sense.head(view))


async def test_a_deleted_folder_is_named(tmp_path):
    assert "cannot be read" in await trouble(lambda: view_of(tmp_path / "gone"))


# --- hostility -----------------------------------------------------------------------------------


def trap(top: Path, mark: Path) -> None:
    """Everything that a repository can name as a program writes `mark`."""
    script = mark.with_name("trap.sh")
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    more = mark.with_name("more.config")
    more.write_text(f"[core]\n\tfsmonitor = {script}\n[diff]\n\texternal = {script}\n")
    settings = {
        "core.fsmonitor": script, "core.pager": script, "pager.diff": script, "pager.log": script,
        "diff.external": script, "diff.evil.command": script, "diff.evil.textconv": script,
        "filter.evil.clean": script, "filter.evil.smudge": script, "filter.evil.process": script,
        "alias.status": f"!{script}", "alias.diff": f"!{script}", "core.hooksPath": script.parent,
        "gpg.program": script, "log.showSignature": "true", "core.editor": script, "core.sshCommand": script,
        "include.path": more, "diff.orderFile": "/nonexistent", "status.submoduleSummary": "true",
        "diff.submodule": "log", "color.ui": "always", "diff.noprefix": "true", "log.decorate": "full",
        "interactive.diffFilter": script, "core.alternateRefsCommand": script,
    }  # fmt: skip
    for name, value in settings.items():
        git(top, "config", name, str(value))
    for hook in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        (script.parent / hook).write_bytes(script.read_bytes())
        (script.parent / hook).chmod(0o755)


async def test_nothing_that_a_repository_names_is_run(tmp_path, repo):
    repo.write(".gitattributes", "* diff=evil filter=evil\n")
    repo.commit()
    mark = tmp_path / "ran"
    trap(repo.top, mark)
    repo.write("a.txt", "one\n2\n")
    view = await view_of(repo.top)
    assert [file.path for file in (await git_sense.status(view)).files] == ["a.txt"]
    assert "diff --git a/a.txt b/a.txt" in (await uncommitted(repo.top)).text
    for commit in await git_sense_log.commits(view, 5):
        assert "\x1b" not in (await git_sense_log.show(view, commit)).text
    await git_sense_log.show_object(view, "HEAD:a.txt")
    await git_sense_log.surroundings(str(repo.top), ENV)
    assert not mark.exists()
    command = ["git", "-C", str(repo.top), "diff"]
    await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True, env=ENV)
    assert mark.exists(), "the trap itself does not work"


async def test_a_missing_object_is_not_fetched_from_a_remote_that_runs_a_program(tmp_path, repo):
    mark = tmp_path / "ran"
    trap(repo.top, mark)
    for name, value in {
        "remote.origin.url": f"ext::{tmp_path}/trap.sh",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": f"{tmp_path}/trap.sh",
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
    }.items():
        git(repo.top, "config", name, value)
    git(repo.top, "config", "core.repositoryFormatVersion", "1")
    blob = git(repo.top, "rev-parse", "HEAD:a.txt")
    (repo.top / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    repo.write("a.txt", "other\n")
    assert await trouble(lambda: uncommitted(repo.top))
    assert not mark.exists()


async def test_a_repository_that_claims_files_around_it_shows_only_the_session_s(tmp_path, repo):
    (tmp_path / "private.txt").write_text("private\n")
    git(repo.top, "config", "core.worktree", str(tmp_path))
    repo_status = await git_sense.status(await view_of(repo.top))
    assert all(
        file.path.startswith("repo/") or file.code == "D." or "D" in file.code for file in repo_status.files
    )
    assert "private" not in (await uncommitted(repo.top)).text


async def test_a_repository_that_claims_files_elsewhere_is_not_read(tmp_path, repo):
    (tmp_path / "elsewhere").mkdir()
    git(repo.top, "config", "core.worktree", str(tmp_path / "elsewhere"))
    assert "core.worktree" in await trouble(lambda: view_of(repo.top))


async def test_a_pointer_to_a_repository_elsewhere_needs_permission(tmp_path, repo):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ".git").write_text(f"gitdir: {repo.top / '.git'}\n")
    view = await view_of(victim)
    assert view.reading(str(victim)) == Effect(
        "read", f"Read the repository {repo.top}/.git", paths=(f"{repo.top}/.git",), cwd=str(victim)
    )
    assert await git_sense_log.surroundings(str(victim), ENV) == ""


@pytest.mark.parametrize("name", ["objects", "refs"])
async def test_parts_of_a_repository_that_are_links_need_permission(tmp_path, repo, name):
    stolen = make(tmp_path / "stolen", {})
    folder = stolen.top / ".git" / name
    git(stolen.top, "config", "core.logAllRefUpdates", "false")
    for child in sorted(folder.rglob("*"), reverse=True):
        child.rmdir()
    folder.rmdir()
    folder.symlink_to(repo.top / ".git" / name)
    assert (await view_of(stolen.top)).borrowed


async def test_linked_worktrees_and_folders_of_a_repository_need_no_permission(tmp_path, repo):
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    assert not (await view_of(tmp_path / "linked")).borrowed
    assert not (await view_of(repo.top / "src")).borrowed
    assert not (await view_of(repo.top)).borrowed


# --- habits --------------------------------------------------------------------------------------


def log_of(*subjects: str, body: str = "") -> list[Commit]:
    return [Commit("1", "1", (), "A", "2026-01-01", subject, body) for subject in subjects]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (log_of("a", "b", "c"), ""),
        (
            log_of("feat(ui): add x", "fix: do y", "docs: say z", "fix: more", "Merge branch 'x'"),
            "commit messages here: Conventional Commits (`fix:`, `feat(ui):`, `docs:`), in lower case, "
            "at most 15 characters, mostly no body",
        ),
        (
            log_of("Add x", "Mend y", "Say z", "Drop w", body="Why.\n\nSigned-off-by: A <a@b>"),
            "commit messages here: plain subjects, capitalised, at most 6 characters, "
            "with a body, signed off",
        ),
        (
            log_of("core: Add.", "net: Mend.", "net: Say.", "doc: Drop.", body="Signed-off-by: A <a@b>"),
            "commit messages here: subjects with a prefix (`net:`, `core:`, `doc:`), capitalised, "
            "at most 10 characters, ending with a full stop, mostly no body, signed off",
        ),
        (
            log_of("ABC-1 add", "ABC-2 mend", "ABC-33 say", "ABC-4 drop"),
            "commit messages here: plain subjects, capitalised, at most 10 characters, "
            "with a reference such as ABC-1, mostly no body",
        ),
    ],
)
def test_the_habits_of_commit_messages_are_read_from_the_log(log, said):
    assert habits(log) == said
