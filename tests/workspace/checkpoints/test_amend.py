"""Amended checkpoints: some files are said, and nothing of the tree is looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

from hermes_acp.workspace.checkpoints.amend import Content
from hermes_acp.workspace.checkpoints.records import Checkpoint, Span
from tests.workspace.checkpoints.trees import Session, git, new_repository, repository_bytes, seen


async def amend(session: Session, checkpoint: Checkpoint, **contents: Content) -> Checkpoint:
    return await session.checkpoints.amend(checkpoint, str(session.root), contents, "amended")


async def contents(session: Session, checkpoint: Checkpoint) -> dict[str, bytes]:
    names = await session.holds(checkpoint)
    return {
        path: git(session.root, "cat-file", "blob", name, env=session.reading) for path, name in names.items()
    }


async def test_files_are_replaced_added_and_removed(session: Session) -> None:
    taken = await session.take("taken")
    untouched = (seen(session.root), repository_bytes(session.root))
    files: dict[str, Content] = {"README": b"said\n", "deep/er/new": b"\0new", "src/main.py": None}
    amended = await session.checkpoints.amend(taken, str(session.root), files, "amended")
    assert await contents(session, amended) == {"README": b"said\n", "deep/er/new": b"\0new"}
    assert (amended.label, amended.session, amended.root) == ("amended", taken.session, taken.root)
    assert (seen(session.root), repository_bytes(session.root)) == untouched
    assert await session.checkpoints.list("s1") == [taken, amended]


async def test_what_is_so_already_gives_the_same_checkpoint(session: Session) -> None:
    taken = await session.take()
    assert await amend(session, taken, README=b"words\n", gone=None) == taken
    assert await session.checkpoints.amend(taken, str(session.root), {}, "x") == taken
    assert await session.checkpoints.list("s1") == [taken]


async def test_our_own_folders_are_not_recorded_whoever_says_so(session: Session, tmp_path: Path) -> None:
    own = Session(session.root, tmp_path / "other", private=(session.root / "data",))
    taken = await own.take()
    files: dict[str, Content] = {"data/keys": b"secret\n", "data": b"", "database": b"theirs\n"}
    amended = await own.checkpoints.amend(taken, str(own.root), files, "amended")
    assert set(await own.holds(amended)) == {"README", "database", "src/main.py"}


async def test_a_version_of_another_checkpoint_can_be_said(session: Session) -> None:
    (session.root / "README").chmod(0o755)
    first = await session.take()
    (session.root / "README").unlink()
    (session.root / "README").symlink_to("src")
    second = await session.take()
    (change,) = await session.checkpoints.differences(str(session.root), first, second)
    amended = await amend(session, second, README=change.old)
    assert amended.tree == first.tree


async def test_a_file_takes_the_place_of_a_folder(session: Session) -> None:
    taken = await session.take()
    amended = await amend(session, taken, src=b"a file now\n")
    assert await contents(session, amended) == {"README": b"words\n", "src": b"a file now\n"}


async def test_a_program_stays_one(session: Session) -> None:
    (session.root / "README").chmod(0o755)
    taken = await session.take()
    amended = await amend(session, taken, README=b"#!\n")
    assert b"100755 blob" in git(session.root, "ls-tree", amended.tree, "README", env=session.reading)


async def test_an_ignored_file_that_was_said_is_recorded_from_then_on(session: Session) -> None:
    (session.root / ".gitignore").write_text("*.log\n")
    (session.root / "a.log").write_text("now")
    (session.root / "b.log").write_text("now")
    before = await session.checkpoints.amend(
        await session.take(), str(session.root), {"a.log": b"then"}, "before"
    )
    after = await session.take("after")
    assert (await contents(session, after))["a.log"] == b"now"
    assert "b.log" not in await session.holds(after)
    await session.undo(before, after)
    assert (session.root / "a.log").read_text() == "then"


async def test_what_lies_in_git_folders_is_passed_over(session: Session) -> None:
    taken = await session.take()
    files: dict[str, Content] = {".git/config": b"mine", "sub/.GIT/hooks/x": b"mine"}
    assert await session.checkpoints.amend(taken, str(session.root), files, "x") == taken


async def test_contents_outlast_the_users_repository(session: Session) -> None:
    taken = await session.take()
    amended = await amend(session, taken, README=b"said\n")
    (session.root / "README").write_text("said\n")
    shutil.rmtree(session.root / ".git")
    await session.restore(Span(taken, amended))
    assert (session.root / "README").read_text() == "words\n"


async def test_many_files_and_odd_names_are_amended_together(session: Session) -> None:
    taken = await session.take()
    files: dict[str, Content] = {f"many/{number} \n\"'é\udcff": b"%d" % number for number in range(300)}
    amended = await session.checkpoints.amend(taken, str(session.root), files, "many")
    assert len(await session.holds(amended)) == 302
    back = await session.checkpoints.amend(amended, str(session.root), dict.fromkeys(files), "back")
    assert back.tree == taken.tree


async def test_a_folder_without_git_and_a_repository_of_longer_names_are_amended(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    longer = new_repository(tmp_path / "longer", "--object-format=sha256")
    for number, root in enumerate((tmp_path / "plain", longer)):
        session = Session(root, tmp_path / f"data{number}")
        amended = await amend(session, await session.take(), new=b"said\n")
        assert (await contents(session, amended))["new"] == b"said\n"
