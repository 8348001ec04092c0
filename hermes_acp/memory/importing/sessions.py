"""Makes sessions of imported conversations: events in the journal, as if they had happened here."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hermes_acp.content import TextBlock
from hermes_acp.events import (
    Durable,
    Envelope,
    MessageCompleted,
    SessionStarted,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.memory.importing.records import Called, Record, Returned, Said
from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

SIDE_BY_SIDE = 8
"""Sessions that are written at once, whose writes share transactions."""
CLIENT = "import"
"""The window that imported messages come from."""
TITLE_CHARS = 100


@dataclass(frozen=True, slots=True)
class Target:
    """Where imported sessions belong: the project as sessions name it, and its folder, also its real path."""

    project: str
    cwd: str
    real_cwd: str


@dataclass(slots=True)
class Imported:
    """What became of a file: new sessions, records that are new or were known, sessions that are in use."""

    sessions: int = 0
    added: int = 0
    known: int = 0
    in_use: dict[str, str] = field(default_factory=dict[str, str])


class Importer:
    """Writes sessions into a database that others may be writing, too."""

    def __init__(self, database: Database, claims: Claims, target: Target) -> None:
        self._journal = Journal(database)
        self._table = SessionTable(database)
        self._claims = claims
        self._target = target

    async def take(self, sessions: dict[str, list[Record]]) -> Imported:
        """Add what is not there yet; what is, stays as it is. Raises `StorageError`.

        May be cancelled or killed at any time: the next time adds the rest.
        """
        outcome = Imported()
        waiting = iter(sessions.items())

        async def work() -> None:
            for name, records in waiting:
                await self._session(name, records, outcome)

        async with asyncio.TaskGroup() as group:
            for _ in range(SIDE_BY_SIDE):
                group.create_task(work())
        return outcome

    async def _session(self, name: str, records: list[Record], outcome: Imported) -> None:
        session_id = imported_id(self._target.project, name)
        try:
            await asyncio.to_thread(self._claims.claim, session_id)
        except SessionInUse as error:
            outcome.in_use[session_id] = str(error)
            return
        try:
            await self._write(session_id, name, records, outcome)
        finally:
            self._claims.release(session_id)

    async def _write(self, session_id: str, name: str, records: list[Record], outcome: Imported) -> None:
        held: list[Envelope] = []
        ordered = sorted(records, key=lambda record: record.at)
        if await self._table.get(session_id) is None:
            await self._table.create(self._row(session_id, name, ordered))
            outcome.sessions += 1
        else:
            held = await self._journal.read(session_id)
        known = {_key(item.event) for item in held}
        fresh = _fresh(ordered, known)
        outcome.added += len(fresh)
        outcome.known += len(records) - len(fresh)
        envelopes = await asyncio.to_thread(_continued, session_id, held, fresh, self._target)
        await self._journal.append(envelopes)

    def _row(self, session_id: str, name: str, records: Sequence[Record]) -> SessionRow:
        return SessionRow(
            session_id=session_id,
            project=self._target.project,
            cwd=self._target.cwd,
            real_cwd=self._target.real_cwd,
            additional_directories=(),
            title=name[:TITLE_CHARS],
            mode="ask",
            model="",
            effort="default",
            created_at=records[0].at,
            updated_at=records[-1].at,
        )


def imported_id(project: str, name: str) -> str:
    """The id of the session with this name in its file: the same each time."""
    return "i" + hashlib.sha256(f"{project}\0{name}".encode("utf-8", "replace")).hexdigest()[:23]


def _fresh(records: Iterable[Record], known: set[tuple[str, str]]) -> list[Record]:
    fresh: list[Record] = []
    for record in records:
        key = (_part(record), record.id)
        if key not in known:
            known.add(key)
            fresh.append(record)
    return fresh


def _part(record: Record) -> str:
    return {Said: "message", Called: "call", Returned: "result"}[type(record)]


def _key(event: object) -> tuple[str, str]:
    """What the record was that became this event."""
    match event:
        case TurnStarted() | MessageCompleted():
            return "message", event.message_id
        case ToolCallStarted():
            return "call", event.call_id
        case ToolCallFinished():
            return "result", event.call_id
        case _:
            return "", ""


def _continued(
    session_id: str, held: Sequence[Envelope], records: Sequence[Record], target: Target
) -> list[Envelope]:
    """The envelopes that go on behind those that a session has."""
    events = _Events(held)
    told: list[tuple[float, str, Durable]] = []
    if not held:
        told.append((records[0].at, "", SessionStarted(target.cwd)))
    for record in records:
        told += [(record.at, turn_id, event) for turn_id, event in events.of(record)]
    end = records[-1].at if records else 0.0
    told += [(end, turn_id, event) for turn_id, event in events.end()]
    last_seq, latest = (held[-1].seq or 0, held[-1].at) if held else (0, 0.0)
    envelopes: list[Envelope] = []
    for seq, (at, turn_id, event) in enumerate(told, last_seq + 1):
        latest = max(latest, at)
        envelopes.append(Envelope(session_id, seq, turn_id, latest, event))
    return envelopes


class _Events:
    """Makes events of records: each message of the user begins a turn, and all that is begun ends."""

    def __init__(self, held: Sequence[Envelope]) -> None:
        self._turn_id = _open_turn(held[-1]) if held else ""
        self._turns = sum(isinstance(item.event, TurnStarted) for item in held)
        self._open: dict[str, None] = {}
        for item in held:
            self._note(item.event)

    def of(self, record: Record) -> Iterator[tuple[str, Durable]]:
        """The events of a record, each with its turn."""
        if isinstance(record, Said) and record.role == "user":
            yield from self.end()
            content = (TextBlock(record.text),)
            yield self._began(
                TurnStarted(record.id, content, CLIENT, speaker=record.speaker, branch=record.branch)
            )
            return
        if not self._turn_id:
            # Somebody else had the first word.
            yield self._began(TurnStarted(f"{record.id}-", (), CLIENT, branch=record.branch))
        if isinstance(record, Returned) and record.id not in self._open:
            yield self._noted(_started(Called(record.session, record.at, record.id, "tool", "{}")))
        yield self._noted(_event(record))

    def end(self) -> Iterator[tuple[str, Durable]]:
        """The end of the turn and of what runs in it."""
        if not self._turn_id:
            return
        for call_id in list(self._open):
            yield self._noted(ToolCallFinished(call_id, "unknown", ""))
        yield self._turn_id, TurnEnded("end_turn")
        self._turn_id = ""

    def _began(self, event: TurnStarted) -> tuple[str, Durable]:
        self._turns += 1
        self._turn_id = f"{CLIENT}{self._turns}"
        return self._turn_id, event

    def _noted(self, event: Durable) -> tuple[str, Durable]:
        self._note(event)
        return self._turn_id, event

    def _note(self, event: object) -> None:
        if isinstance(event, ToolCallStarted):
            self._open[event.call_id] = None
        elif isinstance(event, ToolCallFinished):
            self._open.pop(event.call_id, None)


def _open_turn(last: Envelope) -> str:
    """The turn that an earlier import began and did not end; nothing else is ours to end."""
    is_open = last.turn_id.startswith(CLIENT) and not isinstance(last.event, TurnEnded)
    return last.turn_id if is_open else ""


def _event(record: Record) -> Durable:
    match record:
        case Said():
            return MessageCompleted(record.id, record.text, speaker=record.speaker)
        case Called():
            return _started(record)
        case Returned():
            return ToolCallFinished(record.id, "failed" if record.failed else "completed", record.text)


def _started(call: Called) -> ToolCallStarted:
    return ToolCallStarted(call.id, call.name, call.name, "other", call.arguments)
