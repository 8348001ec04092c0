"""Repositories in every bad state: a checkpoint is taken or refused, and the repository stays intact."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermes_acp.workspace.checkpoints.records import CheckpointError, LeftOut
from tests.mounts import mounted
from tests.workspace.checkpoints.trees import (
    ENV,
    IDENTITY,
    Session,
    git,
    new_repository,
    repository_bytes,
    seen,
)

pytestmark = pytest.mark.slow

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away and mount")


@contextmanager
def untouched(root: Path, *, sound: bool = True) -> Iterator[None]:
    """Whatever happens within, not a byte of the user's repository may change."""
    before = repository_bytes(root)
    yield
    assert repository_bytes(root) == before
    if sound:
        git(root, "fsck", "--strict", "--no-dangling")


async def works(session: Session) -> None:
    """A change of the agent is recorded and taken back."""
    before = seen(session.root)
    start = await session.take()
    (session.root / "agent").write_text("agent")
    for file in session.root.glob("README"):
        file.write_text("agent")
    end = await session.take()
    result = await session.undo(start, end)
    assert result.conflicts == ()
    assert seen(session.root) == before


def fails(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *arguments], env=ENV, capture_output=True, check=False
    )
    assert done.returncode, "the case is not what it says"


async def test_an_unborn_branch(tmp_path: Path) -> None:
    root = tmp_path / "fresh"
    git(tmp_path, "init", "-q", str(root))
    (root / "README").write_text("words")
    git(root, "add", ".")
    with untouched(root):
        await works(Session(root, tmp_path / "data"))


async def test_an_empty_repository_and_an_empty_folder(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", str(tmp_path / "empty"))
    (tmp_path / "bare-nothing").mkdir()
    with untouched(tmp_path / "empty"):
        await works(Session(tmp_path / "empty", tmp_path / "data"))
    await works(Session(tmp_path / "bare-nothing", tmp_path / "more"))


@pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick"])
async def test_a_merge_or_rebase_in_progress(session: Session, command: str) -> None:
    root = session.root
    git(root, "checkout", "-q", "-b", "side")
    (root / "README").write_text("side\n")
    git(root, "commit", "-q", "-a", "-m", "Side")
    git(root, "checkout", "-q", "main")
    (root / "README").write_text("main\n")
    git(root, "commit", "-q", "-a", "-m", "Main")
    fails(root, command, "side")
    assert b"UU README" in git(root, "status", "--porcelain") or command == "rebase"
    with untouched(root):
        await works(session)


async def test_a_detached_head_with_a_held_index(session: Session) -> None:
    git(session.root, "checkout", "-q", "--detach")
    (session.root / ".git" / "index.lock").touch()
    fails(session.root, "add", ".")
    with untouched(session.root):
        await works(session)


@pytest.mark.parametrize("size", [0, 20, 100])
async def test_a_truncated_index(session: Session, size: int) -> None:
    index = session.root / ".git" / "index"
    index.write_bytes(index.read_bytes()[:size])
    with untouched(session.root, sound=False):
        await works(session)


async def test_a_broken_configuration(session: Session) -> None:
    (session.root / ".git" / "config").write_text("[core\nnonsense")
    with untouched(session.root, sound=False):
        await works(session)
    assert (await session.take()).left_out == (LeftOut(".git", "unreadable"),)


async def test_objects_that_the_user_pruned_can_still_be_restored(session: Session) -> None:
    root = session.root
    start = await session.take()
    (root / "README").write_text("agent")
    end = await session.take()
    # History is rewritten: nothing of the user's holds the old contents any longer.
    git(root, "checkout", "-q", "--orphan", "anew")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Anew")
    git(root, "branch", "-q", "-D", "main")
    git(root, "reflog", "expire", "--expire=now", "--all")
    git(root, "gc", "-q", "--prune=now")
    with untouched(root):
        assert (await session.undo(start, end)).conflicts == ()
    assert (root / "README").read_text() == "words\n"


async def test_a_repository_that_was_removed_takes_no_checkpoint_with_it(session: Session) -> None:
    root = session.root
    start = await session.take()
    (root / "README").write_text("agent")
    end = await session.take()
    shutil.rmtree(root / ".git")
    git(root, "init", "-q")
    assert (await session.undo(start, end)).conflicts == ()
    assert (root / "README").read_text() == "words\n"
    # What was borrowed, and is still there, was read again from the tree.
    (root / "src" / "main.py").unlink()
    assert (await session.undo(start, await session.take())).conflicts == ()
    assert (root / "src" / "main.py").read_text() == "one\ntwo\nthree\nfour\nfive\n"


async def test_contents_that_are_lost_are_named_and_nothing_is_written(session: Session) -> None:
    root = session.root
    start = await session.take()
    shutil.rmtree(root / ".git")
    (root / "README").unlink()
    (root / "new").touch()
    end = await session.take()
    before = seen(root)
    with pytest.raises(CheckpointError, match=r"Nothing was restored: the contents of README were"):
        await session.undo(start, end)
    assert seen(root) == before
    assert (await session.undo(start, end, keep=("README",))).conflicts == ()
    assert [each.patch for each in await session.checkpoints.changes(str(root), start, end)] == [None, None]


async def test_a_linked_worktree_whose_folder_was_moved(session: Session, tmp_path: Path) -> None:
    git(session.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Session(tmp_path / "side", tmp_path / "data")
    start = await side.take()
    (side.root / "README").write_text("agent")
    end = await side.take()
    side.root = side.root.rename(tmp_path / "moved")
    assert (await side.undo(start, end)).conflicts == ()
    shutil.rmtree(session.root)
    # The worktree is now a folder without a repository.
    (side.root / "README").write_text("more")
    assert (await side.take()).left_out == (LeftOut(".git", "unreadable"),)


@AS_ROOT
async def test_a_repository_of_somebody_else_is_not_asked(session: Session) -> None:
    root = session.root
    for path in (root, *root.rglob("*")):
        os.chown(path, 12345, 12345)
    before = repository_bytes(root)
    start = await session.take()
    assert start.left_out == (LeftOut(".git", "unreadable"),)
    assert set(await session.holds(start)) == {"README", "src/main.py"}
    (root / "README").write_text("agent")
    await session.undo(start, await session.take())
    assert (root / "README").read_text() == "words\n"
    assert (root / "README").stat().st_uid == 12345
    assert repository_bytes(root) == before


async def test_a_sha256_repository(tmp_path: Path) -> None:
    root = new_repository(tmp_path / "repo", "--object-format=sha256")
    session = Session(root, tmp_path / "data")
    with untouched(root):
        await works(session)
    assert len((await session.take()).tree) == 64


async def test_a_tree_whose_objects_have_another_format_borrows_nothing(
    session: Session, tmp_path: Path
) -> None:
    await session.take()
    other = Session(new_repository(tmp_path / "other", "--object-format=sha256"), tmp_path / "data")
    with untouched(other.root):
        await works(other)


async def test_a_shallow_clone_with_alternates(session: Session, tmp_path: Path) -> None:
    git(session.root, "commit", "-q", "--allow-empty", "-m", "Second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{session.root}", "shallow")
    git(tmp_path, "clone", "-q", "--shared", str(session.root), 'sha"red:clone')
    for name in ("shallow", 'sha"red:clone'):
        with untouched(tmp_path / name):
            await works(Session(tmp_path / name, tmp_path / "data"))


async def test_assume_unchanged_and_sparse_files_are_recorded_as_they_are(session: Session) -> None:
    root = session.root
    git(root, "update-index", "--assume-unchanged", "README")
    git(root, "update-index", "--skip-worktree", "src/main.py")
    (root / "README").write_text("changed")
    (root / "src" / "main.py").unlink()
    with untouched(root):
        checkpoint = await session.take()
    assert set(await session.holds(checkpoint)) == {"README"}
    assert git(
        root, "cat-file", "blob", (await session.holds(checkpoint))["README"], env=session.reading
    ) == (b"changed")


@AS_ROOT
async def test_a_disk_that_is_full_while_a_checkpoint_is_taken(session: Session, tmp_path: Path) -> None:
    root = session.root
    with mounted(tmp_path / "disk", "size=2m") as disk:
        session = Session(root, disk)
        start = await session.take()
        (root / "noise").write_bytes(os.urandom(4_000_000))
        before = seen(root)
        with untouched(root):
            with pytest.raises(CheckpointError, match=r"No space left on device.* Free some space"):
                await session.take()
            assert seen(root) == before
            (root / "noise").unlink()
            assert await session.take() == start


@AS_ROOT
async def test_a_disk_that_is_full_while_files_are_restored(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        root = new_repository(disk / "repo")
        session = Session(root, tmp_path / "data")
        (root / "noise").write_bytes(os.urandom(1_400_000))
        start = await session.take()
        (root / "noise").unlink()
        (root / "README").write_text("agent")
        end = await session.take()
        (root / "mine").write_bytes(os.urandom(1_400_000))
        before = seen(root)
        with untouched(root):
            with pytest.raises(CheckpointError, match=r"Nothing was restored: .*No space left on device"):
                await session.undo(start, end)
            assert seen(root) == before
            (root / "mine").unlink()
            assert (await session.undo(start, end)).conflicts == ()


async def test_a_hundred_thousand_new_files_are_left_out(session: Session) -> None:
    root = session.root

    def fill() -> None:
        for number in range(100):
            (root / "node_modules" / str(number)).mkdir(parents=True)
            for each in range(1_000):
                (root / "node_modules" / str(number) / str(each)).touch()

    await asyncio.to_thread(fill)
    with untouched(root):
        start = await session.take()
        assert start.left_out == (LeftOut("node_modules/", "many"),)
        (root / "README").write_text("agent")
        assert (await session.undo(start, await session.take())).conflicts == ()
