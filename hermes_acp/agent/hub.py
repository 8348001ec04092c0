"""One producer, many readers: numbers a session's events, journals them, then shows them.

A durable event is shown only after it is on disk, and nothing overtakes it. Publishing never waits;
`flush` does, for the moments when an effect must not happen before its announcement is safe. What is
streamed is shown at once, follows to the disk within `KEEP_AFTER`, and is told to whoever joins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from hermes_acp.agent.drafts import Drafts
from hermes_acp.agent.unicode import storable
from hermes_acp.events import (
    LIVE,
    Envelope,
    Event,
    JournalFailed,
    MessageCompleted,
    Notice,
    OptionsChanged,
    PlaceChanged,
    PromptDropped,
    SessionEnded,
    TextDelta,
    ThoughtDelta,
    TitleChanged,
)
from hermes_acp.records import record
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.journal import Journal

QUEUE_BOUND = 8_192
"""Envelopes that wait for one reader; a reader further behind re-reads the journal."""
MERGE_AFTER = 512
"""Waiting envelopes from which neighbouring deltas are merged."""
MERGE_BOUND = 16_384
"""Characters of a merged delta."""
KEEP_AFTER = 0.4
"""Seconds after which streamed text is written down: half a second, less the time of the write."""
NEWS_BOUND = 512
"""Envelopes that are at hand for `news`; of more than these only the journal tells."""
KEEP_TOGETHER = 0.1
"""Sessions write what they stream at multiples of so many seconds, so that they share transactions."""
LASTING = (PromptDropped, JournalFailed, OptionsChanged, TitleChanged, PlaceChanged, Notice, SessionEnded)
"""Live events that are news, not progress: a reader who is behind gets them too."""

E = TypeVar("E", bound=Event)

logger = logging.getLogger(__name__)


class Subscription:
    """One reader's place in the stream.

    It begins with what is being streamed at this moment, as pieces with offset 0. So does what comes
    after the reader fell behind: a piece may tell again what an earlier one told.

    `wake` is called for whatever is new; it must not read there and then.
    """

    def __init__(self, hub: Hub, *, answers: bool, wake: Callable[[], None]) -> None:
        self.answers = answers
        self._hub = hub
        self._tell = wake
        self._queue: deque[Envelope] = deque(hub.so_far())
        self._wake = asyncio.Event()
        self._seen = hub.committed
        self._behind = False

    async def batch(self) -> list[Envelope]:
        """Everything new, in order; waits for at least one envelope. Raises `StorageError`."""
        while not self._queue and not self._behind:
            self._wake.clear()
            await self._wake.wait()
        if self._behind:
            return await self._catch_up()
        return self.take()

    @property
    def waiting(self) -> int:
        """How many envelopes `take` would give."""
        return len(self._queue)

    @property
    def behind(self) -> bool:
        """Whether `batch` has to read the journal."""
        return self._behind

    def take(self) -> list[Envelope]:
        """What waits right now, without waiting."""
        envelopes = list(self._queue)
        self._queue.clear()
        self._seen = _last_seq(envelopes, self._seen)
        return envelopes

    def seen(self, envelope: Envelope) -> None:
        """The reader has this durable envelope from the journal: it does not come again.

        Neither does the progress that led to it.
        """
        if envelope.seq is None or envelope.seq <= self._seen:
            return
        self._seen = envelope.seq
        if self._seen > self._hub.committed:
            # It is on disk, but not shown yet: all that waits led to it.
            self._queue = deque(self._news())
        else:
            self._forget()

    def close(self) -> None:
        """Stop reading."""
        self._hub.unsubscribe(self)

    def put(self, envelope: Envelope) -> None:
        """Called by the hub: queue one envelope, within the bounds."""
        if self._knows(envelope):
            # The reader found it in the journal, just before it was shown.
            self._start_over()
            return
        if not self._behind and len(self._queue) >= QUEUE_BOUND:
            self.fall_behind()
        if self._behind:
            self._keep(envelope)
        elif len(self._queue) < MERGE_AFTER or not self._merge(envelope):
            self._queue.append(envelope)
        self._wake.set()
        self._tell()

    def fall_behind(self) -> None:
        """Called by the hub: the reader has to go on from the journal."""
        self._behind = True
        self._queue = deque(self._news())
        self._wake.set()
        self._tell()

    def _knows(self, envelope: Envelope) -> bool:
        return envelope.seq is not None and envelope.seq <= self._seen

    def _forget(self) -> None:
        """Drop what led to the newest event that the reader knows; not what goes on after it."""
        waiting = list(self._queue)
        end = next((end for end in range(len(waiting), 0, -1) if self._knows(waiting[end - 1])), 0)
        kept = [
            item for item in waiting[:end] if isinstance(item.event, LASTING) or self._hub.alive(item.event)
        ]
        self._queue = deque([*kept, *waiting[end:]])

    def _start_over(self) -> None:
        self._queue = deque([*self._news(), *self._hub.so_far()])
        self._wake.set()
        self._tell()

    def _news(self) -> list[Envelope]:
        return [item for item in self._queue if isinstance(item.event, LASTING)]

    def _keep(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, LASTING) and len(self._queue) < QUEUE_BOUND:
            self._queue.append(envelope)

    def _merge(self, envelope: Envelope) -> bool:
        last = self._queue[-1]
        match last.event, envelope.event:
            case (TextDelta() as old, TextDelta() as new) | (ThoughtDelta() as old, ThoughtDelta() as new):
                if old.message_id != new.message_id or len(old.text) > MERGE_BOUND:
                    return False
                self._queue[-1] = replace(last, event=replace(old, text=old.text + new.text))
                return True
            case _:
                return False

    async def _catch_up(self) -> list[Envelope]:
        self._behind = False
        self._start_over()
        try:
            envelopes = await self._hub.journal.read(self._hub.session_id, self._seen)
        except BaseException:  # a cancellation, too: undone here and passed on
            self.fall_behind()
            raise
        for envelope in envelopes[-1:]:
            self.seen(envelope)
        return [*envelopes, *self.take()]


@record
class News:
    """What came into the journal behind `after`, up to `until`; without `events` it has to be read there."""

    after: int
    until: int
    events: tuple[Envelope, ...] | None


class Hub:
    """The stream of one session."""

    def __init__(self, session_id: str, journal: Journal, last_seq: int, last_at: float) -> None:
        self.session_id = session_id
        self.journal = journal
        self.last_seq = last_seq
        """The number of the last durable event that was published."""
        self.committed = last_seq
        """The number of the last one that is on disk and shown."""
        self._at = last_at
        self._drafts = Drafts()
        self._keeping: asyncio.TimerHandle | None = None
        self._keep_now = False
        self._pending: deque[Envelope] = deque()
        self._news: list[Envelope] = []
        self._news_after = last_seq
        self._subscriptions: list[Subscription] = []
        self._work = asyncio.Event()
        self._progress = asyncio.Event()
        self._failure: StorageError | None = None
        self._stopping = False

    @property
    def answerable(self) -> bool:
        """Whether somebody is there who can answer a question."""
        return self.answerers > 0

    @property
    def answerers(self) -> int:
        """How many readers can answer questions."""
        return sum(subscription.answers for subscription in self._subscriptions)

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return bool(self._subscriptions)

    def subscribe(self, *, answers: bool, wake: Callable[[], None] = lambda: None) -> Subscription:
        """Read what is being streamed, and everything that is shown from now on."""
        subscription = Subscription(self, answers=answers, wake=wake)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Called by `Subscription.close`."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def publish(self, event: E, turn_id: str = "") -> E:
        """Number the event and show it as soon as everything before it is on disk.

        Gives the event as it was published: text that UTF-8 cannot carry is replaced. Raises
        `StorageError` for a durable event when an earlier one could not be written.
        """
        event = storable(event)
        if isinstance(event, LIVE):
            envelope = Envelope(self.session_id, None, turn_id, self._at, event)
            if not self._pending:
                self._show(envelope)
                return event
        else:
            if self._failure is not None:
                raise self._failure
            self.last_seq += 1
            self._at = max(self._at, time.time())
            envelope = Envelope(self.session_id, self.last_seq, turn_id, self._at, event)
        self._pending.append(envelope)
        self._work.set()
        return event

    async def flush(self) -> None:
        """Wait until everything published is on disk. Raises `StorageError` when it cannot be."""
        target = self.last_seq
        while self.committed < target:
            if self._failure is not None:
                raise self._failure
            self._progress.clear()
            await self._progress.wait()

    async def settle(self) -> None:
        """Wait until nothing is on its way to the disk, be it written or lost."""
        with contextlib.suppress(StorageError):
            await self.flush()

    def news(self) -> News:
        """What is on disk now and was not when this was asked for the last time."""
        after, until, events = self._news_after, self.committed, tuple(self._news)
        self._news, self._news_after = [], until
        # After a failed write, and beyond the bound, some are missing: numbers have no gap.
        return News(after, until, events if len(events) == until - after else None)

    def recover(self, journal: Sequence[Envelope]) -> None:
        """After a failure and `settle`: go on behind the last event of the session's whole journal."""
        if self._failure is None or self._stopping:
            return
        # The failed write may have got further than anybody was shown.
        unseen = [item for item in journal if (item.seq or 0) > self.committed]
        for envelope in unseen:
            self._drafts.take(envelope)
        self._failure = None
        self.last_seq = self.committed = (journal[-1].seq or 0) if journal else 0
        self._news, self._news_after = [], min(self._news_after, self.committed)
        if unseen:
            for subscription in self._subscriptions:
                subscription.fall_behind()

    async def unfinished(self, turn_id: str) -> list[MessageCompleted]:
        """What this turn streamed of messages that were not completed, here or before a server died.

        Raises `StorageError`.
        """
        pieces = await self.journal.draft(self.session_id)
        self._drafts.recover(piece for piece in pieces if piece.turn_id == turn_id)
        return self._drafts.messages()

    def so_far(self) -> list[Envelope]:
        """What is being streamed, as a reader has to hear it who was not there."""
        placed = self._drafts.so_far()
        return [Envelope(self.session_id, None, turn_id, self._at, event) for turn_id, event in placed]

    def alive(self, event: Event) -> bool:
        """Whether the event is a piece of something that is still being streamed."""
        return self._drafts.alive(event)

    def stop(self) -> None:
        """Let `run` end once everything published is written."""
        self._stopping = True
        self._work.set()

    async def run(self) -> None:
        """Write and show until stopped. Not to be cancelled: a write that broke off is undecided."""
        try:
            while not self._stopping or self._pending:
                await self._work.wait()
                self._work.clear()
                while self._pending or self._keep_now:
                    await self._write()
                    await self._keep()
        finally:
            # Whoever still waits for the disk must not wait for ever.
            self._stopping = True
            self._fail(StorageError("The session has ended. Open it again to go on."))

    async def _write(self) -> None:
        self._show_live()
        batch = list(self._pending)
        durable = [envelope for envelope in batch if envelope.seq is not None]
        try:
            if durable:
                await self.journal.append(durable)
        except StorageError as error:
            self._fail(error)
            return
        for envelope in batch:
            self._pending.popleft()
            self._show(envelope)
        self.committed = _last_seq(durable, self.committed)
        if len(self._news) < NEWS_BOUND:
            self._news += durable
        self._progress.set()

    async def _keep(self) -> None:
        """Write down what was streamed. Where that fails it is tried again, and nobody has to wait."""
        if not self._keep_now:
            return
        self._keep_now, self._keeping = False, None
        change = self._drafts.change()
        try:
            if change.discarded:
                await self.journal.drop_draft(self.session_id, change.discarded)
            if change.pieces:
                await self.journal.keep_draft(self.session_id, change.pieces)
        except StorageError as error:
            logger.warning("session %s: streamed text is not safe yet: %s", self.session_id, error)
            self._drafts.not_kept()
        else:
            self._drafts.kept(change)

    def _keep_later(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + KEEP_AFTER
        self._keeping = loop.call_at(latest - latest % KEEP_TOGETHER, self._keep_is_due)

    def _keep_is_due(self) -> None:
        self._keep_now = True
        self._work.set()

    def _show_live(self) -> None:
        while self._pending and self._pending[0].seq is None:
            self._show(self._pending.popleft())

    def _fail(self, error: StorageError) -> None:
        self._failure = error
        self._pending.clear()
        self._progress.set()

    def _show(self, envelope: Envelope) -> None:
        self._drafts.take(envelope)
        if self._drafts.unkept and self._keeping is None:
            self._keep_later()
        for subscription in self._subscriptions:
            subscription.put(envelope)


def _last_seq(envelopes: list[Envelope], default: int) -> int:
    return next((item.seq for item in reversed(envelopes) if item.seq is not None), default)
