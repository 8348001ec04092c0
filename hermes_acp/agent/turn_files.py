"""What a turn does to files: noted as it happens, recorded before the first effect and after the last.

Most effects need not wait for that. A write through `Documents` says itself what was there before it,
so the record is made beside it and amended. What runs a program has to wait, because nobody knows
what it will write. The record after a turn is made behind the turn's end, because no answer and no
cancel should wait for git; the next turn waits instead, before it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from hermes_acp.agent.recorded import NotRecorded, Written
from hermes_acp.events import CheckpointMissed, Event, Notice
from hermes_acp.policy.effects import Effect
from hermes_acp.storage.errors import StorageError
from hermes_acp.workspace.documents import Document

if TYPE_CHECKING:
    from hermes_acp.agent.checkpointing import Checkpointing, Start
    from hermes_acp.agent.history import Past

QUIET_SECONDS = 0.1
"""How long the record waits after a write that nobody was asked about: git and the answer to the model
would be in each other's way."""
BEFORE_SECONDS = 15.0
"""How long a program waits for the record of the files before it; then it runs without."""
AFTER_SECONDS = 30.0
"""How long the record after a turn may take, for which the next turn waits."""
CLOSING_SECONDS = 5.0
"""How long a session that ends waits for that record."""
KEPT_CHARS = 64 * 1024 * 1024
"""So much of what a turn wrote is kept until its end; a turn that writes more cannot be taken back."""
MISSED = "/undo will not bring files back for this turn"
ABANDONED = "recording the files before an earlier turn still goes on"
SLOW = "recording the files before it took longer than {:g} s"
SLOW_END = f"recording the files after it took longer than {AFTER_SECONDS:g} s"
BUG = "of an internal error; the log has more"
TOO_MUCH = f"its edits have more than {KEPT_CHARS // 1024 // 1024} million characters together"

logger = logging.getLogger(__name__)


class Recording:
    """The records of one session's turns, one after the other."""

    def __init__(
        self,
        session_id: str,
        open_: Callable[[], Awaitable[Checkpointing]],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        patience: float = BEFORE_SECONDS,
    ) -> None:
        self.session_id = session_id
        self.patience = patience
        """Seconds that a program waits for the record before it."""
        self.late: asyncio.Task[None] | None = None
        """A record for which a program did not wait."""
        self._open = open_
        self._spawn = spawn
        self._opened: Checkpointing | None = None
        self._current: TurnFiles | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    async def checkpointing(self) -> Checkpointing:
        """The session's checkpoints, opened at the first need."""
        if self._opened is None:
            self._opened = await self._open()
        return self._opened

    def begin(self, cwd: str, title: str, publish: Callable[[Event], None]) -> TurnFiles:
        """The files of the turn that runs now; `publish` is called behind its end, too."""
        self._current = TurnFiles(self, cwd, title, publish)
        return self._current

    def end(self) -> None:
        """The turn has ended: record how it left the files. Never waits; a second time does nothing."""
        if self._current is not None:
            self._closing = self.spawn(self._current.close())
            self._current = None

    async def tidy(self, cwd: str) -> None:
        """Let old checkpoints go, once a day for each project."""
        try:
            await (await self.checkpointing()).tidy(cwd)
        except NotRecorded as error:
            logger.warning("old checkpoints stay: %s", error)

    def end_interrupted(self, cwd: str, turn: Past, publish: Callable[[Event], None]) -> None:
        """The same for a turn whose server died before it could do so."""
        if self._closing is None or self._closing.done():
            self._closing = self.spawn(close_interrupted(self, cwd, turn, publish))

    async def settled(self) -> None:
        """Wait until the last turn is recorded; at most a little longer than `AFTER_SECONDS`."""
        if self._closing is not None:
            await asyncio.wait((self._closing,))

    async def stop(self) -> None:
        """Give the last record `CLOSING_SECONDS`; what is not ready then is made at the next opening."""
        if self._closing is not None:
            await asyncio.wait((self._closing,), timeout=CLOSING_SECONDS)
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run beside the session, at most until its end."""
        task = self._spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class TurnFiles:
    """The files of one turn; `publish` puts an event in the turn, or behind it once it has ended.

    A witness of its `Documents`, and the guard of its calls.
    """

    def __init__(self, recording: Recording, cwd: str, title: str, publish: Callable[[Event], None]) -> None:
        self.written: dict[str, Written] = {}
        self.runs: list[tuple[float, float]] = []
        """When programs of the turn ran, by the clock that files have."""
        self._recording = recording
        self._cwd = cwd
        self._title = title
        self._publish = publish
        self._running: dict[str, float] = {}
        self._missed = ""
        self._start: Start | None = None
        self._starting: asyncio.Task[None] | None = None
        self._admitted = asyncio.Event()
        self._hurry = asyncio.Event()

    # --- the guard of the calls ------------------------------------------------------------------

    def expect(self) -> None:
        """The user is asked about something that may change files: begin the record meanwhile."""
        self._hurry.set()
        self._look()

    async def admit(self, call_id: str, effect: Effect) -> None:
        """It is about to change files; a program has to wait for the record, within `BEFORE_SECONDS`."""
        self._admitted.set()
        self._look()
        if effect.kind != "write":
            self._hurry.set()
            await self._wait()
            self._running[call_id] = time.time()

    async def _wait(self) -> None:
        if self._starting is None or self._missed:
            return
        late = self._recording.late
        if late is not None and not late.done():
            # What takes so long would do so again.
            self._miss(ABANDONED)
            return
        await asyncio.wait((self._starting,), timeout=self._recording.patience)
        if not self._starting.done():
            self._recording.late = self._starting
            self._miss(SLOW.format(self._recording.patience))

    def ended(self, call_id: str) -> None:
        """The call is over, however it went."""
        if (began := self._running.pop(call_id, None)) is not None:
            self.runs.append((began, time.time()))

    # --- the witness of the documents ------------------------------------------------------------

    def wrote(self, before: Document, after: Document, *, sure: bool) -> None:
        """Note a write."""
        known = self.written.get(before.path)
        # What the user did to the file in between is theirs, and what was before it is no more ours.
        if known is not None and (known.after == before or known.runs < len(self.runs)):
            before = known.before
        self.written[before.path] = Written(before, after, sure, len(self.runs))
        if sum(len(item.before.text) + len(item.after.text) for item in self.written.values()) > KEPT_CHARS:
            self._miss(TOO_MUCH)
        if self._missed:
            self.written.clear()

    # --- the records -----------------------------------------------------------------------------

    def _look(self) -> None:
        if self._starting is None:
            self._starting = self._recording.spawn(self._begin())

    async def _begin(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await self._hurry.wait()
        try:
            checkpointing = await self._recording.checkpointing()
            if not await checkpointing.knows(self._cwd):
                # As long as the user may refuse, nothing is written into their folder.
                await self._admitted.wait()
            start = await checkpointing.start(self._cwd, self._recording.session_id, self._title)
            # Nothing is said of effects that were refused.
            await self._admitted.wait()
            if not self._missed:
                self._start = await checkpointing.amended(start, self.written.copy())
                self._tell(self._start.told("before"))
        except NotRecorded as error:
            await self._admitted.wait()
            self._miss(str(error))
        except Exception:  # boundary: a bug here costs the undo, never the session
            logger.exception("session %s: the files were not recorded", self._recording.session_id)
            self._miss(BUG)

    async def close(self) -> None:
        """Record how the turn left the files; `AFTER_SECONDS` at most. Not to be called before its end."""
        if self._starting is None or self._missed:
            return
        if not self._admitted.is_set():
            self._starting.cancel()
            return
        self._hurry.set()
        try:
            async with asyncio.timeout(AFTER_SECONDS):
                await asyncio.wait((self._starting,))
                await self._end()
        except TimeoutError:
            self._starting.cancel()
            self._miss(SLOW_END)
        except NotRecorded as error:
            self._miss(str(error))
        except Exception:  # boundary: a bug here costs the undo, never the session
            logger.exception("session %s: the files were not recorded", self._recording.session_id)
            self._miss(BUG)

    async def _end(self) -> None:
        if self._start is None or self._missed:
            return
        checkpointing = await self._recording.checkpointing()
        start = await checkpointing.amended(self._start, self.written)
        after = await checkpointing.end(start, self.written, tuple(self.runs), self._title)
        if start != self._start:
            self._tell(start.told("before"))
        self._tell(after.told("after"))
        self._recording.spawn(self._recording.tidy(self._cwd))

    def _miss(self, reason: str) -> None:
        if not self._missed:
            self._missed = reason
            self._tell(CheckpointMissed(reason))
            if reason != ABANDONED:
                self._tell(Notice("warning", MISSED, f"{reason[0].upper()}{reason[1:]}."))

    def _tell(self, event: Event) -> None:
        try:
            self._publish(event)
        except StorageError as error:
            # The journal is broken, which a turn finds out by itself.
            logger.warning("session %s: %s", self._recording.session_id, error)


async def close_interrupted(
    recording: Recording, cwd: str, turn: Past, publish: Callable[[Event], None]
) -> None:
    """Record how a turn left the files whose server died; `AFTER_SECONDS` at most."""
    assert turn.before is not None
    event: Event
    try:
        async with asyncio.timeout(AFTER_SECONDS):
            checkpointing = await recording.checkpointing()
            end = await checkpointing.end_of_interrupted(cwd, recording.session_id, turn.before, turn.calls)
            event = end.told("after")
    except TimeoutError:
        event = CheckpointMissed(SLOW_END)
    except NotRecorded as error:
        event = CheckpointMissed(str(error))
    except Exception:  # boundary: a bug here costs the undo, never the session
        logger.exception("session %s: the files were not recorded", recording.session_id)
        event = CheckpointMissed(BUG)
    try:
        publish(event)
    except StorageError as error:
        logger.warning("session %s: %s", recording.session_id, error)
