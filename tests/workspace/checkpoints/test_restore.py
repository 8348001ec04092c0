"""Undo, redo and rewind: what the agent did goes, what the user did stays, and nothing is half done."""

import asyncio
import os
from pathlib import Path

import pytest

from hermes_acp.workspace.checkpoints.merge import Mix, combine
from hermes_acp.workspace.checkpoints.records import Checkpoint, LeftOut, Limits, RestoredFile, Span
from hermes_acp.workspace.merging import Conflict
from hermes_acp.workspace.places import Version
from tests.workspace.checkpoints.trees import Session, git, seen


def rework(root: Path) -> None:
    """Everything that an agent can do to files in one turn."""
    (root / "src" / "main.py").write_bytes(b"\xef\xbb\xbfone\r\n2\r\n")
    (root / "README").unlink()
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "new").write_text("new")
    (root / "empty").mkdir()
    (root / "script").chmod(0o755)
    (root / "secret").unlink()
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    (root / "file").unlink()
    (root / "file").mkdir()
    (root / "file" / "inside").write_bytes(b"\0")
    (root / "folder" / "inside").unlink()
    (root / "folder").rmdir()
    (root / "folder").write_text("now a file")
    (root / "logs").rmdir()
    (root / "into").rmdir()
    (root / "into").symlink_to("src")


@pytest.fixture
def varied(repo: Path) -> Path:
    (repo / "script").write_text("#!/bin/sh\n")
    (repo / "secret").write_text("secret")
    (repo / "secret").chmod(0o600)
    (repo / "script").chmod(0o644)
    (repo / "link").symlink_to("README")
    (repo / "file").write_text("a file")
    (repo / "folder").mkdir()
    (repo / "folder" / "inside").write_bytes(b"inside\r\n")
    (repo / "logs").mkdir()
    (repo / "into").mkdir()
    (repo / os.fsdecode(b"bad\xff\nname")).write_text("odd")
    return repo


async def test_undo_and_redo_bring_back_every_byte_mode_link_and_folder(
    varied: Path, session: Session
) -> None:
    before = seen(varied)
    start = await session.take()
    rework(varied)
    (varied / os.fsdecode(b"bad\xff\nname")).unlink()
    done = seen(varied)
    end = await session.take()
    undone = await session.undo(start, end)
    assert undone.conflicts == ()
    assert seen(varied) == before
    assert undone.after.tree == start.tree
    redone = await session.undo(undone.before, undone.after)
    assert redone.conflicts == ()
    assert seen(varied) == done
    await session.undo(redone.before, redone.after)
    assert seen(varied) == before


async def test_a_restore_says_what_it_did_to_each_file(session: Session) -> None:
    root = session.root
    start = await session.take()
    (root / "src" / "main.py").write_text("ONE\ntwo\nthree\nfour\nfive\n")
    (root / "new").write_text("new")
    (root / "README").unlink()
    end = await session.take()
    (root / "src" / "main.py").write_text("ONE\ntwo\nthree\nfour\nFIVE\n")
    result = await session.undo(start, end)
    assert result.files == (
        RestoredFile("README", "created"),
        RestoredFile("new", "deleted"),
        RestoredFile("src/main.py", "merged"),
    )
    assert (root / "src" / "main.py").read_text() == "one\ntwo\nthree\nfour\nFIVE\n"
    assert (result.before.label, result.after.label) == ("before: restored", "restored")


async def test_what_the_user_did_to_other_files_stays(session: Session) -> None:
    root = session.root
    start = await session.take()
    (root / "src" / "main.py").write_text("agent\n")
    end = await session.take()
    (root / "README").write_text("mine\n")
    (root / "mine").write_text("mine\n")
    await session.undo(start, end)
    assert (root / "src" / "main.py").read_text() == "one\ntwo\nthree\nfour\nfive\n"
    assert ((root / "README").read_text(), (root / "mine").read_text()) == ("mine\n", "mine\n")


async def test_line_ends_and_a_byte_order_mark_survive_a_merge(session: Session) -> None:
    file = session.root / "crlf"
    lines = [b"\xef\xbb\xbfone", b"two", b"three", b"four", b"five"]
    file.write_bytes(b"\r\n".join(lines))
    start = await session.take()
    file.write_bytes(b"\r\n".join([*lines[:-1], b"FIVE"]))
    end = await session.take()
    file.write_bytes(b"\r\n".join([b"\xef\xbb\xbfONE", *lines[1:-1], b"FIVE"]))
    assert (await session.undo(start, end)).conflicts == ()
    assert file.read_bytes() == b"\r\n".join([b"\xef\xbb\xbfONE", *lines[1:]])


async def test_one_conflict_refuses_the_whole_with_a_reason_for_each_file(session: Session) -> None:
    root = session.root
    (root / "binary").write_bytes(b"\0one")
    start = await session.take()
    (root / "src" / "main.py").write_text("agent\n")
    (root / "README").unlink()
    (root / "new").write_text("new")
    (root / "binary").write_bytes(b"\0two")
    (root / "clean").write_text("clean")
    end = await session.take()
    (root / "src" / "main.py").write_text("mine\n")
    (root / "README").write_text("mine again\n")
    (root / "new").write_text("new and mine")
    (root / "binary").write_bytes(b"\0three")
    before = seen(root)
    result = await session.undo(start, end)
    assert seen(root) == before
    assert result.files == ()
    assert result.after == result.before
    assert [str(each) for each in result.conflicts] == [
        "README: it was deleted and would come back, but something else was put in its place since",
        "binary: it was changed since, and it is not text that could be merged",
        "new: it was changed since, and would be deleted with that change",
        "src/main.py: the same lines were changed since",
    ]
    kept = ("README", "binary", "new", "src/main.py")
    assert (await session.undo(start, end, keep=kept)).files == (RestoredFile("clean", "deleted"),)


async def test_a_file_that_the_user_deleted_is_not_forced_upon_them(session: Session) -> None:
    start = await session.take()
    (session.root / "README").write_text("agent\n")
    end = await session.take()
    (session.root / "README").unlink()
    result = await session.undo(start, end)
    assert [each.path for each in result.conflicts] == ["README"]
    assert not (session.root / "README").exists()


async def test_rewind_takes_back_several_turns_and_keeps_the_work_between(session: Session) -> None:
    root = session.root
    file = root / "src" / "main.py"
    turns: list[Span] = []
    for number in range(3):
        start = await session.take(f"before {number}")
        file.write_text(
            f"agent {number}\n" + "".join(file.read_text().splitlines(keepends=True)[number > 0 :])
        )
        (root / f"made{number}").write_text("made")
        turns.insert(0, Span(start, await session.take(f"after {number}")))
        file.write_text(file.read_text() + f"mine {number}\n")
    result = await session.restore(*turns)
    assert result.conflicts == ()
    assert file.read_text() == "one\ntwo\nthree\nfour\nfive\nmine 0\nmine 1\nmine 2\n"
    assert not list(root.glob("made*"))
    redone = await session.undo(result.before, result.after)
    assert redone.conflicts == ()
    assert file.read_text().startswith("agent 2\n")


async def test_folders_that_the_last_file_has_left_are_known_to_be_empty(session: Session) -> None:
    root = session.root
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "c").touch()
    start = await session.take()
    (root / "src" / "main.py").unlink()
    (root / "a" / "b" / "c").unlink()
    (root / "a" / "b").rmdir()
    end = await session.take()
    assert end.beside.folders == ("a", "src")
    assert await session.take() == end
    done = seen(root)
    undone = await session.undo(start, end)
    await session.undo(undone.before, undone.after)
    assert seen(root) == done


async def test_nothing_to_do_is_done_at_once(session: Session) -> None:
    start = await session.take()
    result = await session.undo(start, start)
    assert (result.files, result.conflicts, result.after) == ((), (), start)


async def test_an_ignored_file_in_the_way_is_not_overwritten(session: Session) -> None:
    root = session.root
    (root / "out").write_text("recorded")
    start = await session.take()
    (root / "out").unlink()
    end = await session.take()
    (root / ".gitignore").write_text("out\n")
    (root / "out").write_text("precious")
    result = await session.undo(start, end)
    assert [each.path for each in result.conflicts] == ["out"]
    assert (root / "out").read_text() == "precious"


async def test_files_that_a_checkpoint_left_out_stay_as_they_are(repo: Path, tmp_path: Path) -> None:
    session = Session(repo, tmp_path / "data", Limits(file_bytes=100))
    (repo / "grows").write_bytes(b"x" * 10)
    start = await session.take()
    (repo / "grows").write_bytes(b"x" * 200)
    (repo / "README").write_text("agent")
    end = await session.take()
    result = await session.undo(start, end)
    assert result.skipped == ()
    assert (repo / "grows").stat().st_size == 200
    (repo / "grows").write_bytes(b"y" * 20)
    later = await session.take()
    assert (await session.undo(end, later)).skipped == (LeftOut("grows", "large"),)
    assert (repo / "grows").read_bytes() == b"y" * 20
    (repo / "grows").write_bytes(b"z" * 200)
    assert [each.path for each in (await session.undo(start, later)).conflicts] == ["grows"]


async def test_what_lay_in_a_folder_that_was_left_out_is_not_deleted(repo: Path, tmp_path: Path) -> None:
    session = Session(repo, tmp_path / "data", Limits(new_files=5))
    (repo / "data").mkdir()
    for number in range(10):
        (repo / "data" / str(number)).write_text("data")
    start = await session.take()
    assert start.left_out == (LeftOut("data/", "many"),)
    for number in range(7):
        (repo / "data" / str(number)).unlink()
    end = await session.take()
    result = await session.undo(start, end)
    assert result.skipped == tuple(LeftOut(f"data/{number}", "many") for number in (7, 8, 9))
    assert sorted(file.name for file in (repo / "data").iterdir()) == ["7", "8", "9"]


async def test_a_folder_that_became_a_link_out_of_the_tree_is_never_written_through(
    session: Session, tmp_path: Path
) -> None:
    root = session.root
    start = await session.take()
    (root / "src" / "main.py").unlink()
    end = await session.take()
    (tmp_path / "outside").mkdir()
    (root / "src").rmdir() if (root / "src").exists() else None
    (root / "src").symlink_to(tmp_path / "outside")
    before = seen(root)
    result = await session.undo(start, end)
    assert result.conflicts == (Conflict("src/main.py", "a folder, a link or a file is in its way"),)
    assert seen(root) == before
    assert list((tmp_path / "outside").iterdir()) == []


async def test_things_in_the_way_are_named_and_everything_is_taken_back(session: Session) -> None:
    root = session.root
    (root / "thing").write_text("thing")
    start = await session.take()
    (root / "thing").unlink()
    (root / "README").unlink()
    (root / "new").mkdir()
    (root / "new" / "file").touch()
    end = await session.take()
    (root / "thing").mkdir()
    (root / "thing" / "mine").write_text("mine")
    before = seen(root)
    result = await session.undo(start, end)
    assert result.conflicts == (Conflict("thing", "a folder, a link or a file is in its way"),)
    assert seen(root) == before


async def test_a_pipe_in_the_place_of_a_file_is_a_conflict(session: Session) -> None:
    start = await session.take()
    (session.root / "README").write_text("agent")
    end = await session.take()
    (session.root / "README").unlink()
    os.mkfifo(session.root / "README")
    async with asyncio.timeout(60):
        result = await session.undo(start, end)
    assert [each.path for each in result.conflicts] == ["README"]
    assert "not an ordinary file" in result.conflicts[0].reason


async def test_permission_bits_are_kept_when_a_file_is_replaced(session: Session) -> None:
    file = session.root / "README"
    file.chmod(0o640)
    start = await session.take()
    file.write_text("agent")
    file.chmod(0o750)
    end = await session.take()
    file.chmod(0o710)
    await session.undo(start, end)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("words\n", 0o600)


async def test_a_hard_link_elsewhere_is_not_written_through(session: Session, tmp_path: Path) -> None:
    start = await session.take()
    (session.root / "README").write_text("agent")
    end = await session.take()
    os.link(session.root / "README", tmp_path / "twin")
    await session.undo(start, end)
    assert ((tmp_path / "twin").read_text(), (session.root / "README").read_text()) == ("agent", "words\n")


async def test_a_checkpoint_can_be_restored_after_the_tree_was_moved(
    session: Session, tmp_path: Path
) -> None:
    start = await session.take()
    (session.root / "README").write_text("agent")
    end = await session.take()
    session.root = session.root.rename(tmp_path / "moved")
    assert (await session.undo(start, end)).conflicts == ()
    assert (session.root / "README").read_text() == "words\n"


async def test_a_cancelled_restore_is_taken_back_or_was_done(varied: Path, session: Session) -> None:
    before = seen(varied)
    start = await session.take()
    rework(varied)
    done = seen(varied)
    end = await session.take()
    outcomes: list[bool] = []
    for milliseconds in range(20, 200, 20):
        try:
            async with asyncio.timeout(milliseconds / 1000):
                await session.undo(start, end)
        except TimeoutError:
            assert seen(varied) in (before, done)
        outcomes.append(seen(varied) == before)
        if outcomes[-1]:
            break
    if not outcomes[-1]:
        await session.undo(start, end)
    assert seen(varied) == before
    assert list(session.checkpoints.folder.glob("trees/*/restore.json")) == []


async def test_an_edit_while_the_restore_runs_is_not_lost(session: Session) -> None:
    """The editor saves again and again; every text that it saved last is there in the end."""
    root = session.root
    start = await session.take()
    (root / "README").write_text("agent")
    end = await session.take()
    for number in range(5):
        async with asyncio.TaskGroup() as group:
            undoing = group.create_task(session.undo(start, end))
            await asyncio.sleep(number * 0.02)
            text = (root / "README").read_text() + f" mine {number}"
            (root / "README").write_text(text)
        assert (root / "README").read_text() == text or undoing.result().conflicts == ()
        assert f"mine {number}" in await history(session, "README")
        (root / "README").write_text("agent")


async def history(session: Session, path: str) -> str:
    """All contents that a file has now or had in a checkpoint."""
    texts = [(session.root / path).read_text()]
    for checkpoint in await session.checkpoints.list(session.name):
        blob = (await session.holds(checkpoint))[path]
        texts.append(git(session.root, "cat-file", "blob", blob, env=session.reading).decode())
    return "\n".join(texts)


async def test_two_sessions_undo_their_own_turns_on_one_tree(session: Session, tmp_path: Path) -> None:
    root = session.root
    other = Session(root, tmp_path / "data", name="s2")
    (root / "a").write_text("a")
    (root / "b").write_text("b")
    starts = [await session.take(), await other.take()]
    (root / "a").write_text("agent a")
    mine = await session.take()
    (root / "b").write_text("agent b")
    theirs = await other.take()
    # The second session saw the first one's change happen within its own turn.
    results = await asyncio.gather(session.undo(starts[0], mine), other.undo(mine, theirs))
    assert [result.conflicts for result in results] == [(), ()]
    assert ((root / "a").read_text(), (root / "b").read_text()) == ("a", "b")


# --- the three-way rules -------------------------------------------------------------------------


def file(blob: str, mode: str = "100644") -> Version:
    return Version(mode, blob)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "result"),
    [
        (file("2"), file("2"), file("1"), file("1")),
        (file("2"), file("2"), None, None),
        (None, None, file("1"), file("1")),
        (file("2"), file("1"), file("1"), file("1")),
        (file("2"), None, None, None),
        (None, file("1"), file("1"), file("1")),
        (file("2"), file("3"), file("1"), Mix("2", "3", "1", "100644")),
        (file("2", "100755"), file("3", "100755"), file("2"), file("3")),
        (file("2", "100755"), file("2"), file("1", "100755"), file("1")),
        (file("2", "100755"), file("3", "100755"), file("1"), Mix("2", "3", "1", "100644")),
    ],
)
def test_what_one_side_left_alone_follows_the_other(
    base: Version | None, ours: Version | None, theirs: Version | None, result: object
) -> None:
    assert combine(base, ours, theirs) == result


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (file("2"), None, file("1")),
        (file("2"), file("3"), None),
        (None, file("3"), file("1")),
        (file("2"), file("3", "120000"), file("1")),
        (file("2"), file("3"), file("1", "120000")),
    ],
)
def test_what_cannot_be_merged_gives_a_reason(
    base: Version | None, ours: Version | None, theirs: Version | None
) -> None:
    assert isinstance(combine(base, ours, theirs), str)


def test_a_checkpoint_is_plain_data(repo: Path, tmp_path: Path) -> None:
    taken = asyncio.run(Session(repo, tmp_path / "data").take())
    assert taken == Checkpoint(
        taken.id, "s1", 1, "", taken.at, str(repo), git(repo, "write-tree").decode().strip(), taken.beside
    )
