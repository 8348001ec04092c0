"""The stream of a session: numbered, on disk before it is shown, and never lost on a slow reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hermes_acp.agent.hub import MERGE_AFTER, NEWS_BOUND, QUEUE_BOUND, Hub, News
from hermes_acp.content import LinkBlock, TextBlock
from hermes_acp.events import (
    CompactionStarted,
    ContextCompacted,
    Envelope,
    Event,
    MessageCompleted,
    MessageDiscarded,
    Notice,
    PromptDropped,
    SessionStarted,
    StepStarted,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    ToolCallAnnounced,
    ToolCallFinished,
    TurnStarted,
)
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.journal import ROWS, Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

ROW = SessionRow("s1", "/p", "/p", "/p", (), None, "ask", "m", "default", 1.0, 1.0)


def message(number: int) -> MessageCompleted:
    return MessageCompleted(f"m{number}", f"text {number}")


@dataclass
class Stream:
    """A hub that writes to a real journal."""

    hub: Hub
    journal: Journal
    table: SessionTable

    async def fill(self, count: int, start: int = 1) -> None:
        """Publish so many messages and wait for the disk."""
        for number in range(start, start + count):
            self.hub.publish(message(number), "t1")
        await self.hub.flush()

    async def numbers(self) -> list[int | None]:
        """What the journal holds."""
        return [item.seq for item in await self.journal.read("s1")]


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[Stream]:
    database = await Database.open(tmp_path / "sessions.db")
    table, journal = SessionTable(database), Journal(database)
    await table.create(ROW)
    hub = Hub("s1", journal, last_seq=0, last_at=0.0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.run())
        yield Stream(hub, journal, table)
        hub.stop()
    await database.close()


async def test_a_durable_event_is_on_disk_when_it_is_shown(stream: Stream) -> None:
    reader = stream.hub.subscribe(answers=False)
    stream.hub.publish(SessionStarted("/p"))
    assert reader.take() == []
    (envelope,) = await reader.batch()
    assert await stream.journal.read("s1") == [envelope]


async def test_nothing_overtakes_a_durable_event_and_live_ones_alone_are_shown_at_once(
    stream: Stream,
) -> None:
    reader = stream.hub.subscribe(answers=False)
    stream.hub.publish(Notice("info", "first"))
    assert [item.event for item in reader.take()] == [Notice("info", "first")]
    events: list[Event] = [message(1), Notice("info", "second"), message(2), Notice("info", "third")]
    for event in events:
        stream.hub.publish(event)
    assert reader.take() == []
    await stream.hub.flush()
    assert [item.event for item in await reader.batch()] == events


async def test_a_reader_who_fell_behind_gets_every_durable_event_once_and_in_order(stream: Stream) -> None:
    slow = stream.hub.subscribe(answers=False)
    count = QUEUE_BOUND + 700
    await stream.fill(count)
    read = await slow.batch()
    assert [item.seq for item in read] == list(range(1, count + 1))
    await stream.fill(2, count + 1)
    assert [item.seq for item in await slow.batch()] == [count + 1, count + 2]


async def test_a_reader_is_woken_for_whatever_is_new(stream: Stream) -> None:
    woken: list[int] = []
    reader = stream.hub.subscribe(answers=False, wake=lambda: woken.append(reader.waiting))
    await stream.fill(2)
    assert (woken, [item.seq for item in reader.take()], reader.waiting) == ([1, 2], [1, 2], 0)
    await stream.fill(QUEUE_BOUND + 1, 3)
    assert (reader.behind, woken[-1], len(await reader.batch())) == (True, 0, QUEUE_BOUND + 1)
    assert not reader.behind


async def test_a_reader_who_fell_behind_still_hears_the_live_news(stream: Stream) -> None:
    slow = stream.hub.subscribe(answers=False)
    stream.hub.publish(PromptDropped(), "t0")
    for number in range(QUEUE_BOUND):
        stream.hub.publish(StepStarted(number, "m"), "t1")
    stream.hub.publish(PromptDropped(), "t2")
    read = await slow.batch()
    assert [(item.turn_id, item.event) for item in read] == [("t0", PromptDropped()), ("t2", PromptDropped())]


async def test_what_is_written_while_a_reader_catches_up_comes_once(stream: Stream) -> None:
    slow = stream.hub.subscribe(answers=False)
    await stream.fill(QUEUE_BOUND + 1)
    seen: list[int | None] = []
    last = QUEUE_BOUND + 200
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.fill(199, QUEUE_BOUND + 2))
        while last not in seen:
            seen += [item.seq for item in await slow.batch() if item.seq is not None]
            await asyncio.sleep(0)
    assert seen == list(range(1, last + 1))


async def test_a_reader_who_replays_while_events_come_sees_each_once(stream: Stream) -> None:
    for start in range(1, 400, 20):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.fill(20, start))
            await asyncio.sleep(0)
            reader = stream.hub.subscribe(answers=False)
            seen = await stream.journal.read("s1")
            for envelope in seen:
                reader.seen(envelope)
        await stream.hub.flush()
        seen += reader.take()
        assert [item.seq for item in seen] == list(range(1, start + 20))
        reader.close()


async def test_progress_towards_what_the_journal_told_already_does_not_come_late(stream: Stream) -> None:
    reader = stream.hub.subscribe(answers=False)
    stream.hub.publish(TextDelta("m1", "text 1", 0), "t1")
    stream.hub.publish(Notice("warning", "kept"), "t1")
    await stream.fill(1)
    stream.hub.publish(ToolCallAnnounced("c1", "read_file", "read"), "t1")
    for envelope in await stream.journal.read("s1"):
        reader.seen(envelope)
    assert [item.event for item in reader.take()] == [
        Notice("warning", "kept"),
        ToolCallAnnounced("c1", "read_file", "read"),
    ]


async def test_waiting_deltas_are_merged_and_no_character_is_lost(stream: Stream) -> None:
    slow = stream.hub.subscribe(answers=False)
    pieces = [f"{number} " for number in range(50_000)]
    offset = 0
    for piece in pieces:
        stream.hub.publish(TextDelta("m1", piece, offset), "t1")
        offset += len(piece)
    stream.hub.publish(ThoughtDelta("m1", "other", 0), "t1")
    read = [item.event for item in slow.take()]
    assert len(read) < MERGE_AFTER + 100
    deltas = [event for event in read if isinstance(event, TextDelta)]
    assert "".join(event.text for event in deltas) == "".join(pieces)
    position = 0
    for event in deltas:
        assert event.offset == position
        position += len(event.text)


async def test_who_joins_in_mid_answer_hears_it_from_its_beginning_and_goes_on_from_there(
    stream: Stream,
) -> None:
    hub = stream.hub
    events: list[Event] = [
        ThoughtDelta("m1", "Let me ", 0),
        ThoughtDelta("m1", "see.", 7),
        TextDelta("m1", "Hel", 0),
        TextDelta("m1", "lo", 3),
    ]
    for event in events:
        hub.publish(event, "t1")
    reader = hub.subscribe(answers=False)
    hub.publish(TextDelta("m1", " you", 5), "t1")
    assert [(item.seq, item.turn_id, item.event) for item in reader.take()] == [
        (None, "t1", ThoughtDelta("m1", "Let me see.", 0)),
        (None, "t1", TextDelta("m1", "Hello", 0)),
        (None, "t1", TextDelta("m1", " you", 5)),
    ]
    assert reader.take() == []
    hub.publish(MessageCompleted("m1", "Hello you", "Let me see."), "t1")
    await hub.flush()
    assert hub.subscribe(answers=False).take() == []


async def test_who_joins_a_compaction_hears_the_summary_so_far(stream: Stream) -> None:
    hub = stream.hub
    for event in (CompactionStarted("r1"), SummaryDelta("r1", "They ", 0), SummaryDelta("r1", "talked", 5)):
        hub.publish(event, "t1")
    reader = hub.subscribe(answers=False)
    assert [item.event for item in reader.take()] == [
        CompactionStarted("r1"),
        SummaryDelta("r1", "They talked", 0),
    ]
    hub.publish(ContextCompacted("r1", "completed", "They talked"), "t1")
    await hub.flush()
    assert hub.subscribe(answers=False).take() == []


async def test_what_was_discarded_is_told_to_nobody_who_joins(stream: Stream) -> None:
    hub = stream.hub
    for event in (TextDelta("m1", "wrong", 0), MessageDiscarded("m1"), TextDelta("m2", "right", 0)):
        hub.publish(event, "t1")
    assert [item.event for item in hub.subscribe(answers=False).take()] == [TextDelta("m2", "right", 0)]


async def test_who_replays_in_mid_answer_keeps_the_pieces_of_what_still_streams(stream: Stream) -> None:
    hub = stream.hub
    hub.publish(TextDelta("m2", "a", 0), "t1")
    reader = hub.subscribe(answers=False)
    await stream.fill(1)
    hub.publish(TextDelta("m2", "b", 1), "t1")
    for envelope in await stream.journal.read("s1"):
        reader.seen(envelope)
    assert [item.event for item in reader.take()] == [TextDelta("m2", "a", 0), TextDelta("m2", "b", 1)]


async def test_a_reader_who_fell_behind_hears_what_streams_from_its_beginning(stream: Stream) -> None:
    hub = stream.hub
    slow = hub.subscribe(answers=False)
    hub.publish(TextDelta("m2", "a", 0), "t1")
    await stream.fill(1)
    slow.fall_behind()
    hub.publish(TextDelta("m2", "b", 1), "t1")
    read = await slow.batch()
    assert [item.event for item in read] == [message(1), TextDelta("m2", "ab", 0)]


async def test_an_event_that_was_read_before_it_was_shown_takes_its_pieces_with_it(stream: Stream) -> None:
    hub = stream.hub
    for event in (TextDelta("m1", "text ", 0), TextDelta("m2", "on", 0)):
        hub.publish(event, "t1")
    reader = hub.subscribe(answers=False)
    hub.publish(message(1), "t1")
    hub.publish(TextDelta("m2", "ward", 2), "t1")
    # The writer has the event in its hands; the journal tells it to this reader first.
    reader.seen(Envelope("s1", 1, "t1", 0.0, message(1)))
    assert reader.take() == []
    await hub.flush()
    assert [item.event for item in await reader.batch()] == [
        TextDelta("m2", "on", 0),
        TextDelta("m2", "ward", 2),
    ]


async def test_a_reader_whose_journal_cannot_be_read_catches_up_later(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.write_text("in the way")
    database = Database(folder / "sessions.db")
    hub = Hub("s1", Journal(database), 0, 0.0)
    reader = hub.subscribe(answers=False)
    reader.fall_behind()
    hub.publish(TextDelta("m1", "on", 0), "t1")
    with pytest.raises(StorageError):
        await reader.batch()
    folder.unlink()
    assert [item.event for item in await reader.batch()] == [TextDelta("m1", "on", 0)]
    await database.close()


async def test_text_that_no_file_can_hold_is_replaced_before_anybody_sees_it(stream: Stream) -> None:
    reader = stream.hub.subscribe(answers=False)
    broken = ToolCallFinished("c1", "completed", "half \ud83d of it", (TextBlock("\udcff"),))
    whole = replace(broken, result="half ? of it", shown=(TextBlock("?"),))
    assert stream.hub.publish(broken) == whole
    assert stream.hub.publish(TextDelta("m1", "\udc00", 0)) == TextDelta("m1", "?", 0)
    await stream.hub.flush()
    assert [item.event for item in await reader.batch()] == [whole, TextDelta("m1", "?", 0)]
    assert [item.event for item in await stream.journal.read("s1")] == [whole]


async def test_numbers_that_no_file_can_hold_are_brought_back(stream: Stream) -> None:
    link = LinkBlock("file:///a", "a", size=10**30)
    turn = TurnStarted("m1", (link, TextBlock("\ud800")))
    kept = TurnStarted("m1", (replace(link, size=2**63 - 1), TextBlock("?")))
    assert stream.hub.publish(turn) == kept
    await stream.hub.flush()
    assert [item.event for item in await stream.journal.read("s1")] == [kept]


async def test_a_whole_event_is_published_as_it_is(stream: Stream) -> None:
    event = TurnStarted("m1", (TextBlock("é\0\U0001f600"),))
    assert stream.hub.publish(event) is event


async def test_after_a_failed_write_nothing_is_taken_until_it_recovers_where_the_journal_ends(
    stream: Stream,
) -> None:
    reader = stream.hub.subscribe(answers=False)
    await stream.fill(3)
    await stream.table.delete("s1")
    stream.hub.publish(message(4), "t1")
    with pytest.raises(StorageError):
        await stream.hub.flush()
    with pytest.raises(StorageError):
        stream.hub.publish(message(5), "t1")
    stream.hub.publish(Notice("error", "live ones still pass"))
    await stream.table.create(ROW)
    await stream.hub.settle()
    stream.hub.recover(await stream.journal.read("s1"))
    await stream.fill(2)
    assert await stream.numbers() == [1, 2]
    assert [item.seq for item in await reader.batch()][:4] == [1, 2, 3, None]
    assert stream.hub.news() == News(0, 2, tuple(await stream.journal.read("s1")))


async def test_events_that_a_failed_write_left_on_disk_are_kept_and_shown(stream: Stream) -> None:
    reader = stream.hub.subscribe(answers=False)
    await stream.fill(1)
    # The second statement of this batch fails: its first event is in the journal already.
    blocked = ROWS + 2
    await stream.journal.append([replace((await stream.journal.read("s1"))[0], seq=blocked)])
    stream.hub.publish(TextDelta("m2", "text", 0), "t1")
    for number in range(2, blocked + 1):
        stream.hub.publish(message(number), "t1")
    with pytest.raises(StorageError):
        await stream.hub.flush()
    journal = await stream.journal.read("s1")
    last = len(journal)
    stream.hub.recover(journal)
    assert stream.hub.so_far() == []
    assert stream.hub.news() == News(0, last, None)
    await stream.fill(1, last + 1)
    seen: list[int | None] = []
    while len(seen) < last + 1:
        seen += [item.seq for item in await reader.batch() if item.seq is not None]
    assert seen == list(range(1, last + 2))
    assert await stream.numbers() == seen


async def test_the_news_are_what_came_to_the_disk_since_they_were_asked_for(stream: Stream) -> None:
    await stream.fill(2)
    stream.hub.publish(Notice("info", "live"))
    stream.hub.publish(message(3), "t1")
    assert stream.hub.news() == News(0, 2, tuple(await stream.journal.read("s1")))
    await stream.hub.flush()
    assert stream.hub.news() == News(2, 3, tuple(await stream.journal.read("s1", 2)))
    assert stream.hub.news() == News(3, 3, ())


async def test_of_more_news_than_are_kept_only_the_journal_tells(stream: Stream) -> None:
    count = NEWS_BOUND + 2 * ROWS
    for start in range(1, count, ROWS):
        await stream.fill(ROWS, start)
    assert stream.hub.news() == News(0, stream.hub.committed, None)
    await stream.fill(1)
    assert stream.hub.news().events is not None


async def test_whoever_waits_for_the_disk_is_told_when_the_writer_is_gone(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sessions.db")
    hub = Hub("s1", Journal(database), 0, 0.0)
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(hub.run())
        await asyncio.sleep(0)
        hub.publish(message(1))
        waiting = tasks.create_task(hub.settle())
        writer.cancel()
    assert waiting.done()
    with pytest.raises(StorageError, match="has ended"):
        await hub.flush()
    await database.close()
