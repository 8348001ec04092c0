"""What holds for every conversation: generated scripts, and operations at any moment of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.recovery import closing_events
from hermes_acp.events import ApprovalRequested
from hermes_acp.ops import Answer
from tests.agent.invariants import check_all, check_balance, check_messages
from tests.agent.server import Answering, Desk, Question, Window, act, call, messages, serving
from tests.properties import bounded

TEXTS = st.sampled_from(["ok", "lange Antwort, " * 20, "é\U0001f600", "\0 nul", "\u2028"])
WORDS = st.one_of(
    st.builds(lambda text, chunks: {"text": text, "chunks": chunks}, TEXTS, st.integers(1, 9)),
    st.builds(lambda text, chunks: {"thought": text, "chunks": chunks}, TEXTS, st.integers(1, 3)),
    st.sampled_from(
        [
            {"wait": 0.005},
            {"usage": {"input": 3_000, "output": 10, "cost": 0.5}},
            {"usage": {"input": 5, "output": 10}},
        ]
    ),
)
CALLS = st.sampled_from(
    [
        call("write_file", path="a.txt", content="x"),
        call("write_file", path="b/c.txt", content="y"),
        call("read_file", path="a.txt"),
        call("list_dir", path="."),
        call("read_file", path="missing"),
        call("ask_user", question="Which?", choices=["red", "blue"]),
        call("plan", entries=[{"content": "think"}]),
        call("run_command", command="echo hello"),
        call("run_command", command="sleep 60", timeout=0.05),
        call("nonsense"),
        {"tool": "read_file", "raw": '{"path": "a.txt'},
        {"tool": "read_file", "raw": "{'path': 'a.txt',}", "chunks": 3},
    ]
)
FAULTS = st.sampled_from(
    [
        {"fault": "cut", "retry_after": 0},
        {"fault": "overload", "retry_after": 0, "times": 2},
        {"fault": "error"},
        {"fault": "auth"},
        {"fault": "overflow"},
    ]
)
ANSWERS = st.builds(
    lambda words, calls, faults, finish: act(*words, *faults, *calls, **finish),
    st.lists(WORDS, max_size=3),
    st.lists(CALLS, max_size=4),
    st.one_of(st.just([]), st.just([]), st.just([]), st.lists(FAULTS, max_size=1)),
    st.sampled_from([{}] * 8 + [{"finish": "length"}, {"finish": "refusal"}, {"finish": "stop"}]),
)
SCRIPTS = st.lists(ANSWERS, min_size=2, max_size=8)


@dataclass(frozen=True)
class Do:
    """An operation, done as soon as so many further events were seen or nothing more comes."""

    what: Literal["prompt", "steer", "cancel", "reopen", "join", "leave", "compact", "mode"]
    after: int


OPS = st.lists(
    st.builds(
        Do,
        st.sampled_from(
            ["prompt", "prompt", "prompt", "steer", "cancel", "reopen", "join", "leave", "compact", "mode"]
        ),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=10,
)
CHOICES = st.lists(
    st.sampled_from(["allow_once", "allow_session", "reject_once", "reject_always", "nonsense", "hold"]),
    min_size=1,
    max_size=5,
)


def answering(choices: Iterator[str]) -> Answering:
    """Answer with one choice after the other; every second question gets a form filled in."""

    def answer(question: Question) -> Answer | None:
        choice = next(choices)
        if choice == "hold":
            return None
        if isinstance(question, ApprovalRequested):
            return Answer(question.request_id, choice)
        if choice.startswith("reject"):
            return Answer(question.request_id, outcome="declined")
        return Answer(question.request_id, outcome="answered", values='{"answer": "red"}')

    return answer


async def play(desk: Desk, ops: list[Do], choices: list[str]) -> Window:
    """Do everything, then wait until the session is quiet: the window that saw all of it."""
    answers = answering(cycle(choices))
    window = await desk.new(answers)
    modes = cycle(["plan", "accept_edits", "ask"])
    for op in [Do("prompt", 0), *ops]:
        session = window.session
        await more(window, op.after)
        match op.what:
            case "prompt":
                window.begin("go on")
            case "compact":
                window.begin("/compact")
            case "steer":
                window.steer("rather like this")
            case "cancel":
                window.cancel()
            case "mode":
                await session.set_option("mode", next(modes))
            case "join":
                await desk.open(session.session_id, answers)
            case "leave":
                window.leave()
                window = await desk.open(session.session_id, answers)
            case "reopen":
                await desk.server.sessions.close(session.session_id)
                window = await desk.open(session.session_id, answers)
    await quiet(window)
    return window


async def more(window: Window, count: int) -> None:
    """Wait for so many further events, or until nothing more comes by itself."""
    session, target = window.session, len(window.seen) + count
    await window.until(
        lambda: len(window.seen) >= target or not session.busy or bool(session.open_questions())
    )


async def quiet(window: Window) -> None:
    """Wait until nothing runs; what waits for an answer is cancelled."""
    session = window.session
    await window.until(lambda: not session.busy or bool(session.open_questions()))
    window.cancel()
    await window.until(lambda: not session.busy)
    await window.until(lambda: not window.durable or window.durable[-1].seq == session.hub.last_seq)


async def conversation(script: list[dict[str, object]], ops: list[Do], choices: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        async with serving(Path(root), [{"context_window": 3_500}, *script], max_steps=6) as desk:
            window = await play(desk, ops, choices)
            session = window.session
            journal = await session.load()
            assert window.durable == journal
            check_all(window.seen)
            check_messages(messages(session))
            assert Conversation(item.event for item in journal).messages == messages(session)
            for other in desk.windows:
                if other.session is session and other.subscription in session.hub._subscriptions:
                    await other.until(lambda other=other: other.durable == journal)
            await desk.server.sessions.close(session.session_id)
            again = await desk.open(session.session_id)
            assert again.durable == journal
            assert messages(again.session) == Conversation(item.event for item in journal).messages
            check_every_prefix([item.event for item in journal])


def check_every_prefix(events: list) -> None:
    """Wherever the server dies, what it left open can be closed, and the history stays legal."""
    for end in range(len(events) + 1):
        prefix = events[:end]
        closed = [*prefix, *closing_events(prefix)]
        check_balance(closed)
        check_messages(Conversation(closed).messages)
        assert closing_events(closed) == []


@pytest.mark.slow
@bounded(40)
@given(SCRIPTS, OPS, CHOICES)
def test_every_conversation_keeps_its_promises(
    script: list[dict[str, object]], ops: list[Do], choices: list[str]
) -> None:
    asyncio.run(conversation(script, ops, choices))
