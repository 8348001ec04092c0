"""Review and apply: what the session did, shown and brought into the user's files, all or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from hermes_acp.workspace import review
from hermes_acp.workspace.apply import Applied, apply, recover
from hermes_acp.workspace.merging import Conflict, Hunk
from hermes_acp.workspace.places import Places, Version
from hermes_acp.workspace.review import Changes, changes
from hermes_acp.workspace.swap import Exchange, Order, Swap
from hermes_acp.workspace.worktrees.worktrees import Worktree, WorktreeError, create
from tests.mounts import mounted
from tests.workspace.repos import Repo, files_of, git, killed, make, stepping

FILES = {
    "a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
    "lib/b.txt": "b\n",
    "gone.txt": "gone\n",
    ".gitignore": "*.log\n",
}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, FILES)


async def start(repo: Repo, **options: bool) -> tuple[Worktree, Path]:
    worktree = (await create(repo.place, "Task", "test", **options)).worktree
    return worktree, Path(worktree.path)


async def done(repo: Repo, worktree: Worktree) -> set[str]:
    """Apply without conflicts; gives the paths that were written."""
    applied = await apply(repo.place, worktree, str(repo.top))
    assert applied.conflicts == ()
    return {change.path for change in applied.files}


# --- review --------------------------------------------------------------------------------------


async def test_changes_have_kinds_counts_and_differences(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text(FILES["a.txt"].replace("5\n", "five\n"))
    git(path, "commit", "-qam", "By the agent")
    (path / "gone.txt").unlink()
    git(path, "mv", "lib/b.txt", "lib/c.txt")
    (path / "new\n.txt").write_text("new")
    (path / "raw").write_bytes(b"\0\1\2")
    (path / "x.log").write_text("ignored")
    before = repo.precious()
    found = await changes(repo.place, worktree)
    diffs = {change.path: change.diff for change in found.files}
    assert [(c.path, c.kind, c.old_path, c.added, c.removed, c.binary) for c in found.files] == [
        ("a.txt", "modified", None, 1, 1, False),
        ("gone.txt", "deleted", None, 0, 1, False),
        ("lib/c.txt", "renamed", "lib/b.txt", 0, 0, False),
        ("new\n.txt", "added", None, 1, 0, False),
        ("raw", "added", None, 0, 0, True),
    ]
    assert diffs["raw"] is None
    assert diffs["a.txt"].endswith("@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n")
    assert diffs["new\n.txt"].endswith("@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n")
    assert repo.precious() == before


async def test_no_changes_are_no_changes(repo: Repo) -> None:
    worktree, _ = await start(repo)
    assert await changes(repo.place, worktree) == Changes(())


async def test_a_file_that_became_a_link_keeps_the_other_differences_in_place(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").unlink()
    (path / "a.txt").symlink_to("lib/b.txt")
    (path / "lib/b.txt").write_text("diff --git a/x b/x\n")
    first, second = (await changes(repo.place, worktree)).files
    assert (first.kind, first.diff.count("\ndiff --git ")) == ("type_changed", 1)
    assert second.diff.endswith("@@ -1 +1 @@\n-b\n+diff --git a/x b/x\n")


async def test_large_and_many_files_are_named_without_differences(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "large").write_text("x\n" * review.DIFF_FILE_BYTES)
    for number in range(review.DIFF_FILES + 1):
        (path / f"many-{number:04}").write_text("x\n")
    found = (await changes(repo.place, worktree)).files
    assert [change.path for change in found if change.diff is None] == ["large", "many-0499", "many-0500"]


async def test_repositories_within_and_huge_new_files_are_left_out_by_name(repo: Repo) -> None:
    worktree, path = await start(repo)
    git(path, "init", "-q", "inner")
    with (path / "huge").open("wb") as file:
        file.truncate(2 * 1024**3)
    (path / "small").write_text("x")
    os.mkfifo(path / "pipe")
    found = await changes(repo.place, worktree)
    assert found.left_out == ("inner/", "huge")
    assert [change.path for change in found.files] == ["small"]


async def test_a_review_of_a_folder_that_is_gone_says_so(repo: Repo) -> None:
    worktree, path = await start(repo)
    path.rename(path.with_name("moved"))
    with pytest.raises(WorktreeError, match="is gone: it was deleted or moved"):
        await changes(repo.place, worktree)


# --- apply ---------------------------------------------------------------------------------------


async def test_the_work_is_merged_into_what_the_user_changed_meanwhile(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("one\n2\n3\n4\n5\n6\n7\n8\n9\n")
    (path / "gone.txt").unlink()
    (path / "new/deep").mkdir(parents=True)
    (path / "new/deep/file").write_text("new\n")
    (path / "link").symlink_to("a.txt")
    (path / "lib/b.txt").chmod(0o755)
    repo.write("a.txt", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    (repo.top / "a.txt").chmod(0o640)
    repo.write("mine.txt", "untracked\n")
    repo.write("lib/staged.txt", "staged\n")
    repo.git("add", "lib/staged.txt")
    before = repo.precious()
    assert await done(repo, worktree) == {"a.txt", "gone.txt", "lib/b.txt", "link", "new/deep/file"}
    assert files_of(repo.top) == {
        ".gitignore": "*.log\n",
        "a.txt": "one\n2\n3\n4\n5\n6\n7\n8\nnine\n",
        "lib/b.txt": "b\n",
        "lib/staged.txt": "staged\n",
        "link": "-> a.txt",
        "mine.txt": "untracked\n",
        "new/deep/file": "new\n",
    }
    assert (repo.top / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (repo.top / "lib/b.txt").stat().st_mode & 0o111
    assert repo.precious() == before
    assert [entry.name for entry in Path(repo.place.folder, "applying").iterdir()] == ["lock"]
    repo.sound()


async def test_conflicts_are_told_hunk_by_hunk_and_nothing_is_written(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("1\n2\ntheirs\n4\n5\n6\n7\n8\ntheirs too\n")
    (path / "lib/b.txt").write_text("clean\n")
    (path / "gone.txt").unlink()
    repo.write("a.txt", "0\n1\n2\nours\n4\n5\n6\n7\n8\nours too\n")
    repo.write("gone.txt", "kept\n")
    before, files = repo.precious(), files_of(repo.top)
    assert await apply(repo.place, worktree, str(repo.top)) == Applied(
        conflicts=(
            Conflict(
                "a.txt",
                "both changed the same lines",
                (Hunk(4, "3\n", "ours\n", "theirs\n"), Hunk(10, "9\n", "ours too\n", "theirs too\n")),
            ),
            Conflict("gone.txt", "one side changed the file, the other deleted it"),
        )
    )
    assert (repo.precious(), files_of(repo.top)) == (before, files)


async def test_applied_again_only_what_is_new_comes_and_what_the_user_took_back_stays_away(
    repo: Repo,
) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("one\n2\n3\n4\n5\n6\n7\n8\n9\n")
    assert await done(repo, worktree) == {"a.txt"}
    assert await done(repo, worktree) == set()
    repo.git("checkout", "-q", "a.txt")
    (path / "a.txt").write_text("one\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    assert await done(repo, worktree) == {"a.txt"}
    assert (repo.top / "a.txt").read_text() == "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert await changes(repo.place, worktree, "applied") == Changes(())
    again = await apply(repo.place, worktree, str(repo.top), "start")
    assert [change.path for change in again.files] == ["a.txt"]
    assert (repo.top / "a.txt").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"


async def test_changes_that_were_carried_over_do_not_come_back_twice(repo: Repo) -> None:
    repo.write("a.txt", "1\n2\nmine\n4\n5\n6\n7\n8\n9\n")
    repo.write("fresh.txt", "untracked\n")
    worktree, path = await start(repo, with_changes=True)
    (path / "fresh.txt").write_text("untracked\nand more\n")
    repo.write("a.txt", "1\n2\nmine again\n4\n5\n6\n7\n8\n9\n")
    assert await done(repo, worktree) == {"fresh.txt"}
    assert (repo.top / "fresh.txt").read_text() == "untracked\nand more\n"


async def test_the_session_and_the_user_may_both_have_moved_on_by_commits(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "lib/b.txt").write_text("agent\n")
    git(path, "commit", "-qam", "Agent")
    repo.git("checkout", "-q", "-b", "feature")
    repo.git("mv", "lib", "library")
    repo.commit()
    assert await done(repo, worktree) == {"library/b.txt"}
    assert files_of(repo.top)["library/b.txt"] == "agent\n"


@pytest.mark.parametrize(
    ("prepare", "path", "reason"),
    [
        ("file", "fresh", "both changed the same lines"),
        ("ignored", "x.log", "both changed the same lines"),
        ("folder", "fresh", "a folder with files of yours is in the way"),
        ("parent", "new/file", "a file or a link stands where its folder should be"),
        ("link", "new/file", "a file or a link stands where its folder should be"),
        ("pipe", "fresh", "there is a special file on the disk that git does not see"),
        ("hidden", "lib/b.txt", "the file on the disk is not the one that git sees"),
    ],
)
async def test_what_is_in_the_way_is_a_conflict(repo: Repo, prepare: str, path: str, reason: str) -> None:
    worktree, tree = await start(repo)
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text("agent\n")
    git(tree, "add", "-f", path)
    match prepare:
        case "file" | "ignored":
            repo.write(path, "mine\n")
        case "folder":
            repo.write("fresh/mine", "mine\n")
        case "parent":
            repo.write("new", "mine\n")
        case "link":
            (repo.top / "new").symlink_to(repo.top.parent)
        case "pipe":
            os.mkfifo(repo.top / "fresh")
        case _:
            repo.git("update-index", "--assume-unchanged", path)
            repo.write(path, "mine\n")
    listing = sorted(str(each) for each in repo.top.parent.rglob("*") if ".git" not in each.parts)
    applied = await apply(repo.place, worktree, str(repo.top))
    assert [(conflict.path, conflict.reason) for conflict in applied.conflicts] == [(path, reason)]
    after = sorted(str(each) for each in repo.top.parent.rglob("*") if ".git" not in each.parts)
    assert [each for each in after if "/project/" not in each] == [
        each for each in listing if "/project/" not in each
    ]


async def test_a_file_takes_the_place_of_a_folder_and_the_reverse(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "lib/b.txt").unlink()
    (path / "lib").rmdir()
    (path / "lib").write_text("a file now\n")
    (path / "gone.txt").unlink()
    (path / "gone.txt").mkdir()
    (path / "gone.txt/inner").write_text("a folder now\n")
    assert await done(repo, worktree) == {"lib", "gone.txt/inner", "gone.txt", "lib/b.txt"}
    others = {".gitignore": "*.log\n", "a.txt": FILES["a.txt"]}
    assert files_of(repo.top) == others | {"lib": "a file now\n", "gone.txt/inner": "a folder now\n"}


async def test_a_link_to_a_folder_is_replaced_and_not_followed(repo: Repo) -> None:
    (repo.top / "way").symlink_to("lib")
    repo.commit()
    worktree, path = await start(repo)
    (path / "way").unlink()
    (path / "way").mkdir()
    (path / "way/b.txt").write_text("not lib\n")
    assert await done(repo, worktree) == {"way", "way/b.txt"}
    found = files_of(repo.top)
    assert (found["lib/b.txt"], found["way/b.txt"]) == ("b\n", "not lib\n")


async def test_line_ends_stay_as_the_user_has_them(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")
    (repo.top / "a.txt").write_bytes(b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9\r\n")
    worktree, path = await start(repo)
    assert (path / "a.txt").read_bytes().startswith(b"1\r\n")
    (path / "a.txt").write_bytes((path / "a.txt").read_bytes().replace(b"5", b"five"))
    assert await done(repo, worktree) == {"a.txt"}
    assert (repo.top / "a.txt").read_bytes() == b"1\r\n2\r\n3\r\n4\r\nfive\r\n6\r\n7\r\n8\r\n9\r\n"


async def test_names_of_any_kind_are_applied(repo: Repo) -> None:
    worktree, path = await start(repo)
    names = [
        "caf\u00e9",
        "cafe\u0301",
        "READ",
        "read",
        "a\nb",
        "-rf",
        'quo"te',
        "tab\t",
        os.fsdecode(b"\xff"),
    ]
    for name in names:
        (path / name).write_text(name.encode("utf-8", "replace").decode())
    assert await done(repo, worktree) == set(names)
    for name in names:
        (path / name).write_text("again")
    assert await done(repo, worktree) == set(names)
    assert {files_of(repo.top)[name] for name in names} == {"again"}


async def test_files_of_a_filter_are_left_to_the_user(repo: Repo) -> None:
    repo.git("config", "filter.lfs.smudge", "cat")
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    repo.write("big.bin", "version 1\n")
    repo.commit()
    worktree, path = await start(repo)
    (path / "big.bin").write_text("version 2\n")
    applied = await apply(repo.place, worktree, str(repo.top))
    assert applied.conflicts == (
        Conflict("big.bin", "the filter lfs would have to run: check this file out by hand"),
    )


async def test_a_worktree_of_another_repository_is_refused(repo: Repo, tmp_path: Path) -> None:
    worktree, _ = await start(repo)
    other = make(tmp_path / "other", FILES)
    with pytest.raises(WorktreeError, match="is of another repository"):
        await apply(repo.place, worktree, str(other.top))


async def test_a_repository_with_sha256_names_takes_the_work(tmp_path: Path) -> None:
    repo = make(tmp_path, FILES, "--object-format=sha256")
    worktree, path = await start(repo)
    (path / "a.txt").write_text("new\n")
    assert await done(repo, worktree) == {"a.txt"}
    repo.sound()


@pytest.mark.slow
async def test_ten_worktrees_apply_at_once_and_nothing_is_lost(repo: Repo) -> None:
    repo.write("shared.txt", "".join(f"{number}\n" * 4 for number in range(10)))
    repo.commit()
    made = await asyncio.gather(*(create(repo.place, f"Task {number}", "test") for number in range(10)))
    for number, each in enumerate(made):
        path = Path(each.worktree.path)
        (path / f"own-{number}").write_text("x")
        shared = (path / "shared.txt").read_text()
        (path / "shared.txt").write_text(
            shared.replace(f"{number}\n" * 4, f"{number}\nten{number}\n{number}\n")
        )
        (path / "a.txt").write_text(f"{number}\n" if number in (3, 7) else FILES["a.txt"])
    results = await asyncio.gather(
        *(apply(repo.place, each.worktree, str(repo.top)) for each in reversed(made))
    )
    lost = [number for number, result in zip(range(9, -1, -1), results, strict=True) if result.conflicts]
    assert lost in ([3], [7])
    text = (repo.top / "shared.txt").read_text()
    assert [f"ten{number}" in text for number in range(10)] == [number not in lost for number in range(10)]
    assert (repo.top / "a.txt").read_text() == f"{10 - lost[0]}\n"
    repo.sound()


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 7, 9, 11])
async def test_a_kill_at_any_change_is_undone_at_the_next_start(repo: Repo, count: int) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("new\n")
    (path / "gone.txt").unlink()
    (path / "new").mkdir()
    (path / "new/file").write_text("new\n")
    before = files_of(repo.top)
    assert await asyncio.to_thread(killed, repo, worktree, count) == -signal.SIGKILL
    assert (files_of(repo.top) == before) == (count == 0)
    assert await recover(repo.place) == ()
    assert files_of(repo.top) == before
    assert not (repo.top / "new").exists()
    assert await recover(repo.place) == ()


def exchanged(repo: Repo, texts: dict[str, str]) -> Swap:
    """Other texts in the places of files, which is not final yet."""
    with Places(str(repo.top)) as places:
        old = {path: places.version(path, "sha1") for path in texts}
    new = {path: Version("100644", str(number)) for number, path in enumerate(texts)}
    exchanges = tuple(Exchange(path, old[path], new[path], 0o644) for path in texts)
    journal = Path(repo.place.folder, "applying", "one.json")
    journal.parent.mkdir(parents=True)
    swap = Swap(Order(str(repo.top), "sha1", exchanges), journal)
    swap.prepare()
    swap.stage({new[path].blob: text.encode() for path, text in texts.items()})
    swap.apply()
    return swap


async def test_what_the_user_wrote_after_the_crash_is_kept(repo: Repo) -> None:
    await asyncio.to_thread(exchanged, repo, {"a.txt": "new\n", "gone.txt": "new\n"})
    assert files_of(repo.top).items() >= {"a.txt": "new\n", "gone.txt": "new\n"}.items()
    repo.write("a.txt", "new\nand mine\n")
    assert await recover(repo.place) == (str(repo.top / "a.txt"),)
    assert files_of(repo.top) == FILES | {"a.txt": "new\nand mine\n"}


async def test_what_a_crash_left_in_a_tree_that_is_gone_waits_for_it(repo: Repo) -> None:
    await asyncio.to_thread(exchanged, repo, {"a.txt": "new\n"})
    away = repo.top.rename(repo.top.with_name("away"))
    assert await recover(repo.place) == ()
    away.rename(repo.top)
    assert await recover(repo.place) == ()
    assert files_of(repo.top) == FILES


async def test_a_file_that_changes_while_others_are_written_brings_all_back(repo: Repo) -> None:
    worktree, path = await start(repo)
    (path / "a.txt").write_text("new\n")
    (path / "gone.txt").write_text("new\n")
    now = "[open(root + name).read() for name in ('/a.txt', '/gone.txt')]"
    mine = "open(root + '/gone.txt', 'w').write('mine\\n')"
    change = f"{mine} if {now} == ['new\\n', 'gone\\n'] else 0"
    run = await asyncio.to_thread(stepping, repo, worktree, 0, change)
    said = "gone.txt: it has changed in these moments: everything was put back. Try again."
    assert said in run.stderr.decode()
    assert files_of(repo.top) == FILES | {"gone.txt": "mine\n"}


async def test_a_damaged_journal_is_named_and_stops_everything(repo: Repo) -> None:
    journal = Path(repo.place.folder, "applying", "one.json")
    journal.parent.mkdir(parents=True)
    journal.write_text("{")
    with pytest.raises(WorktreeError, match=r"one\.json is damaged"):
        await recover(repo.place)


async def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m"):
        repo = make(tmp_path / "disk", FILES)
        worktree, path = await start(repo)
        (path / "a.txt").write_text("new\n" * 1000)
        (path / "gone.txt").write_bytes(os.urandom(600_000))
        free = os.statvfs(tmp_path / "disk").f_bavail * os.statvfs(tmp_path / "disk").f_bsize
        (tmp_path / "disk" / "filler").write_bytes(b"x" * (free - 900_000))
        before, files = repo.precious(), files_of(repo.top)
        with pytest.raises(WorktreeError, match="No space left"):
            await apply(repo.place, worktree, str(repo.top))
        assert (repo.precious(), files_of(repo.top)) == (before, files)
        (tmp_path / "disk" / "filler").unlink()
        repo.sound()
        assert await done(repo, worktree) == {"a.txt", "gone.txt"}
