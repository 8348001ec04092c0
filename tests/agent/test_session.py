"""One session: cancel in every state, queued prompts, steering, answers, and life without windows."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import psutil
import pytest

from hermes_acp.agent.history import title_of
from hermes_acp.agent.inbox import QUEUE_BOUND, STEER_BOUND, TooMany
from hermes_acp.content import ImageBlock, ResourceBlock, TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    CompactionStarted,
    ContextCompacted,
    JournalFailed,
    MessageCompleted,
    PromptDropped,
    QuestionAsked,
    Steered,
    StepStarted,
    TextDelta,
    TitleChanged,
    ToolCallProgress,
    TurnEnded,
    TurnStarted,
)
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Desk, Window, act, call, holding, messages, say, serving

pytestmark = pytest.mark.programs

CANCELLED = TurnEnded("cancelled")
DONE = TurnEnded("end_turn")
LONG = say("word ", repeat=100_000, delay=0.001)
"""An answer that lasts longer than any test."""


def alive(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def check_next_prompt(window: Window) -> None:
    """The session is as good as new, and its stream and history are sound."""
    assert await window.prompt("and now?") == DONE
    check_all(window.seen)
    check_messages(messages(window.session))


async def test_a_turn_is_what_the_script_says_from_the_first_event_to_the_last(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"thought": "hm"}, {"text": "hello", "chunks": 5})]) as desk:
        window = await desk.new()
        turn_id = window.begin("Say hello")
        assert await window.end(turn_id) == DONE
        assert [type(item.event).__name__ for item in window.durable] == [
            "SessionStarted",
            "TurnStarted",
            "MessageCompleted",
            "UsageUpdated",
            "TurnEnded",
        ]
        (message,) = window.of(MessageCompleted)
        assert (message.text, message.thought) == ("hello", "hm")
        assert [item.text for item in window.of(TextDelta)] == list("hello")
        assert window.of(TurnStarted)[0].client == "test"
        assert window.durable[-1].turn_id == turn_id
        check_all(window.seen)


# --- cancel --------------------------------------------------------------------------------------


async def test_cancel_while_the_model_streams_keeps_what_was_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.new()
        turn_id = window.begin("talk")
        await window.see(TextDelta, 3)
        assert window.cancel()
        assert await window.end(turn_id) == CANCELLED
        shown = "".join(item.text for item in window.of(TextDelta))
        assert window.texts == [shown]
        await check_next_prompt(window)


async def test_cancel_while_a_command_runs_ends_it_with_its_children(tmp_path: Path) -> None:
    command = "sleep 600 & echo $! $$; wait"
    async with serving(tmp_path, [act(call("run_command", command=command)), say("again")]) as desk:
        window = await desk.new()
        turn_id = window.begin("run")
        await window.until(lambda: any(item.output for item in window.of(ToolCallProgress)))
        output = "".join(item.output for item in window.of(ToolCallProgress))
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        assert [outcome for outcome, _ in window.results] == ["cancelled"]
        assert not any(alive(int(pid)) for pid in output.split())
        await check_next_prompt(window)


async def test_cancel_while_a_permission_is_open_resolves_it_and_does_nothing(tmp_path: Path) -> None:
    script = [
        act(call("write_file", path="a", content="x"), call("write_file", path="b", content="x")),
        say("again"),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new(holding)
        turn_id = window.begin("write")
        await window.see(ApprovalRequested)
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        assert [outcome for outcome, _ in window.results] == ["cancelled", "cancelled"]
        assert window.session.open_questions() == ()
        assert list(desk.folder.iterdir()) == []
        await check_next_prompt(window)


async def test_cancel_while_a_question_is_open_resolves_it(tmp_path: Path) -> None:
    async with serving(tmp_path, [act(call("ask_user", question="Well?")), say("again")]) as desk:
        window = await desk.new(holding)
        turn_id = window.begin("ask")
        await window.see(QuestionAsked)
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        await check_next_prompt(window)


async def test_cancel_while_the_context_is_compacted_changes_nothing(tmp_path: Path) -> None:
    summary = act({"wait": 600}, {"text": "S"}, when={"system": "summarise"})
    async with serving(tmp_path, [say("one"), say("again"), summary]) as desk:
        window = await desk.new()
        await window.prompt("first")
        turn_id = window.begin("/compact")
        await window.see(CompactionStarted)
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        assert [item.status for item in window.of(ContextCompacted)] == ["cancelled"]
        assert len(messages(window.session)) == 2
        await check_next_prompt(window)


async def test_cancel_of_one_waiting_prompt_leaves_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "one"}, {"wait": 0.05}), say("three")]) as desk:
        window = await desk.new()
        first, second, third = (window.begin(text) for text in ("1", "2", "3"))
        await window.see(TurnStarted)
        assert window.cancel(second)
        assert not window.cancel(second)
        assert await window.end(second) == PromptDropped()
        assert await window.end(first) == DONE
        assert await window.end(third) == DONE
        assert window.texts == ["one", "three"]
        check_all(window.seen)


async def test_cancel_of_everything_drops_what_waits_and_ends_what_runs(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.new()
        first, second = window.begin("1"), window.begin("2")
        await window.see(TextDelta)
        window.cancel()
        assert (await window.end(second), await window.end(first)) == (PromptDropped(), CANCELLED)
        await check_next_prompt(window)


async def test_cancel_while_the_model_is_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "slow.jsonl"
    os.mkfifo(pipe)
    async with serving(tmp_path, [], model=f"scripted/{pipe}") as desk:
        window = await desk.new()
        turn_id = window.begin("hello")
        await window.see(TurnStarted)
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        writer = threading.Thread(target=pipe.write_text, args=('{"parts": [{"text": "hi"}]}\n',))
        writer.start()
        await check_next_prompt(window)
        writer.join()


async def test_cancel_at_every_moment_of_the_start_of_a_turn_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "x", "delay": 0.01}, when={"user": ""})]) as desk:
        window = await desk.new()
        for moments in range(40):
            turn_id = window.begin("go")
            for _ in range(moments):
                await asyncio.sleep(0)
            window.cancel(turn_id)
            assert await window.end(turn_id) in (CANCELLED, PromptDropped(), DONE)
            assert not window.session.busy
        await check_next_prompt(window)


async def test_cancel_with_nothing_to_stop_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("hi")]) as desk:
        window = await desk.new()
        assert not window.cancel()
        assert not window.cancel("t-unknown")
        await check_next_prompt(window)


async def test_cancelling_twice_is_the_same_as_once(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.new()
        turn_id = window.begin("talk")
        await window.see(TextDelta)
        assert window.cancel()
        assert window.cancel()
        await asyncio.sleep(0)
        window.cancel()
        assert await window.end(turn_id) == CANCELLED
        await check_next_prompt(window)


# --- queue and steering --------------------------------------------------------------------------


async def test_prompts_are_taken_one_after_the_other_in_their_order(tmp_path: Path) -> None:
    async with serving(tmp_path, [say(str(number)) for number in range(5)]) as desk:
        window = await desk.new()
        turns = [window.begin(f"p{number}") for number in range(5)]
        for turn_id in turns:
            assert await window.end(turn_id) == DONE
        assert window.texts == ["0", "1", "2", "3", "4"]
        check_all(window.seen)


async def test_a_full_queue_refuses_prompts_and_steering_with_the_reason(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.new()
        window.begin("running")
        await window.see(TextDelta)
        for _ in range(QUEUE_BOUND):
            window.begin("waiting")
        with pytest.raises(TooMany, match="32 prompts are waiting"):
            window.begin("one too many")
        for _ in range(STEER_BOUND):
            assert window.steer("this way")
        with pytest.raises(TooMany, match="32 messages wait"):
            window.steer("one too many")
        window.cancel()
        await window.see(PromptDropped, QUEUE_BOUND)
        await window.see(TurnEnded)
        await check_next_prompt(window)


async def test_steering_joins_the_running_turn_at_its_next_step(tmp_path: Path) -> None:
    script = [
        act(call("ask_user", question="Well?")),
        act({"text": "as you wish"}, when={"user": "this way"}),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new(holding)
        turn_id = window.begin("go")
        await window.see(QuestionAsked)
        assert window.steer("this way")
        window.leave()
        window = await desk.open(window.session.session_id)
        assert await window.end(turn_id) == DONE
        assert window.texts == ["", "as you wish"]
        assert [item.content for item in window.of(Steered)] == [(TextBlock("this way"),)]
        check_messages(messages(window.session))


async def test_steering_a_model_that_is_done_makes_it_go_on(tmp_path: Path) -> None:
    script = [act({"text": "a", "delay": 0.02}), act({"text": "b", "delay": 0.02}), say("c")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        turn_id = window.begin("go")
        await window.see(StepStarted)
        window.steer("more")
        await window.see(StepStarted, 2)
        window.steer("even more")
        assert await window.end(turn_id) == DONE
        assert window.texts == ["a", "b", "c"]


async def test_steering_an_idle_session_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("a")]) as desk:
        window = await desk.new()
        assert not window.steer("hello?")
        await window.prompt("go")
        assert not window.steer("hello?")
        assert window.of(Steered) == []


async def test_many_steered_answers_are_no_repetition(tmp_path: Path) -> None:
    script = [act({"text": f"{number}", "delay": 0.01}) for number in range(12)]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        turn_id = window.begin("go")
        for step in range(1, 12):
            await window.see(StepStarted, step)
            window.steer("more")
        assert await window.end(turn_id) == DONE
        assert window.texts == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("last", "ended"),
    [
        (act({"wait": 0.02}, {"fault": "error"}), TurnEnded("error", "The scripted model failed.")),
        (act({"wait": 0.02}, call("nonsense")), TurnEnded("max_turn_requests")),
    ],
)
async def test_steering_is_kept_when_its_turn_ends_first(
    tmp_path: Path, last: dict[str, object], ended: TurnEnded
) -> None:
    async with serving(tmp_path, [last], max_steps=1) as desk:
        window = await desk.new()
        turn_id = window.begin("go")
        await window.see(StepStarted)
        assert window.steer("do not forget me")
        assert await window.end(turn_id) == ended
        assert [item.content for item in window.of(Steered)] == [(TextBlock("do not forget me"),)]
        check_all(window.seen)


# --- windows -------------------------------------------------------------------------------------


async def test_the_first_answer_wins_and_the_other_window_sees_it_resolved(tmp_path: Path) -> None:
    script = [act(call("write_file", path="a", content="x")), say("done")]
    async with serving(tmp_path, script) as desk:
        first = await desk.new(holding)
        second = desk.watch(first.session)
        assert await first.prompt("write") == DONE
        assert (desk.folder / "a").read_text() == "x"
        await second.see(TurnEnded)
        assert first.events == second.events


async def test_a_question_ends_unanswered_when_the_last_window_that_could_answer_leaves(
    tmp_path: Path,
) -> None:
    script = [act(call("write_file", path="a", content="x")), say("understood")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new(holding)
        other = desk.watch(window.session, holding)
        watcher = desk.watch(window.session, None)
        turn_id = window.begin("write")
        await watcher.see(ApprovalRequested)
        other.leave()
        assert len(window.session.open_questions()) == 1
        window.leave()
        assert await watcher.end(turn_id) == DONE
        ((outcome, text),) = watcher.results
        assert outcome == "refused"
        assert "Nobody was there to answer" in text
        assert "The user did not refuse it" in text
        assert not (desk.folder / "a").exists()


async def test_a_turn_goes_on_without_any_window(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "one", "delay": 0.01}), say("two")]) as desk:
        window = await desk.new()
        turn_id = window.begin("go")
        await window.see(TurnStarted)
        window.leave()
        window = await desk.open(window.session.session_id)
        assert await window.end(turn_id) == DONE
        assert window.texts == ["one"]
        check_all(window.seen)


async def test_what_is_submitted_to_a_closed_session_is_dropped_not_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("a")]) as desk:
        window = await desk.new()
        await window.prompt("go")
        await desk.server.sessions.close(window.session.session_id)
        assert await window.prompt("still there?") == PromptDropped()


# --- title ---------------------------------------------------------------------------------------


async def test_the_first_prompt_names_the_session_once(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("a"), say("b")]) as desk:
        window = await desk.new()
        await window.prompt("Fix\n the   login test")
        await window.prompt("Another thing")
        assert window.of(TitleChanged) == [TitleChanged("Fix the login test")]
        page = await desk.server.sessions.page(None, None)
        assert [row.title for row in page.rows] == ["Fix the login test"]


def test_titles_are_short_lines_of_what_was_said() -> None:
    long = "word " * 40
    assert title_of((TextBlock(long),)) == "word " * 11 + "word…"
    assert len(title_of((TextBlock("x" * 61),))) == 60
    assert title_of((ImageBlock("", "image/png"),)) == "New conversation"
    assert title_of((TextBlock(" \n"), ResourceBlock("file:///a.py", "x"))) == "file:///a.py"


# --- trouble -------------------------------------------------------------------------------------


async def test_a_model_that_cannot_be_opened_ends_the_turn_with_the_reason(tmp_path: Path) -> None:
    async with serving(tmp_path, [], model=f"scripted/{tmp_path}/missing.jsonl") as desk:
        window = await desk.new()
        ended = await window.prompt("hello")
        assert isinstance(ended, TurnEnded)
        assert ended.stop_reason == "error"
        assert "cannot be read" in (ended.error or "")
        (tmp_path / "missing.jsonl").write_text('{"parts": [{"text": "here I am"}]}\n')
        assert await window.prompt("hello again") == DONE


async def test_the_folder_may_vanish_under_a_session(tmp_path: Path) -> None:
    async with serving(tmp_path, [act(call("list_dir", path=".")), say("gone")]) as desk:
        window = await desk.new()
        desk.folder.rmdir()
        assert await window.prompt("look") == DONE
        assert [outcome for outcome, _ in window.results] == ["failed"]
        assert window.of(JournalFailed) == []


async def cut_off(desk: Desk) -> str:
    """Leave a turn running in a server that ends."""
    window = await desk.new()
    window.begin("talk")
    await window.see(TextDelta)
    return window.session.session_id


async def test_a_server_that_ends_closes_its_turns_as_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        session_id = await cut_off(desk)
    async with serving(tmp_path, [LONG, say("again")]) as desk:
        window = await desk.open(session_id)
        assert window.of(TurnEnded) == [CANCELLED]
        await check_next_prompt(window)
