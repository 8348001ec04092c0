"""A crash at any moment: what was not finished is taken back, and what the user did since stays."""

import asyncio
from pathlib import Path

import pytest

from hermes_acp.workspace.checkpoints.records import Checkpoint, CheckpointError
from hermes_acp.workspace.places import Version
from hermes_acp.workspace.swap import Clash, Exchange, Order, Swap, take_back
from tests.workspace.checkpoints.trees import Session, crashing, git, new_repository, seen

pytestmark = pytest.mark.slow

STEPS = 400
"""More than a restore of these trees takes."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = new_repository(tmp_path / "repo")
    (root / "file").write_text("file")
    (root / "folder").mkdir()
    (root / "folder" / "inside").write_text("inside")
    (root / "link").symlink_to("README")
    (root / "logs").mkdir()
    return root


def rework(root: Path) -> None:
    (root / "README").write_text("agent")
    (root / "file").unlink()
    (root / "file").mkdir()
    (root / "file" / "inside").write_text("new")
    (root / "folder" / "inside").unlink()
    (root / "folder").rmdir()
    (root / "folder").write_text("now a file")
    (root / "link").unlink()
    (root / "link").symlink_to("src")
    (root / "logs").rmdir()
    (root / "empty").mkdir()


def one_turn(session: Session) -> tuple[Checkpoint, Checkpoint]:
    async def turn() -> tuple[Checkpoint, Checkpoint]:
        start = await session.take()
        await asyncio.to_thread(rework, session.root)
        return start, await session.take()

    return asyncio.run(turn())


def crash_somewhere(root: Path, data: Path, first: int, stride: int) -> int:
    """Undo, crash at every `stride`th step, and look each time; gives how many crashes there were."""
    before = seen(root)
    start, end = one_turn(Session(root, data))
    done = seen(root)
    restores = 0
    for crashes, steps in enumerate(range(first, STEPS, stride)):
        crashed = crashing(lambda: Session(root, data).undo(start, end), steps)
        session = Session(root, data)
        assert asyncio.run(session.checkpoints.recover(str(root))) == ()
        labels = [each.label for each in asyncio.run(session.checkpoints.list("s1"))]
        if seen(root) == before:
            # It was done, and only cleaning up was left.
            restores += 1
            assert labels.count("restored") == restores
            assert asyncio.run(session.take()).tree == start.tree
            redone = asyncio.run(session.undo(end, start))
            assert redone.conflicts == ()
            restores += 1
        else:
            assert crashed
            assert labels.count("restored") == restores
        assert seen(root) == done
        if not crashed:
            return crashes
    raise AssertionError("a restore has more steps than expected")


def test_a_crash_in_a_restore_is_taken_back_at_the_next_start(root: Path, tmp_path: Path) -> None:
    assert crash_somewhere(root, tmp_path / "data", 9, 17) > 3


def test_a_crash_at_every_step_of_a_restore_is_taken_back(root: Path, tmp_path: Path) -> None:
    assert crash_somewhere(root, tmp_path / "data", 0, 1) > 50


def test_what_the_user_did_after_a_crash_stays(root: Path, tmp_path: Path) -> None:
    start, end = one_turn(Session(root, tmp_path / "data"))
    restored: set[str] = set()
    for steps in range(0, STEPS, 7):
        crashing(lambda: Session(root, tmp_path / "data").undo(start, end), steps)
        half_done = (root / "README").read_text()
        restored.add(half_done)
        (root / "README").write_text(f"{half_done} and mine")
        session = Session(root, tmp_path / "data")
        asyncio.run(session.checkpoints.recover(str(root)))
        assert (root / "README").read_text() == f"{half_done} and mine"
        assert not list(root.glob(".hermes-*"))
        if (root / "folder").is_dir():
            # The crash came when all was done, or not at all.
            break
        (root / "README").write_text("agent")
        assert asyncio.run(session.take()).tree == end.tree
    assert restored == {"agent", "words\n"}


def test_a_crash_while_a_checkpoint_is_taken_costs_nothing(root: Path, tmp_path: Path) -> None:
    start, _ = one_turn(Session(root, tmp_path / "data"))
    for steps in range(0, STEPS, 2):
        (root / f"new{steps}").write_text("new")
        crashed = crashing(Session(root, tmp_path / "data").take, steps)
        session = Session(root, tmp_path / "data")
        assert f"new{steps}" in asyncio.run(session.holds(asyncio.run(session.take())))
        if not crashed:
            break
    (found, *_) = asyncio.run(session.checkpoints.list("s1"))
    assert found == start


def test_a_crash_while_tidying_loses_no_checkpoint(root: Path, tmp_path: Path) -> None:
    start, end = one_turn(Session(root, tmp_path / "data"))
    steps = 0
    while crashing(lambda: Session(root, tmp_path / "data").checkpoints.tidy(0.0), steps):
        steps += 1
        session = Session(root, tmp_path / "data")
        assert asyncio.run(session.checkpoints.list("s1")) == [start, end]
    assert steps > 1
    assert asyncio.run(session.undo(start, end)).conflicts == ()


@pytest.mark.parametrize("after", [Version("100644", "c59d9b6344f1af00e504ba698129f07a34bbed8d"), None])
def test_what_is_written_into_an_open_file_while_it_is_replaced_is_not_lost(
    after: Version | None, root: Path, tmp_path: Path
) -> None:
    before = Version("100644", git(root, "hash-object", "README").decode().strip())
    exchange = Exchange("README", before, after, 0o644)
    swap = Swap(Order(str(root), "sha1", (exchange,)), tmp_path / "restore.json")
    with (root / "README").open("a") as editor:
        swap.prepare()
        swap.stage({"c59d9b6344f1af00e504ba698129f07a34bbed8d": b"x\n"})
        swap.apply()
        editor.write("and mine\n")
    with pytest.raises(Clash):
        swap.finish()
    take_back(tmp_path / "restore.json")
    assert (root / "README").read_text() == "words\nand mine\n"


def test_a_damaged_journal_is_said_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    session = Session(root, tmp_path / "data")
    one_turn(session)
    (folder,) = session.checkpoints.folder.glob("trees/*")
    (folder / "restore.json").write_text("{")
    before = seen(root)
    with pytest.raises(CheckpointError, match=r"restore\.json is damaged"):
        asyncio.run(session.take())
    assert seen(root) == before
