"""Several windows on one session, through real connections: who sees what, who decides, who lends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hermes_acp.cli.acp_client import AgentError, AgentGone
from tests.agent.editors import Editor, Serve, buffers, editing, eventually, saved
from tests.agent.server import Desk, act, call, serving

pytestmark = pytest.mark.programs

ASK = {"user": "may I"}
SCRIPT = [
    act(call("write_file", path="a.txt", content="ours\n"), when=ASK),
    act({"text": "slow ", "repeat": 100_000, "delay": 0.002}, when={"user": "talk"}),
    act(call("ask_user", question="Which?"), when={"user": "question"}),
    act(call("read_file", path="a.txt"), when={"user": "read"}),
    act(call("run_command", command="touch made.txt && echo from here"), when={"user": "run"}),
    act({"text": "quick"}, when={"user": "quick"}),
    act({"text": "done"}, when={"result": ""}),
]
SHOWN = ("user_message_chunk", "agent_message_chunk", "session_info_update")


async def two(stack: AsyncExitStack, desk: Desk, **capabilities: Any) -> tuple[Editor, Editor]:
    """Two windows on one new session."""
    first = await stack.enter_async_context(editing(desk, "first", **capabilities))
    second = await stack.enter_async_context(editing(desk, "second", **capabilities))
    await second.join(desk, await first.new(desk))
    return first, second


async def test_everybody_sees_every_prompt_text_and_end_once_and_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        third = await stack.enter_async_context(editing(desk, "third"))
        await third.join(desk, first.session_id, "resume")
        windows = [first, second, third]
        assert await first.prompt("quick one") == "end_turn"
        assert await second.prompt("quick two") == "end_turn"
        for window in windows:
            await window.end_of_turn(2)
        told = [[_told(update) for update in window.of(*SHOWN)] for window in windows]
        title = ("session_info_update", "quick one")
        answer = ("agent_message_chunk", "quick")
        end = ("session_info_update", {"hermes": {"stopReason": "end_turn"}})
        one, other = ("user_message_chunk", "quick one"), ("user_message_chunk", "quick two")
        assert told == [
            [title, answer, end, other, answer, end],
            [one, title, answer, end, answer, end],
            [one, title, answer, end, other, answer, end],
        ]
        senders = [update["_meta"]["hermes"]["client"] for update in third.of("user_message_chunk")]
        assert [label.rpartition("-")[0] for label in senders] == ["first", "second"]


async def test_a_prompt_from_another_window_waits_behind_the_running_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        running = desk.tasks.create_task(first.prompt("talk"))
        await second.until(second.text, "text of the first prompt")
        waiting = desk.tasks.create_task(second.prompt("quick"))
        steered = await second.call("_session/steering", prompt=[{"type": "text", "text": "and tests"}])
        assert steered == {"outcome": "injected"}
        assert await first.call("session/set_mode", modeId="plan") == {}
        await second.until(lambda: second.of("current_mode_update"), "the new mode")
        second.cancel()
        assert (await running, await waiting) == ("cancelled", "cancelled")
        ended = await first.end_of_turn()
        assert (ended["stopReason"], ended["cancelledBy"].rpartition("-")[0]) == ("cancelled", "second")
        assert await second.prompt("quick") == "end_turn"


# --- questions -----------------------------------------------------------------------------------


async def test_the_first_answer_counts_and_the_others_are_withdrawn(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        third = await stack.enter_async_context(editing(desk, "third"))
        await third.join(desk, first.session_id)
        turn = desk.tasks.create_task(first.prompt("may I"))
        questions = [await window.question() for window in (first, second, third)]
        questions[1].choose("allow_once")
        assert await turn == "end_turn"
        for window in (first, third):
            await window.end_of_turn()
        assert [question.withdrawn for question in questions] == [True, False, True]
        told = [_resolved(window) for window in (first, second, third)]
        assert told == [[("second", "allow_once")], [], [("second", "allow_once")]]
        assert saved(desk.folder / "a.txt") == "ours\n"


async def test_answers_at_the_same_moment_count_once(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        turn = desk.tasks.create_task(first.prompt("may I"))
        questions = [await window.question() for window in (first, second)]
        questions[1].choose("reject_once")
        questions[0].choose("allow_once")
        assert await turn == "end_turn"
        await second.end_of_turn()
        (outcome,) = [_resolved(first) + _resolved(second)]
        assert outcome in ([("second", "reject_once")], [("first", "allow_once")])
        rejected = outcome == [("second", "reject_once")]
        assert saved(desk.folder / "a.txt") == (None if rejected else "ours\n")


async def test_a_window_that_cannot_decide_leaves_the_question_to_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        turn = desk.tasks.create_task(first.prompt("may I"))
        (await first.question()).dismiss()
        asked = await second.question()
        # An option that nobody offered decides nothing either, but then nobody is left.
        asked.choose("made_up")
        assert await turn == "end_turn"
        assert saved(desk.folder / "a.txt") is None
        assert _resolved(first) + _resolved(second) == []
        turn = desk.tasks.create_task(first.prompt("may I"))
        (await first.question(2)).dismiss()
        (await second.question(2)).choose("allow_once")
        assert await turn == "end_turn"
        assert saved(desk.folder / "a.txt") == "ours\n"


async def test_a_form_is_filled_in_where_it_can_be_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        plain, _ = await two(stack, desk)
        assert await plain.prompt("question: nobody can show it") == "end_turn"
        forms = await stack.enter_async_context(editing(desk, "forms", elicitation={"form": {}}))
        await forms.join(desk, plain.session_id)
        turn = desk.tasks.create_task(plain.prompt("question: one can"))
        asked = await forms.question()
        asked.reply.set_result({"action": "accept", "content": {"answer": "red"}})
        assert await turn == "end_turn"
        assert [_result(update).split(";")[0] for update in _finished(plain)] == [
            "Nobody was there to answer",
            "The user answered: red",
        ]


async def test_a_question_outlives_the_window_that_prompted(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        turn = desk.tasks.create_task(_gone(first.prompt("may I")))
        await first.question()
        asked = await second.question()
        first.vanish()
        assert await turn
        assert not asked.withdrawn
        asked.choose("allow_once")
        await second.end_of_turn()
        assert (saved(desk.folder / "a.txt"), second.text()) == ("ours\n", "done")


async def test_when_the_last_window_leaves_its_question_is_a_no_and_the_turn_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        turn = desk.tasks.create_task(_gone(first.prompt("may I")))
        await second.question()
        second.vanish()
        first.vanish()
        assert await turn
        later = await stack.enter_async_context(editing(desk, "later"))
        session = desk.server.sessions.get(first.session_id)
        assert session is not None
        await eventually(lambda: not session.busy)
        await later.join(desk, first.session_id)
        # What is still on its way to the disk comes after the history.
        await later.until(lambda: later.text() == "done", "the answer")
        assert saved(desk.folder / "a.txt") is None


async def test_a_window_that_comes_in_the_middle_is_asked_too(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first = await stack.enter_async_context(editing(desk, "first"))
        await first.new(desk)
        turn = desk.tasks.create_task(first.prompt("may I"))
        await first.question()
        for how in ("load", "resume"):
            late = await stack.enter_async_context(editing(desk, how))
            await late.join(desk, first.session_id, how)
            asked = await late.question()
            (opened,) = late.of("tool_call")
            assert opened["toolCallId"] == asked.params["toolCall"]["toolCallId"]
            assert late.text("user_message_chunk") == ("may I" if how == "load" else "")
        asked.choose("allow_once")
        assert await turn == "end_turn"


# --- leaving, closing, deleting ------------------------------------------------------------------


async def test_a_turn_goes_on_without_its_window(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        turn = desk.tasks.create_task(_gone(first.prompt("talk")))
        await second.until(second.text, "text")
        first.vanish()
        assert await turn
        said = len(second.text())
        await second.until(lambda: len(second.text()) > said, "more text")
        second.cancel()
        assert (await second.end_of_turn())["stopReason"] == "cancelled"


async def test_closing_ends_the_prompts_of_that_window_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        running = desk.tasks.create_task(first.prompt("talk"))
        await second.until(second.text, "text")
        waiting = desk.tasks.create_task(second.prompt("quick"))
        await asyncio.sleep(0)
        assert await second.call("session/close") == {}
        assert await waiting == "cancelled"
        with pytest.raises(AgentError, match="load or resume it first"):
            await second.prompt("quick")
        seen, told = len(second.updates), len(first.updates)
        await first.until(lambda: len(first.updates) > told, "more text")
        assert len(second.updates) == seen
        assert await first.call("session/close") == {}
        assert await running == "cancelled"
        assert desk.server.sessions.get(first.session_id) is None


async def test_closing_the_window_whose_turn_runs_cancels_it(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        running = desk.tasks.create_task(first.prompt("may I"))
        await first.question()
        asked = await second.question()
        assert await first.call("session/close") == {}
        assert await running == "cancelled"
        assert (await second.end_of_turn())["cancelledBy"].startswith("first-")
        assert asked.withdrawn
        assert await second.prompt("quick") == "end_turn"


async def test_closing_in_all_windows_at_once_ends_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk)
        running = desk.tasks.create_task(first.prompt("talk"))
        await second.until(second.text, "text")
        closed = await asyncio.gather(first.call("session/close"), second.call("session/close"))
        assert (closed, await running) == ([{}, {}], "cancelled")
        assert desk.server.sessions.opened == 0


async def test_deleting_ends_the_session_for_all_windows(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        first, second = await two(stack, desk, session={"notices": {}})
        running = desk.tasks.create_task(first.prompt("talk"))
        await second.until(second.text, "text")
        assert await second.call("session/delete") == {}
        assert await running == "cancelled"
        with pytest.raises(AgentError, match="This session was deleted") as error:
            await first.prompt("quick")
        assert error.value.code == -32002
        with pytest.raises(AgentError, match="There is no session") as error:
            await first.join(desk, first.session_id)
        assert error.value.code == -32002
        assert desk.server.sessions.opened == 0


# --- lending -------------------------------------------------------------------------------------

FILES = {"fs": {"readTextFile": True, "writeTextFile": True}}


async def test_the_window_whose_prompt_runs_lends_its_buffers_and_else_the_newest(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk, AsyncExitStack() as stack:
        path = desk.folder / "a.txt"
        path.write_text("disk\n")
        texts = {name: {str(path): f"{name}\n"} for name in ("old", "new")}
        old = await stack.enter_async_context(editing(desk, "old", buffers(texts["old"]), **FILES))
        new = await stack.enter_async_context(editing(desk, "new", buffers(texts["new"]), **FILES))
        bare = await stack.enter_async_context(editing(desk, "bare"))
        await old.new(desk)
        for window in (new, bare):
            await window.join(desk, old.session_id)
        read = [await _read(window) for window in (old, new, bare)]
        new.vanish()
        await _left(desk, old.session_id, 2)
        read.append(await _read(bare))
        old.vanish()
        await _left(desk, old.session_id, 1)
        read.append(await _read(bare))
        assert read == ["old", "new", "new", "old", "disk"]


async def test_a_read_from_an_editor_that_leaves_goes_to_the_disk(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        (desk.folder / "a.txt").write_text("disk\n")
        lender = await stack.enter_async_context(editing(desk, "lender", **FILES))
        lender.holds = ("fs/read_text_file",)
        other = await stack.enter_async_context(editing(desk, "other"))
        await other.join(desk, await lender.new(desk))
        turn = desk.tasks.create_task(other.prompt("read"))
        await lender.question()
        lender.vanish()
        assert await turn == "end_turn"
        assert "disk" in _result(_finished(other)[-1])


async def test_a_write_to_an_editor_that_leaves_fails_clearly_and_the_next_one_goes_to_the_disk(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk, AsyncExitStack() as stack:
        path = desk.folder / "a.txt"
        lender = await stack.enter_async_context(editing(desk, "lender", buffers({}), **FILES))
        del lender.serves["fs/write_text_file"]
        lender.holds = ("fs/write_text_file",)
        other = await stack.enter_async_context(editing(desk, "other"))
        await other.join(desk, await lender.new(desk))
        turn = desk.tasks.create_task(other.prompt("may I"))
        await lender.question()
        lender.vanish()
        assert await turn == "end_turn"
        assert "left before it said whether it wrote" in _result(_finished(other)[-1])
        assert saved(path) is None
        assert await other.prompt("may I") == "end_turn"
        assert saved(path) == "ours\n"


def terminal() -> dict[str, Serve]:
    """The methods of an editor whose terminals never end by themselves."""
    return {
        "terminal/create": lambda _: {"terminalId": "t1"},
        "terminal/output": lambda _: {"output": "from there", "truncated": False},
        "terminal/release": lambda _: {},
    }


async def test_a_command_runs_in_the_terminal_of_a_window_and_is_shown_only_there(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        lender = await stack.enter_async_context(editing(desk, "lender", terminal(), terminal=True))
        lender.holds = ("terminal/wait_for_exit",)
        other = await stack.enter_async_context(editing(desk, "other"))
        await other.join(desk, await lender.new(desk))
        turn = desk.tasks.create_task(other.prompt("run"))
        (await other.question()).choose("allow_once")
        running = await lender.question()
        await lender.until(lambda: _terminals(lender), "the terminal")
        running.reply.set_result({"exitCode": 0})
        assert await turn == "end_turn"
        assert (_terminals(lender), _terminals(other)) == (["t1"], [])
        assert "from there" in _result(_finished(other)[-1])


async def test_a_command_in_a_terminal_that_vanishes_ends_and_the_next_one_is_our_own(tmp_path: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk, AsyncExitStack() as stack:
        lender = await stack.enter_async_context(editing(desk, "lender", terminal(), terminal=True))
        lender.holds = ("terminal/wait_for_exit",)
        other = await stack.enter_async_context(editing(desk, "other"))
        await other.join(desk, await lender.new(desk))
        turn = desk.tasks.create_task(other.prompt("run"))
        (await other.question()).choose("allow_once")
        await lender.question()
        lender.vanish()
        assert await turn == "end_turn"
        assert "the editor lost the terminal" in _result(_finished(other)[-1])
        turn = desk.tasks.create_task(other.prompt("run"))
        (await other.question(2)).choose("allow_once")
        assert await turn == "end_turn"
        assert "from here" in _result(_finished(other)[-1])


async def _gone(prompt: Any) -> bool:
    try:
        await prompt
    except AgentGone:
        return True
    return False


async def _left(desk: Desk, session_id: str, remaining: int) -> None:
    session = desk.server.sessions.get(session_id)
    assert session is not None
    await eventually(lambda: session.hub.answerers <= remaining)


async def _read(window: Editor) -> str:
    """Which of the texts a prompt to read gave to the model."""
    assert await window.prompt("read") == "end_turn"
    text = _result(_finished(window)[-1])
    return next(word for word in ("old", "new", "disk") if word in text)


def _told(update: Any) -> tuple[str, object]:
    if "content" in update:
        return update["sessionUpdate"], update["content"]["text"]
    return update["sessionUpdate"], update.get("_meta", update.get("title"))


def _terminals(window: Editor) -> list[str]:
    contents = [item for update in window.of("tool_call_update") for item in update.get("content", [])]
    return [item["terminalId"] for item in contents if item["type"] == "terminal"]


def _result(update: Any) -> str:
    return str(update["content"][0]["content"]["text"])


def _resolved(window: Editor) -> list[tuple[str, str]]:
    metas = [update["_meta"]["hermes"] for update in window.of("tool_call_update") if "_meta" in update]
    return [(meta["resolvedBy"].rpartition("-")[0], meta["optionId"]) for meta in metas]


def _finished(window: Editor) -> list[Any]:
    return [item for item in window.of("tool_call_update") if item.get("status") in ("completed", "failed")]
