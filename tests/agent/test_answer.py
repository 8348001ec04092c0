"""One answer of the model: kept as it was shown, also when it breaks off or is asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.events import (
    MessageCompleted,
    Notice,
    TextDelta,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
)
from hermes_acp.llm.base import AssistantMessage
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import act, call, messages, say, serving

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ("auth", TurnEnded("error", "The scripted model refused the key.", needs_login=True)),
        ("error", TurnEnded("error", "The scripted model failed.")),
    ],
)
async def test_an_error_ends_the_turn_with_its_words_and_the_next_prompt_works(
    tmp_path: Path, fault: str, ended: TurnEnded
) -> None:
    async with serving(tmp_path, [act({"fault": fault}, {"text": "better"})]) as desk:
        window = await desk.new()
        assert await window.prompt("go") == ended
        check_all(window.seen)
        script = desk.write_script(say("better"))
        await window.session.set_model(script)
        assert await window.prompt("again") == DONE
        check_messages(messages(window.session))


async def test_an_overloaded_model_is_asked_again_and_the_user_told(tmp_path: Path) -> None:
    script = [act({"fault": "overload", "times": 3, "retry_after": 0}, {"text": "here"})]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("go") == DONE
        assert window.texts == ["here"]
        assert [item.description for item in window.of(Notice)] == ["The scripted model is overloaded."] * 3


async def test_a_model_that_stays_overloaded_ends_the_turn(tmp_path: Path) -> None:
    script = [act({"fault": "overload", "times": 100, "retry_after": 0, "message": "No."})]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("go") == TurnEnded("error", "No.")
        assert len(window.of(Notice)) == 4


async def test_an_answer_that_was_cut_is_asked_for_again_and_stands_once_in_the_journal(
    tmp_path: Path,
) -> None:
    script = [
        act(
            {"text": "The answer", "chunks": 3},
            call("read_file", path="a"),
            {"fault": "cut", "retry_after": 0},
            {"text": " is 42."},
        ),
        say("ok"),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("go") == DONE
        assert window.texts == ["The answer is 42.", "ok"]
        first, second, *_ = window.of(ToolCallFinished)
        assert (first.outcome, first.result) == ("failed", "The answer broke off; the model is asked again.")
        assert second.call_id == window.of(MessageCompleted)[0].tool_calls[0].call_id
        assert len({item.message_id for item in window.of(TextDelta)}) == 3
        check_all(window.seen)
        check_messages(messages(window.session))


async def test_an_answer_that_broke_off_for_good_is_kept_and_its_calls_end(tmp_path: Path) -> None:
    script = [act({"text": "I was going to"}, call("write_file", path="a", content="x"), {"fault": "error"})]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("go") == TurnEnded("error", "The scripted model failed.")
        (announced,) = window.of(ToolCallAnnounced)
        assert [item.call_id for item in window.of(ToolCallStarted)] == [announced.call_id]
        assert window.results == [("failed", "The turn ended before this call was complete.")]
        assert AssistantMessage("I was going to") in messages(window.session)
        check_all(window.seen)


async def test_an_answer_with_nothing_in_it_ends_the_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, [act(), act({"thought": "only thought"}), say("ok")]) as desk:
        window = await desk.new()
        assert await window.prompt("one") == DONE
        assert await window.prompt("two") == DONE
        check_messages(messages(window.session))


async def test_provider_state_goes_into_the_journal_and_back_to_the_model(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"opaque": '{"sig": 1}'}, {"text": "x"})]) as desk:
        window = await desk.new()
        await window.prompt("go")
        assert window.of(MessageCompleted)[0].opaque == '{"sig": 1}'
        assert messages(window.session)[-1] == AssistantMessage("x", opaque='{"sig": 1}')


async def test_calls_without_arguments_and_with_pieces_are_put_together(tmp_path: Path) -> None:
    script = [
        act(
            {"tool": "read_file", "arguments": {"path": "a"}, "chunks": 7},
            {"tool": "list_dir", "raw": ""},
        ),
        say("ok"),
    ]
    async with serving(tmp_path, script) as desk:
        (desk.folder / "a").write_text("text")
        window = await desk.new()
        assert await window.prompt("go") == DONE
        assert [(item.name, item.arguments) for item in window.of(ToolCallStarted)] == [
            ("read_file", '{"path": "a"}'),
            ("list_dir", ""),
        ]
        assert window.results[0][0] == "completed"
