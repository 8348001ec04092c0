"""All sessions of a server: made, opened, listed, closed, deleted, also many at once."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_acp.agent.opening import BadPlace
from hermes_acp.agent.sessions import Sessions, UnknownSession
from hermes_acp.agent.turn import Place
from hermes_acp.events import JournalFailed, MessageCompleted, PromptDropped, TextDelta, TurnEnded
from hermes_acp.llm.base import LoginNeeded
from hermes_acp.storage.claims import SessionInUse
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.sessions import BadCursor
from hermes_acp.tools.base import SessionTools
from hermes_acp.tools.mcp.config import McpServer
from tests.agent.invariants import check_all
from tests.agent.server import PATIENCE, act, say, serving

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
CANCELLED = TurnEnded("cancelled")
LONG = say("word ", repeat=100_000, delay=0.001)

HOLD = """
import sys
from pathlib import Path
from hermes_acp.storage.claims import Claims
Claims(Path(sys.argv[1])).claim(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_session_is_found_again_by_a_later_server(tmp_path: Path) -> None:
    script = [say("one"), say("two")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("first")
    async with serving(tmp_path, script) as desk:
        again = await desk.open(window.session.session_id)
        assert again.seen == window.durable
        assert await again.prompt("second") == DONE
        assert again.texts == ["one", "two"]
        check_all(again.seen)


async def test_an_empty_session_outlives_its_server(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("one")]) as desk:
        session_id = (await desk.new()).session.session_id
    async with serving(tmp_path, [say("one")]) as desk:
        window = await desk.open(session_id)
        assert await window.prompt("hello") == DONE
        check_all(window.seen)


async def test_opening_an_open_session_at_once_from_many_places_gives_one_session(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("one")]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        window.leave()
        windows = await asyncio.gather(*(desk.open(window.session.session_id) for _ in range(8)))
        assert len({id(item.session) for item in windows}) <= 2
        assert await windows[-1].prompt("again") == DONE
        check_all(windows[-1].seen)


async def test_opening_and_closing_at_once_never_gives_two_writers(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "x", "delay": 0.005}, when={"user": ""})]) as desk:
        window = await desk.new()
        session_id = window.session.session_id
        for _ in range(10):
            turn_id = window.begin("hello")
            await asyncio.sleep(0)
            _, again = await asyncio.gather(desk.server.sessions.close(session_id), desk.open(session_id))
            assert await window.end(turn_id) in (DONE, CANCELLED, PromptDropped())
            window = again
        assert await window.prompt("still there?") in (DONE, PromptDropped())
        window = await desk.open(session_id)
        check_all(window.seen)


async def test_closing_a_session_cancels_its_turn_and_says_whether_it_was_open(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.new()
        turn_id = window.begin("talk")
        waiting = window.begin("later")
        await window.see(TextDelta)
        assert await desk.server.sessions.close(window.session.session_id)
        assert await window.end(turn_id) == CANCELLED
        assert await window.end(waiting) == PromptDropped()
        assert not await desk.server.sessions.close(window.session.session_id)
        assert desk.server.sessions.get(window.session.session_id) is None
        again = await desk.open(window.session.session_id)
        assert await again.prompt("hello again") == DONE
        check_all(again.seen)


async def test_a_busy_session_is_given_as_it_is_and_an_idle_one_opened_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "x", "delay": 0.02}), say("y")]) as desk:
        window = await desk.new()
        turn_id = window.begin("go")
        await asyncio.sleep(0)
        window.leave()
        second = await desk.open(window.session.session_id)
        assert second.session is window.session
        assert await second.end(turn_id) == DONE
        second.leave()
        third = await desk.open(window.session.session_id)
        assert third.session is window.session
        assert await third.prompt("more") == DONE


async def test_deleting_forgets_a_session_with_all_its_events(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG]) as desk:
        window = await desk.new()
        turn_id = window.begin("talk")
        await window.see(TextDelta)
        session_id = window.session.session_id
        assert await desk.server.sessions.delete(session_id)
        assert await window.end(turn_id) == CANCELLED
        assert not await desk.server.sessions.delete(session_id)
        with pytest.raises(UnknownSession, match=f"no session '{session_id}'"):
            await desk.open(session_id)
        assert (await desk.server.sessions.page(None, None)).rows == ()


async def test_unknown_sessions_and_wrong_folders_are_refused_with_a_reason(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("x")]) as desk:
        sessions = desk.server.sessions
        window = await desk.new()
        with pytest.raises(UnknownSession):
            await desk.open("../../etc/passwd")
        with pytest.raises(BadPlace, match="does not exist"):
            await sessions.create(desk.opening(tmp_path / "gone"))
        (tmp_path / "file").touch()
        with pytest.raises(BadPlace, match="is not a folder"):
            await sessions.create(desk.opening(desk.folder, tmp_path / "file"))
        with pytest.raises(BadPlace, match="belongs to"):
            await sessions.open(window.session.session_id, desk.opening(tmp_path))
        assert not await sessions.delete("../../etc/passwd")
        assert sorted(path.name for path in (tmp_path / "home" / "data" / "claims").iterdir()) == [
            window.session.session_id
        ]


async def test_the_folder_may_be_named_by_a_link(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("x")]) as desk:
        link = tmp_path / "link"
        link.symlink_to(desk.folder)
        session = await desk.server.sessions.create(desk.opening(link))
        assert session.place.cwd == str(desk.folder)
        window = await desk.open(session.session_id)
        assert window.session is not session
        for folder in (link, desk.folder):
            page = await desk.server.sessions.page(str(folder), None)
            assert [row.cwd for row in page.rows] == [str(link)]
        assert (await desk.server.sessions.page(str(tmp_path), None)).rows == ()
        with pytest.raises(BadCursor, match="without a cursor"):
            await desk.server.sessions.page(None, "nonsense")


async def test_additional_folders_are_those_of_the_last_opening(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("x")]) as desk:
        (tmp_path / "more").mkdir()
        opening = desk.opening(desk.folder, tmp_path / "more", desk.folder)
        session = await desk.server.sessions.create(opening)
        assert session.place.roots == (str(desk.folder), str(tmp_path / "more"))
        again = await desk.server.sessions.open(session.session_id, desk.opening())
        assert again.place.roots == (str(desk.folder),)
        (row,) = (await desk.server.sessions.page(None, None)).rows
        assert row.additional_directories == ()


async def test_a_session_that_another_process_holds_can_be_neither_opened_nor_deleted(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, [say("x")]) as desk:
        window = await desk.new()
        session_id = window.session.session_id
        await desk.server.sessions.close(session_id)
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLD, str(desk.database.parent / "claims"), session_id,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        with pytest.raises(SessionInUse, match=f"process {holder.pid}"):
            await desk.open(session_id)
        with pytest.raises(SessionInUse):
            await desk.server.sessions.delete(session_id)
        holder.kill()
        await holder.wait()
        assert await (await desk.open(session_id)).prompt("mine now") == DONE


async def test_without_a_model_no_session_is_made(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        with pytest.raises(LoginNeeded, match="No language model is set up"):
            await desk.new()
        assert (await desk.server.sessions.page(None, None)).rows == ()


async def test_a_session_that_cannot_get_its_tools_ends_alone_and_tells_its_window(tmp_path: Path) -> None:
    async def broken(servers: tuple[McpServer, ...], place: Place) -> SessionTools:
        raise RuntimeError("no tools today")

    async with serving(tmp_path, [say("x"), say("y")]) as desk, asyncio.TaskGroup() as tasks:
        sessions = Sessions(replace(desk.server.sessions._shared, tools=broken))
        living = tasks.create_task(sessions.run())
        window = desk.watch(await sessions.create(desk.opening()))
        ended = await window.prompt("hello")
        assert ended == JournalFailed("The session has ended. Open it again to go on.")
        await window.until(lambda: sessions.get(window.session.session_id) is None)
        assert await window.prompt("hello?") == PromptDropped()
        with pytest.raises(StorageError):
            await asyncio.wait_for(window.session.load(), PATIENCE)
        living.cancel()
        again = await desk.open(window.session.session_id)
        assert await again.prompt("hello") == DONE
        check_all(again.seen)


async def test_sessions_do_not_hear_each_other(tmp_path: Path) -> None:
    script = [act({"text": "for one"}, when={"user": "one"}), act({"text": "for two"}, when={"user": "two"})]
    async with serving(tmp_path, script) as desk:
        windows = await asyncio.gather(*(desk.new() for _ in range(6)))
        words = ["one", "two"] * 3
        ends = await asyncio.gather(*(item.prompt(word) for item, word in zip(windows, words, strict=True)))
        assert ends == [DONE] * 6
        assert [item.of(MessageCompleted)[0].text for item in windows] == [f"for {word}" for word in words]
        for window in windows:
            check_all(window.seen)


async def test_many_sessions_end_with_their_server(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG]) as desk:
        windows = [await desk.new() for _ in range(5)]
        for window in windows:
            window.begin("talk")
        for window in windows:
            await window.see(TextDelta)
    async with serving(tmp_path, [LONG]) as desk:
        for window in windows:
            again = await desk.open(window.session.session_id)
            assert again.of(TurnEnded) == [CANCELLED]
            check_all(again.seen)
