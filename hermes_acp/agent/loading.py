"""Goes on where the journal of a session ends, and closes what a dead server left open."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from hermes_acp.agent import history
from hermes_acp.agent.parts import Parts
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.agent.recovery import closing_events
from hermes_acp.agent.workbench import Workbench
from hermes_acp.events import Envelope, Notice, Rewound, SessionStarted

logger = logging.getLogger(__name__)


class Loading:
    """Brings one session up from its journal: at its first need, and again after the journal failed."""

    def __init__(self, parts: Parts, workbench: Workbench) -> None:
        self._parts = parts
        self._workbench = workbench
        self._loaded = False
        self._alone = asyncio.Lock()

    def forget(self) -> None:
        """Nobody knows any more what the journal has: look again before the next turn."""
        self._loaded = False

    async def once(self) -> None:
        """Load what was not loaded. Raises `StorageError`."""
        if not self._loaded:
            await self.load()

    async def load(self) -> list[Envelope]:
        """Bring the conversation up: everything that happened. Raises `StorageError`."""
        async with self._alone:
            if self._loaded:
                return await self._parts.services.journal.read(self._parts.hub.session_id)
            envelopes = await self._take_up()
            self._loaded = True
            last = history.tail(envelopes).last
            if last is not None and last.unsettled:
                publish = partial(self._parts.transcript.publish_of, "")
                self._parts.recording.end_interrupted(self._workbench.place.cwd, last, publish)
            return envelopes

    async def _take_up(self) -> list[Envelope]:
        """Go on where the journal ends: all that it holds. Raises `StorageError`."""
        hub, journal = self._parts.hub, self._parts.services.journal
        publish = self._parts.transcript.publish
        await hub.settle()
        envelopes = await journal.read(hub.session_id)
        last_seq = (envelopes[-1].seq or 0) if envelopes else 0
        hub.recover(envelopes)
        self._parts.transcript.begin(envelopes)
        if not envelopes:
            row = self._workbench.row
            publish(SessionStarted(row.cwd, row.additional_directories), "")
        turn_id = envelopes[-1].turn_id if envelopes else ""
        if (rewound := await self._rewound(envelopes)) is not None:
            publish(rewound, turn_id)
        if warning := await self._unapplied(envelopes):
            publish(Notice("warning", warning), turn_id)
        drafts = await hub.unfinished(turn_id)
        for event in closing_events((envelope.event for envelope in envelopes), drafts):
            publish(event, turn_id)
        if hub.last_seq > last_seq:
            await hub.flush()
            envelopes += await journal.read(hub.session_id, last_seq)
        return envelopes

    async def _rewound(self, envelopes: list[Envelope]) -> Rewound | None:
        """What a command did to the files whose server died before it could say so."""
        command = history.tail(envelopes).open_aside
        if not command:
            return None
        session_id, cwd = self._parts.hub.session_id, self._workbench.place.cwd
        try:
            checkpointing = await self._parts.recording.checkpointing()
            await checkpointing.recover(cwd)
            return await checkpointing.rewound(cwd, session_id, command)
        except NotRecorded as error:
            logger.warning("session %s: nobody knows whether files were rewound: %s", session_id, error)
            return None

    async def _unapplied(self, envelopes: list[Envelope]) -> str:
        """Take back what an `/apply` left half done whose server died; what the user has to know of it."""
        row = self._workbench.row
        if not (row.worktree and history.tail(envelopes).open_aside):
            return ""
        return await (await self._parts.services.isolation()).recover(row)
