"""Making room: the summary replaces the history, and a failed one replaces nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from hermes_acp.agent import compaction
from hermes_acp.agent.compaction import LEFT_OUT
from hermes_acp.agent.conversation import SUMMARY
from hermes_acp.agent.turn import Turn
from hermes_acp.content import TextBlock
from hermes_acp.events import (
    ContextCompacted,
    MessageCompleted,
    ToolCallFinished,
    ToolCallStarted,
    ToolRequest,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    FinishPart,
    Message,
    Part,
    Request,
    TextPart,
    UserMessage,
)
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Window, act, call, messages, serving
from tests.agent.turns import turn_with

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
SMALL = {"context_window": 1000}
FULL = {"usage": {"input": 900, "output": 10, "cost": 0.5}}
ASKED = {"system": "You summarise", "user": "Summarise the conversation"}
SUMMARISE = act({"text": "They said hello."}, {"usage": {"input": 900, "cost": 0.25}}, when=ASKED)
ANY = act({"text": "fine"}, when={"user": ""})


def first(window: Window) -> str:
    """The first words of the history."""
    message = messages(window.session)[0]
    assert isinstance(message, UserMessage)
    (block,) = message.content
    assert isinstance(block, TextBlock)
    return block.text


def check(window: Window) -> None:
    check_all(window.seen)
    check_messages(messages(window.session))


async def test_a_full_context_is_summarised_before_the_next_step(tmp_path: Path) -> None:
    script = [SMALL, SUMMARISE, act({"text": "hi"}, FULL, when={"user": "^hello"}), ANY]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("hello")
        assert window.of(ContextCompacted) == []
        assert await window.prompt("more") == DONE
        (compacted,) = window.of(ContextCompacted)
        assert (compacted.status, compacted.summary) == ("completed", "They said hello.")
        assert first(window) == SUMMARY + "They said hello."
        assert await window.prompt("and more") == DONE
        assert len(window.of(ContextCompacted)) == 1
        assert [item.cost for item in window.of(UsageUpdated)] == [0.5, 0.75, 0.75, 0.75]
        check(window)
    async with serving(tmp_path, script) as desk:
        again = await desk.open(window.session.session_id)
        assert messages(again.session) == messages(window.session)


async def test_the_command_summarises_with_a_focus(tmp_path: Path) -> None:
    focused = {"system": "You summarise", "user": "Pay attention to: the tests"}
    async with serving(tmp_path, [act({"text": "Tests!"}, when=focused), SUMMARISE, ANY]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        assert await window.prompt("/compact the tests") == DONE
        assert window.texts[-1] == "The conversation was summarised."
        assert first(window) == SUMMARY + "Tests!"
        assert await window.prompt("go on") == DONE
        check(window)


async def test_a_context_that_the_provider_finds_too_long_is_summarised_at_once(tmp_path: Path) -> None:
    overflowing = act({"fault": "overflow"}, {"text": "never"}, when={"user": "^a long story"})
    async with serving(tmp_path, [SUMMARISE, overflowing, ANY]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        assert await window.prompt("a long story") == DONE
        assert [item.status for item in window.of(ContextCompacted)] == ["completed"]
        assert window.texts[-1] == "fine"
        check(window)


class Narrow:
    """A model that takes so many messages and no more (`llm.base.Model`)."""

    name = "narrow"
    context_window = 1000
    accepts_images = False

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[tuple[Message, ...]] = []

    async def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Summarise what fits."""
        if len(request.messages) > self.most:
            raise ContextOverflow("Too long.")
        self.taken.append(request.messages)
        yield TextPart("The later part.")
        yield FinishPart("stop")

    async def aclose(self) -> None:
        """Nothing is held."""


def talk(turn: Turn, steps: int) -> None:
    """One turn of so many steps with a tool call each."""
    turn.publish(TurnStarted("m0", (TextBlock("go"),)))
    for number in range(steps):
        request = ToolRequest(f"c{number}", "look", "{}")
        turn.publish(MessageCompleted(f"m{number}", f"step {number}", tool_calls=(request,)))
        turn.publish(ToolCallStarted(request.call_id, "look", "Look", "read", "{}"))
        turn.publish(ToolCallFinished(request.call_id, "completed", "nothing"))


async def test_a_summary_that_is_too_long_to_ask_for_leaves_the_oldest_part_out(tmp_path: Path) -> None:
    model = Narrow(8)
    async with turn_with(tmp_path, model=model) as turn:
        talk(turn, 10)
        assert len(turn.conversation.messages) == 21
        await compaction.compact(turn)
        assert turn.conversation.messages == (UserMessage((TextBlock(SUMMARY + "The later part."),)),)
        (taken,) = model.taken
        assert taken[0] == UserMessage((TextBlock(LEFT_OUT),))
        assert [item.text for item in taken if isinstance(item, AssistantMessage)] == ["step 8", "step 9"]
        check_messages(taken)


async def test_a_summary_of_nothing_is_not_asked_for(tmp_path: Path) -> None:
    model = Narrow(1)
    async with turn_with(tmp_path, model=model) as turn:
        talk(turn, 1)
        before = turn.conversation.messages
        with pytest.raises(ContextOverflow, match="Start a new session"):
            await compaction.compact(turn)
        assert (turn.conversation.messages, model.taken) == (before, [])


async def test_a_conversation_that_cannot_even_be_summarised_says_so_and_keeps_its_history(
    tmp_path: Path,
) -> None:
    refused = act({"fault": "overflow", "times": 100}, when={"system": "You summarise", "user": ""})
    async with serving(tmp_path, [refused, ANY]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        before = messages(window.session)
        ended = await window.prompt("/compact")
        assert isinstance(ended, TurnEnded)
        assert ended.error == "The conversation is too long even to be summarised. Start a new session."
        assert messages(window.session)[: len(before)] == before
        assert [item.status for item in window.of(ContextCompacted)] == ["failed"]
        check(window)


@pytest.mark.parametrize("summary", [{"text": " \n"}, {"fault": "error"}])
async def test_a_failed_summary_is_told_and_does_not_stop_a_turn_that_has_room_left(
    tmp_path: Path, summary: dict[str, object]
) -> None:
    script = [SMALL, act(summary, when=ASKED), act({"text": "hi"}, FULL, when={"user": "^hello"}), ANY]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("hello")
        assert await window.prompt("more") == DONE
        (compacted,) = window.of(ContextCompacted)
        assert compacted.status == "failed"
        assert compacted.error
        assert first(window) == "hello"
        check(window)


async def test_a_context_that_stays_full_is_not_summarised_for_ever(tmp_path: Path) -> None:
    look = act(call("list_dir", path="."), FULL, when={"user": "", "result": ""})
    script = [SMALL, SUMMARISE, act(call("list_dir", path="."), FULL, when={"user": ""}), look]
    async with serving(tmp_path, script, max_steps=30) as desk:
        window = await desk.new()
        assert await window.prompt("hello") == TurnEnded("max_turn_requests")
        assert 1 <= len(window.of(ContextCompacted)) <= 8
        check(window)


async def test_without_a_count_of_tokens_a_summary_makes_room_too(tmp_path: Path) -> None:
    long = act({"text": "x" * 3_600}, when={"user": "^talk"})
    async with serving(tmp_path, [SMALL, SUMMARISE, long, ANY]) as desk:
        window = await desk.new()
        await window.prompt("talk")
        for number in range(3):
            assert await window.prompt(f"go on {number}") == DONE
        assert len(window.of(ContextCompacted)) == 1


async def test_the_words_of_a_summary_are_no_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, [SUMMARISE, ANY]) as desk:
        window = await desk.new()
        await window.prompt("hello")
        await window.prompt("/compact")
        assert "They said hello." not in [item.text for item in window.of(MessageCompleted)]
