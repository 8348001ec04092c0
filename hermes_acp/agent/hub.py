"""One producer, many readers: numbers a session's events, journals them, then shows them.

A durable event is shown only after it is on disk, and nothing overtakes it. Publishing never waits;
`flush` does, for the moments when an effect must not happen before its announcement is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import replace
from typing import TypeVar

from hermes_acp.agent.unicode import storable
from hermes_acp.events import (
    LIVE,
    Envelope,
    Event,
    JournalFailed,
    Notice,
    OptionsChanged,
    PromptDropped,
    TextDelta,
    ThoughtDelta,
    TitleChanged,
)
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.journal import Journal

QUEUE_BOUND = 8_192
"""Envelopes that wait for one reader; a reader further behind re-reads the journal."""
MERGE_AFTER = 512
"""Waiting envelopes from which neighbouring deltas are merged."""
MERGE_BOUND = 16_384
"""Characters of a merged delta."""
LASTING = (PromptDropped, JournalFailed, OptionsChanged, TitleChanged, Notice)
"""Live events that are news, not progress: a reader who is behind gets them too."""

E = TypeVar("E", bound=Event)


class Subscription:
    """One reader's place in the stream."""

    def __init__(self, hub: Hub, *, answers: bool) -> None:
        self.answers = answers
        self._hub = hub
        self._queue: deque[Envelope] = deque()
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
        if envelope.seq is not None and envelope.seq > self._seen:
            self._seen = envelope.seq
            places = range(len(self._queue), 0, -1)
            self._forget(next((end for end in places if self._knows(self._queue[end - 1])), 0))

    def close(self) -> None:
        """Stop reading."""
        self._hub.unsubscribe(self)

    def put(self, envelope: Envelope) -> None:
        """Called by the hub: queue one envelope, within the bounds."""
        if self._knows(envelope):
            # The reader found it in the journal, just before it was shown.
            self._forget(len(self._queue))
            return
        if not self._behind and len(self._queue) >= QUEUE_BOUND:
            self.fall_behind()
        if self._behind:
            self._keep(envelope)
        elif len(self._queue) < MERGE_AFTER or not self._merge(envelope):
            self._queue.append(envelope)
        self._wake.set()

    def fall_behind(self) -> None:
        """Called by the hub: the reader has to go on from the journal."""
        self._behind = True
        self._forget(len(self._queue))
        self._wake.set()

    def _knows(self, envelope: Envelope) -> bool:
        return envelope.seq is not None and envelope.seq <= self._seen

    def _forget(self, end: int) -> None:
        """Drop what waits before `end`, but for live news."""
        waiting = list(self._queue)
        news = [item for item in waiting[:end] if isinstance(item.event, LASTING)]
        self._queue = deque([*news, *waiting[end:]])

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
        envelopes = await self._hub.journal.read(self._hub.session_id, self._seen)
        for envelope in envelopes[-1:]:
            self.seen(envelope)
        return [*envelopes, *self.take()]


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
        self._pending: deque[Envelope] = deque()
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

    def subscribe(self, *, answers: bool) -> Subscription:
        """Read everything that is shown from now on."""
        subscription = Subscription(self, answers=answers)
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

    def recover(self, last_seq: int) -> None:
        """After a failure and `settle`: go on behind `last_seq`, the last that the journal holds."""
        if self._failure is None or self._stopping:
            return
        if last_seq > self.committed:
            # The failed write had got this far, but nobody was shown these events.
            for subscription in self._subscriptions:
                subscription.fall_behind()
        self._failure = None
        self.last_seq = self.committed = last_seq

    def stop(self) -> None:
        """Let `run` end once everything published is written."""
        self._stopping = True
        self._work.set()

    async def run(self) -> None:
        """Write and show until stopped. Not to be cancelled: a write that broke off is undecided."""
        try:
            while not self._stopping or self._pending:
                await self._work.wait()
                await self._write()
        finally:
            # Whoever still waits for the disk must not wait for ever.
            self._stopping = True
            self._fail(StorageError("The session has ended. Open it again to go on."))

    async def _write(self) -> None:
        while self._pending:
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
            self._progress.set()
        if not self._stopping:
            self._work.clear()

    def _show_live(self) -> None:
        while self._pending and self._pending[0].seq is None:
            self._show(self._pending.popleft())

    def _fail(self, error: StorageError) -> None:
        self._failure = error
        self._pending.clear()
        self._progress.set()

    def _show(self, envelope: Envelope) -> None:
        for subscription in self._subscriptions:
            subscription.put(envelope)


def _last_seq(envelopes: list[Envelope], default: int) -> int:
    return next((item.seq for item in reversed(envelopes) if item.seq is not None), default)
