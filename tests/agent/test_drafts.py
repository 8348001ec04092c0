"""What is being streamed: exact for whoever joins at any moment, and safe from a crash at any write."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.hub import KEEP_AFTER, Hub, Subscription
from hermes_acp.agent.recovery import closing_events
from hermes_acp.events import (
    Envelope,
    Event,
    MessageCompleted,
    MessageDiscarded,
    SessionStarted,
    TextDelta,
    ThoughtDelta,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.server.acp.render.renderer import Abilities, Renderer
from hermes_acp.storage.database import Database, StorageError, Value
from hermes_acp.storage.journal import Journal, Piece
from hermes_acp.storage.sessions import SessionRow, SessionTable
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Desk, Window, act, messages, say, serving
from tests.clock import Clock, on_a_clock

ROW = SessionRow("s1", "/p", "/p", "/p", (), None, "ask", "m", "default", 1.0, 1.0)
TICK = 0.05
"""Seconds by which the clock of these tests goes on at once."""
DONE = TurnEnded("end_turn")

BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def in_a_folder(test: Callable[[Clock, Path], Awaitable[None]]) -> None:
    """Run a test on a clock, with a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        on_a_clock(lambda clock: test(clock, Path(folder)))


@dataclass
class Crash:
    """The disk just before a write, and what had been shown by then."""

    folder: Path
    at: float
    answers: dict[str, Answer]


@dataclass
class Answer:
    """One message as the model streams it; `shown` is when each length of it was reached."""

    message_id: str
    thought: str = ""
    text: str = ""
    shown: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])
    completed: bool = False
    discarded: float | None = None


class Watched(Database):
    """A database that keeps a copy of the disk from before each write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.crashes: list[Crash] = []
        self.look: Callable[[], tuple[float, dict[str, Answer]]] = lambda: (0.0, {})
        self.idle = asyncio.Event()
        self.idle.set()

    async def write(self, sql: str, args: Sequence[Value] = ()) -> int:
        self.idle.clear()
        try:
            await self.copy()
            return await super().write(sql, args)
        finally:
            self.idle.set()

    async def copy(self) -> None:
        folder = self.path.parent.with_name(f"crash-{len(self.crashes)}")
        self.crashes.append(Crash(folder, *self.look()))
        await asyncio.to_thread(shutil.copytree, self.path.parent, folder)


class Model:
    """Streams answers into a hub, and remembers them."""

    def __init__(self, hub: Hub, clock: Callable[[], float]) -> None:
        self.hub = hub
        self.clock = clock
        self.answers: dict[str, Answer] = {}
        self.begin()

    def copy(self) -> dict[str, Answer]:
        return {key: replace(answer, shown=list(answer.shown)) for key, answer in self.answers.items()}

    def begin(self) -> None:
        self.now = Answer(f"m{len(self.answers) + 1}")
        self.answers[self.now.message_id] = self.now

    def do(self, what: str, value: object) -> None:
        match what, value:
            case "say", str():
                self.say(value)
            case "think", str():
                self.think(value)
            case "complete", _:
                self.complete()
            case "discard", _:
                self.discard()
            case "other", _:
                self.hub.publish(UsageUpdated(1, 2), "t1")
            case _:
                raise AssertionError(what)

    def say(self, text: str) -> None:
        self.hub.publish(TextDelta(self.now.message_id, text, len(self.now.text)), "t1")
        self.now.text += text
        self.note()

    def think(self, text: str) -> None:
        self.hub.publish(ThoughtDelta(self.now.message_id, text, len(self.now.thought)), "t1")
        self.now.thought += text
        self.note()

    def note(self) -> None:
        self.now.shown.append((self.clock(), len(self.now.thought), len(self.now.text)))

    def complete(self) -> None:
        self.hub.publish(MessageCompleted(self.now.message_id, self.now.text, self.now.thought), "t1")
        self.now.completed = True
        self.begin()

    def discard(self) -> None:
        self.hub.publish(MessageDiscarded(self.now.message_id), "t1")
        self.now.discarded = self.clock()
        self.begin()


PIECES = st.sampled_from(["a", "word ", "é\U0001f600", "\0", "\u2028\n", "long " * 50])
ACTIONS = st.one_of(
    st.tuples(st.just("say"), PIECES),
    st.tuples(st.just("say"), PIECES),
    st.tuples(st.just("think"), PIECES),
    st.tuples(st.just("pass"), st.integers(1, 12)),
    st.tuples(st.just("pass"), st.integers(1, 12)),
    st.tuples(st.sampled_from(["complete", "discard", "other"]), st.none()),
)


D = TypeVar("D", bound=Database)


@asynccontextmanager
async def opened(database: D) -> AsyncIterator[D]:
    """The database with its file, closed at the end."""
    try:
        await database.fetch("SELECT 1")
        yield database
    finally:
        await database.close()


# --- a crash at any write ------------------------------------------------------------------------


async def settle(database: Watched) -> None:
    """Let the writer begin what is due, and end it."""
    for _ in range(8):
        await asyncio.sleep(0)
        await database.idle.wait()


async def stream(clock: Clock, folder: Path, actions: list[tuple[str, object]]) -> list[Crash]:
    """Play the actions: every state of the disk on the way, and the last one."""
    async with opened(Watched(folder / "home" / "sessions.db")) as database:
        await SessionTable(database).create(ROW)
        hub = Hub("s1", Journal(database), 0, 0.0)
        model = Model(hub, clock.time)
        database.look = lambda: (clock.time(), model.copy())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.run())
            hub.publish(SessionStarted("/p"))
            hub.publish(TurnStarted("u1", ()), "t1")
            await hub.flush()
            for what, value in actions:
                if what == "pass":
                    await go_on(clock, database, value)
                else:
                    model.do(what, value)
            await settle(database)
            await database.copy()
            hub.stop()
    return database.crashes


async def go_on(clock: Clock, database: Watched, ticks: object) -> None:
    assert isinstance(ticks, int)
    for _ in range(ticks):
        clock.now += TICK
        await settle(database)


async def recover(crash: Crash) -> tuple[list[Event], list[MessageCompleted]]:
    """What the journal holds after a crash, and the messages that are recovered, on disk."""
    async with opened(Database(crash.folder / "sessions.db")) as database:
        journal = Journal(database)
        events = [item.event for item in await journal.read("s1")]
        hub = Hub("s1", journal, len(events), 0.0)
        closing = closing_events(events, await hub.unfinished("t1"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.run())
            for event in closing:
                hub.publish(event, "t1")
            await hub.settle()
            hub.stop()
        assert [item.event for item in await journal.read("s1")] == [*events, *closing]
        assert await journal.draft("s1") == []
    return events, [event for event in closing if isinstance(event, MessageCompleted)]


def check_recovered(crash: Crash, events: list[Event], recovered: list[MessageCompleted]) -> None:
    completed = {event.message_id for event in events if isinstance(event, MessageCompleted)}
    found = {event.message_id: event for event in recovered}
    assert len(found) == len(recovered)
    assert not completed & set(found)
    check_messages(Conversation([*events, *recovered, TurnEnded("interrupted")]).messages)
    for answer in crash.answers.values():
        message = found.get(answer.message_id, MessageCompleted(answer.message_id, ""))
        assert answer.thought.startswith(message.thought)
        assert answer.text.startswith(message.text)
        if answer.discarded is not None:
            if answer.discarded <= crash.at - KEEP_AFTER - TICK:
                assert answer.message_id not in found
        elif answer.message_id not in completed:
            old = [sizes for at, *sizes in answer.shown if at <= crash.at - KEEP_AFTER - TICK]
            thought, text = old[-1] if old else (0, 0)
            assert len(message.thought) >= thought
            assert len(message.text) >= text


@pytest.mark.slow
@BOUNDED
@given(st.lists(ACTIONS, min_size=4, max_size=14))
def test_a_crash_at_any_write_costs_at_most_the_last_half_second_of_an_answer(
    actions: list[tuple[str, object]],
) -> None:
    async def check(clock: Clock, folder: Path) -> None:
        for crash in await stream(clock, folder, actions):
            check_recovered(crash, *await recover(crash))

    in_a_folder(check)


# --- windows that join at any moment -------------------------------------------------------------


class Screen:
    """A window: what its user reads, message by message."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.subscription: Subscription = hub.subscribe(answers=False)
        self.renderer = Renderer("s1", Abilities())
        self.read: dict[tuple[str, str], str] = {}
        self.ended = False

    async def follow(self, *, replay: bool) -> None:
        """Replay the journal or not, as a client does, then read until the turn ends."""
        if replay:
            for envelope in await self.hub.journal.read("s1"):
                self.show(envelope, None)
                await asyncio.sleep(0)
                self.subscription.seen(envelope)
        while not self.ended:
            for envelope in await self.subscription.batch():
                self.show(envelope, "me")
            await asyncio.sleep(0)

    def show(self, envelope: Envelope, label: str | None) -> None:
        self.ended = self.ended or isinstance(envelope.event, TurnEnded)
        for line in self.renderer.render(envelope, label=label).splitlines():
            update = json.loads(line)["params"]["update"]
            if update["sessionUpdate"] in ("agent_message_chunk", "agent_thought_chunk"):
                key = (update["sessionUpdate"], update["messageId"])
                self.read[key] = self.read.get(key, "") + update["content"]["text"]

    def check(self, answer: Answer, *, whole: bool) -> None:
        """Each text is there once; of a message from before the window's time there may be nothing."""
        for kind, text in (("agent_thought_chunk", answer.thought), ("agent_message_chunk", answer.text)):
            read = self.read.get((kind, answer.message_id), "")
            if answer.discarded is not None:
                assert text.startswith(read)
            elif whole or read:
                assert read == text


STEPS = st.one_of(
    st.tuples(st.just("say"), PIECES),
    st.tuples(st.just("say"), PIECES),
    st.tuples(st.just("think"), PIECES),
    st.tuples(st.just("breathe"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["join", "load", "load", "behind"]), st.none()),
    st.tuples(st.sampled_from(["complete", "discard", "other", "flush"]), st.none()),
)


async def joined(database: Database, steps: list[tuple[str, object]]) -> None:
    await SessionTable(database).create(ROW)
    hub = Hub("s1", Journal(database), 0, 0.0)
    model = Model(hub, lambda: 0.0)
    screens: list[tuple[Screen, set[str]]] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.run())
        for what, value in [*steps, ("complete", None)]:
            match what, value:
                case "flush", _:
                    await hub.flush()
                case "behind", _:
                    for screen, _ in screens[:1]:
                        screen.subscription.fall_behind()
                case "join" | "load", _:
                    over = {key for key, answer in model.answers.items() if answer.completed}
                    screen = Screen(hub)
                    screens.append((screen, over if what == "join" else set()))
                    tasks.create_task(screen.follow(replay=what == "load"))
                case "breathe", int():
                    for _ in range(value):
                        await asyncio.sleep(0)
                case _:
                    model.do(what, value)
        hub.publish(DONE, "t1")
        await hub.flush()
        hub.stop()
    for screen, over in screens:
        for key, answer in model.answers.items():
            screen.check(answer, whole=key not in over)


@pytest.mark.slow
@settings(BOUNDED, max_examples=80)
@given(st.lists(STEPS, min_size=6, max_size=40))
def test_every_window_reads_every_message_once_whenever_it_joins(steps: list[tuple[str, object]]) -> None:
    async def check(folder: Path) -> None:
        async with opened(Database(folder / "sessions.db")) as database:
            await joined(database, steps)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


# --- a disk that fails ---------------------------------------------------------------------------


class Bench:
    """A hub over a watched database, on a clock."""

    def __init__(self, clock: Clock, database: Watched) -> None:
        self.clock = clock
        self.database = database
        self.journal = Journal(database)
        self.hub = Hub("s1", self.journal, 0, 0.0)

    def say(self, text: str, offset: int, message_id: str = "m1") -> None:
        self.hub.publish(TextDelta(message_id, text, offset), "t1")

    async def kept(self) -> list[Piece]:
        """What is on disk after as long as it may take."""
        self.clock.now += KEEP_AFTER
        await settle(self.database)
        return await self.journal.draft("s1")


def on_a_bench(test: Callable[[Bench], Awaitable[None]], *rows: SessionRow) -> None:
    async def run(clock: Clock, folder: Path) -> None:
        async with opened(Watched(folder / "home" / "sessions.db")) as database:
            for row in rows:
                await SessionTable(database).create(row)
            bench = Bench(clock, database)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(bench.hub.run())
                await test(bench)
                bench.hub.stop()

    in_a_folder(run)


def piece(text: str, start: int, message_id: str = "m1") -> Piece:
    return Piece("t1", message_id, "text", start, text)


def test_a_draft_grows_by_what_is_new() -> None:
    async def check(bench: Bench) -> None:
        bench.say("one ", 0)
        bench.say("two ", 4)
        assert await bench.kept() == [piece("one two ", 0)]
        bench.say("three ", 8)
        assert await bench.kept() == [piece("one two ", 0), piece("three ", 8)]
        writes = len(bench.database.crashes)
        assert await bench.kept() == [piece("one two ", 0), piece("three ", 8)]
        assert len(bench.database.crashes) == writes

    on_a_bench(check, ROW)


def test_an_answer_that_is_complete_in_time_is_written_once() -> None:
    async def check(bench: Bench) -> None:
        bench.say("all of it", 0)
        bench.hub.publish(MessageCompleted("m1", "all of it"), "t1")
        writes = len(bench.database.crashes)
        assert await bench.kept() == []
        assert len(bench.database.crashes) == writes + 1

    on_a_bench(check, ROW)


def test_a_draft_that_cannot_be_written_is_shown_all_the_same_and_kept_later() -> None:
    async def check(bench: Bench) -> None:
        reader = bench.hub.subscribe(answers=False)
        # Without its session the draft is refused.
        bench.say("one ", 0)
        assert await bench.kept() == []
        bench.say("two", 4)
        assert await bench.kept() == []
        await SessionTable(bench.database).create(ROW)
        bench.hub.publish(UsageUpdated(1, 2), "t1")
        await bench.hub.flush()
        assert await bench.kept() == [piece("one two", 0)]
        bench.hub.publish(MessageCompleted("m1", "one two"), "t1")
        await bench.hub.flush()
        assert await bench.kept() == []
        assert [item.event for item in reader.take()] == [
            TextDelta("m1", "one ", 0),
            TextDelta("m1", "two", 4),
            UsageUpdated(1, 2),
            MessageCompleted("m1", "one two"),
        ]

    on_a_bench(check)


def test_a_message_that_could_not_be_written_is_recovered_by_the_same_server() -> None:
    async def check(bench: Bench) -> None:
        bench.say("shown", 0)
        bench.hub.publish(MessageCompleted("m1", "shown"), "t1")
        with pytest.raises(StorageError):
            await bench.hub.flush()
        await SessionTable(bench.database).create(ROW)
        bench.hub.recover(await bench.journal.read("s1"))
        assert await bench.hub.unfinished("t1") == [MessageCompleted("m1", "shown")]

    on_a_bench(check)


def test_what_was_discarded_does_not_come_back_from_the_disk() -> None:
    async def check(bench: Bench) -> None:
        bench.say("wrong", 0)
        assert await bench.kept() == [piece("wrong", 0)]
        bench.hub.publish(MessageDiscarded("m1"), "t1")
        bench.say("right", 0, "m2")
        assert await bench.hub.unfinished("t1") == [MessageCompleted("m2", "right")]
        assert await bench.kept() == [piece("right", 0, "m2")]

    on_a_bench(check, ROW)


def test_drafts_of_another_turn_are_not_recovered() -> None:
    async def check(bench: Bench) -> None:
        await bench.journal.keep_draft("s1", [piece("old", 0)])
        assert await bench.hub.unfinished("t2") == []
        assert bench.hub.subscribe(answers=False).take() == []

    on_a_bench(check, ROW)


# --- the whole server ----------------------------------------------------------------------------

LONG = act({"thought": "hm"}, {"text": "word ", "repeat": 100_000, "delay": 0.001}, when={"user": "talk"})


async def kept(desk: Desk, window: Window) -> str:
    """Wait for the first pieces of a draft: the text on disk."""
    rows, seen = [], 0
    async with opened(Database(desk.database)) as database:
        while not rows:
            seen += 20
            await window.see(TextDelta, seen)
            rows = await database.fetch("SELECT text FROM drafts WHERE kind = 'text'")
    return "".join(row[0] for row in rows)


async def test_after_a_crash_the_answer_is_there_as_far_as_it_was_shown_and_stays_so(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with serving(before, [LONG, say("again")]) as desk:
        window = await desk.new()
        window.begin("talk")
        text = await kept(desk, window)
        await asyncio.to_thread(shutil.copytree, before, after)
    # What a crash leaves, without what the end of the first server wrote.
    shutil.rmtree(before)
    after.rename(before)
    async with serving(before, [LONG, say("again")]) as desk:
        again = await desk.open(window.session.session_id)
        (message,) = again.of(MessageCompleted)
        assert message.text.startswith(text)
        assert (message.thought, message.tool_calls) == ("hm", ())
        assert again.events[-2:] == [message, TurnEnded("interrupted")]
        check_all(again.durable)
        assert await again.prompt("and now?") == DONE
        check_messages(messages(again.session))
        await desk.server.sessions.close(again.session.session_id)
        assert (await desk.open(again.session.session_id)).durable == again.durable


async def test_a_window_that_opens_a_session_in_mid_answer_sees_all_of_it(tmp_path: Path) -> None:
    slow = act({"text": "word ", "chunks": 1, "repeat": 60, "delay": 0.002})
    async with serving(tmp_path, [slow]) as desk:
        first = await desk.new()
        turn_id = first.begin("talk")
        for count in (3, 9, 30):
            await first.see(TextDelta, count)
            await desk.open(first.session.session_id)
        assert await first.end(turn_id) == DONE
        for window in desk.windows:
            assert await window.end(turn_id) == DONE
            assert "".join(item.text for item in window.of(TextDelta)) == first.texts[0]
            check_all(window.seen)
