"""Which turns are thought about: those that show something; the others cost no read and no thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hermes_acp.agent.hub import News
from hermes_acp.agent.memory.notebook import Notebook
from hermes_acp.agent.memory.reflection import GLANCE_CHARS, GLANCE_EVENTS, is_idle, reflect
from hermes_acp.content import TextBlock
from hermes_acp.events import (
    Envelope,
    Event,
    ExitStatus,
    MessageCompleted,
    Rewound,
    Steered,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from tests.agent.server import Desk, say, serving

QUIET = TurnStarted("m", (TextBlock("Look at it once more."),))
ANSWER = MessageCompleted("a", "It is fine.")
ENDED = TurnEnded("end_turn")


def said(text: str) -> TurnStarted:
    return TurnStarted("m", (TextBlock(text),))


def ran(call_id: str, command: str, code: int) -> tuple[Event, Event]:
    arguments = '{"command": "' + command + '"}'
    started = ToolCallStarted(call_id, "run_command", "Run", "execute", arguments)
    return started, ToolCallFinished(call_id, "completed", "", exit=ExitStatus(code))


def news(*events: Event, after: int = 2) -> News:
    """What happened behind two earlier events."""
    turn = [Envelope("s1", seq, "t", 5.0, event) for seq, event in enumerate(events, after + 1)]
    return News(after, after + len(turn), tuple(turn))


async def notebook(desk: Desk) -> Notebook:
    """The memory of a session, without its windows."""
    book = await (await desk.new()).session._parts.memory.notebook()
    return replace(book, settled=True)


IDLE: tuple[tuple[Event, ...], ...] = (
    (QUIET, ANSWER, ENDED),
    (QUIET, *ran("c1", "ls", 0), *ran("c2", "ls src", 0), ANSWER, ENDED),
    (QUIET, *ran("c1", "make it", 2), ANSWER, ENDED),
    (replace(said("/memory"), aside=True), ANSWER, ENDED),
    (),
)
TEACHING: tuple[tuple[Event, ...], ...] = (
    (said("Always answer in German."), ANSWER, ENDED),
    (said("No, use the other one instead."), ANSWER, ENDED),
    (QUIET, Steered("s", (TextBlock("Let's go with tabs then."),)), ANSWER, ENDED),
    (QUIET, *ran("c1", "frob -a x", 1), *ran("c2", "frob -b x", 0), ANSWER, ENDED),
    (said("Please run it with pytest."), ANSWER, ENDED),
    (replace(said("/undo"), aside=True), Rewound(1, "undo"), ANSWER, ENDED),
    (said("word " * GLANCE_CHARS), ANSWER, ENDED),
    (QUIET, *[ANSWER] * GLANCE_EVENTS, ENDED),
)


async def test_a_turn_that_shows_nothing_is_left_alone_and_every_other_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("ok")]) as desk:
        book = await notebook(desk)
        assert [is_idle(book, news(*turn)) for turn in IDLE] == [True] * len(IDLE)
        assert [is_idle(book, news(*turn)) for turn in TEACHING] == [False] * len(TEACHING)


async def test_nothing_is_left_alone_before_what_is_owed_was_done_or_unseen(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("ok")]) as desk:
        book = await notebook(desk)
        quiet = news(QUIET, ANSWER, ENDED)
        assert not is_idle(replace(book, settled=False), quiet)
        assert not is_idle(book, replace(quiet, events=None))


async def test_what_the_session_has_spoken_for_already_is_nothing_new(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("ok")]) as desk:
        book = await notebook(desk)
        turn = news(said("Please run it with pytest."), ANSWER, ENDED)
        await reflect(book, str(desk.folder), turn)
        assert is_idle(book, turn)


async def test_a_turn_that_is_not_at_hand_is_read_from_the_journal(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("ok")]) as desk:
        window = await desk.new()
        await window.prompt("Please run it with pytest.")
        book = await window.session._parts.memory.notebook()
        again = replace(book, observed=frozenset())
        await reflect(again, str(desk.folder), News(0, window.session.hub.committed, None))
        assert again.observed == {"Tests Python code with pytest.", "Writes in English."}
