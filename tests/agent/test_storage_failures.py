"""A disk that is full or damaged: a clear error, nothing acknowledged is lost, and life goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.events import JournalFailed, Steered, TurnEnded
from hermes_acp.ops import Answer
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.sessions import SessionTable
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Desk, Window, act, call, holding, messages, say, serving
from tests.mounts import fill, mounted

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
TALK = act({"text": "word " * 400}, when={"user": ""})
SIZE = "size=1m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `home` is a file system of its own, a small one."""
    with mounted(tmp_path / "home", SIZE):
        yield tmp_path


def make_room(root: Path) -> None:
    """Have the disk as it was."""
    (root / "home" / "filler").unlink()


async def until_full(window: Window) -> JournalFailed:
    """Prompt until the journal cannot be written: what space the database had kept is used up."""
    for _ in range(200):
        ended = await window.prompt("talk")
        if isinstance(ended, JournalFailed):
            return ended
        assert ended == DONE
    raise AssertionError("the disk was never full")


async def check_goes_on(desk: Desk, window: Window) -> None:
    """The same session works again, here and for whoever opens it later, without loss or ghosts."""
    acknowledged = list(window.durable)
    assert await window.prompt("go on") == DONE
    journal = await window.session.load()
    assert journal[: len(acknowledged)] == acknowledged
    assert window.durable == journal
    check_all([item for item in window.seen if item.seq is not None])
    check_messages(messages(window.session))
    await desk.server.sessions.close(window.session.session_id)
    assert (await desk.open(window.session.session_id)).durable == journal


async def test_a_full_disk_is_said_and_the_session_goes_on_when_there_is_room(small_disk: Path) -> None:
    async with serving(small_disk, [TALK]) as desk:
        window, quiet = await desk.new(), await desk.new()
        await window.prompt("hello")
        await quiet.prompt("hello")
        fill(small_disk / "home" / "filler")
        failed = await until_full(window)
        assert "The disk is full" in failed.message
        assert "Free some space" in failed.message
        # The next one fails as clearly, and reading goes on.
        assert isinstance(await window.prompt("again"), JournalFailed)
        await desk.server.sessions.close(quiet.session.session_id)
        assert (await desk.open(quiet.session.session_id)).seen == quiet.durable
        assert len((await desk.server.sessions.page(None, None)).rows) == 2
        with pytest.raises(StorageError, match="disk is full"):
            while True:
                await desk.new()
        make_room(small_disk)
        await check_goes_on(desk, window)
        assert await (await desk.new()).prompt("hello") == DONE


async def test_an_effect_waits_for_a_journal_that_cannot_be_written(small_disk: Path) -> None:
    write = act(call("write_file", path="a", content="x"), when={"user": "write"})
    after = act({"text": "done"}, when={"result": ""})
    async with serving(small_disk, [write, after, TALK], mode="accept_edits") as desk:
        window = await desk.new()
        await window.prompt("hello")
        fill(small_disk / "home" / "filler")
        await until_full(window)
        assert isinstance(await window.prompt("write"), JournalFailed)
        assert list(desk.folder.iterdir()) == []
        make_room(small_disk)
        await check_goes_on(desk, window)


async def test_a_server_that_starts_on_a_full_disk_still_reads(small_disk: Path) -> None:
    async with serving(small_disk, [TALK]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        fill(small_disk / "home" / "filler")
        await until_full(window)
    async with serving(small_disk, [TALK]) as desk:
        assert len((await desk.server.sessions.page(None, None)).rows) == 1
        make_room(small_disk)
        again = await desk.open(window.session.session_id)
        assert again.durable[: len(window.durable)] == window.durable
        check_all(again.seen)
        assert await again.prompt("hello") == DONE


async def test_steering_that_could_not_be_written_joins_later(small_disk: Path) -> None:
    ask = act(call("ask_user", question="Well?"), when={"user": "ask"})
    async with serving(small_disk, [ask, act({"text": "x" * 300_000}, when={"result": ""}), TALK]) as desk:
        window = await desk.new(holding)
        turn_id = window.begin("ask")
        await window.until(lambda: bool(window.session.open_questions()))
        fill(small_disk / "home" / "filler")
        window.steer("y" * 300_000)
        (question,) = window.session.open_questions()
        window.session.submit(Answer(question.request_id, outcome="declined"))
        assert isinstance(await window.end(turn_id), JournalFailed)
        make_room(small_disk)
        assert await window.prompt("go on") == DONE
        assert [item.content for item in window.of(Steered)] == [(TextBlock("y" * 300_000),)]


async def test_a_damaged_database_is_set_aside_and_everybody_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("hi")]) as desk:
        desk.database.parent.mkdir(parents=True)
        desk.database.write_bytes(b"this is no database" * 1000)
        assert desk.server.sessions.trouble is None
        assert await (await desk.new()).prompt("hello") == DONE
        trouble = desk.server.sessions.trouble
        assert trouble is not None
        (aside,) = desk.database.parent.glob("*damaged*")
        assert str(aside) in trouble


async def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data").write_text("a file")
    async with serving(tmp_path, [say("hi")]) as desk:
        with pytest.raises(StorageError, match="home/data"):
            await desk.new()
        (tmp_path / "home" / "data").unlink()
        assert await (await desk.new()).prompt("hello") == DONE


async def test_events_of_a_session_that_somebody_deleted_below_it_are_an_error_not_the_end(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, [TALK]) as desk:
        window, other = await desk.new(), await desk.new()
        await window.prompt("hello")
        database = await Database.open(desk.database)
        assert await SessionTable(database).delete(window.session.session_id)
        await database.close()
        assert isinstance(await window.prompt("still there?"), JournalFailed)
        assert await other.prompt("hello") == DONE
