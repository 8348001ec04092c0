"""A home folder with stored sessions, the command that reads them, and windows of a real shared server."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes_acp.cli import server_control
from hermes_acp.cli.acp_client import Agent, speaking
from hermes_acp.cli.sessions import command as sessions
from hermes_acp.content import TextBlock
from hermes_acp.events import Envelope, Event, MessageCompleted, SessionStarted, TurnEnded, TurnStarted
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

Json = dict[str, Any]

PATIENCE = 60.0
"""Seconds that something expected may take; a test that reaches it has failed."""
FIRST = 1_000_000.0
"""When the first session was made; each later one a second later."""


@dataclass(frozen=True)
class Home:
    path: Path

    @property
    def env(self) -> dict[str, str]:
        return {"HERMES_EDITOR_HOME": str(self.path)}

    @property
    def database(self) -> Path:
        return self.path / "data" / "sessions.db"

    @property
    def claims(self) -> Path:
        return self.path / "data" / "claims"

    def run(self, *words: str) -> int:
        """The command in this process; its exit code."""
        parser = argparse.ArgumentParser()
        sessions.register(parser.add_subparsers())
        return sessions.run(parser.parse_args(["sessions", *words]), self.env)

    def hold(self, *held: SessionRow, said: Iterable[Event] | None = None) -> None:
        """Keep these sessions, each of one turn or with what was said."""
        asyncio.run(self._hold(held, said))

    async def _hold(self, held: Iterable[SessionRow], said: Iterable[Event] | None) -> None:
        database = await Database.open(self.database)
        for session in held:
            await SessionTable(database).create(session)
            await Journal(database).append(envelopes(session, turn() if said is None else said))
        await database.close()


def row(number: int, title: str | None = "A title", cwd: str = "/code", **members: Any) -> SessionRow:
    """A session; the higher its number, the newer it is."""
    at = FIRST + number
    values = {"session_id": f"s{number}", "mode": "ask", "model": "scripted/x", "effort": "default"}
    return SessionRow(
        **{**values, **members},
        project="p",
        cwd=cwd,
        real_cwd=cwd,
        additional_directories=(),
        title=title,
        created_at=at,
        updated_at=at,
    )


def turn(asked: str = "Hello", answered: str = "Hello yourself") -> list[Event]:
    """All events of a session of one turn."""
    return [
        SessionStarted("/code"),
        TurnStarted("m1", (TextBlock(asked),)),
        MessageCompleted("m2", answered),
        TurnEnded("end_turn"),
    ]


def envelopes(session: SessionRow, said: Iterable[Event]) -> list[Envelope]:
    """The events as the journal has them."""
    return [
        Envelope(session.session_id, seq, "" if seq == 1 else "t1", session.updated_at, event)
        for seq, event in enumerate(said, 1)
    ]


# --- with a server -------------------------------------------------------------------------------


@dataclass
class Window:
    """An editor's side of the shared server; keeps what it is shown."""

    updates: list[Json] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, session_id: str, update: Json) -> None:
        self.updates.append(update)
        self.news.set()

    async def answer(self, method: str, params: Json) -> Json:
        return {"outcome": {"outcome": "cancelled"}}

    async def shown(self, kind: str) -> Json:
        """The first update of this kind."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for update in self.updates:
                    if update["sessionUpdate"] == kind:
                        return update
                self.news.clear()
                await self.news.wait()


@dataclass(frozen=True)
class Hosted(Home):
    """A home whose sessions a shared server holds; `end` must be called."""

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "HERMES_EDITOR_HOME": str(self.path),
            "HERMES_EDITOR_SERVER_IDLE": "2",
            "HERMES_EDITOR_MODEL": f"scripted/{self.path / 'script.jsonl'}",
        }

    def play(self, *answers: Json) -> None:
        """What the model says."""
        self.path.joinpath("script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers))

    @asynccontextmanager
    async def window(self) -> AsyncIterator[tuple[Agent, Window]]:
        """The program as an editor starts it, introduced; it starts the server when none runs."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hermes_acp", "acp"),
            env=self.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        window = Window()
        try:
            async with speaking(process.stdout, process.stdin, window) as agent:
                await agent.initialize("test", {})
                yield agent, window
        finally:
            process.stdin.close()
            await process.wait()

    async def command(self, *words: str) -> tuple[int, str, str]:
        """The real command: its exit code, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hermes_acp", "sessions", *words),
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    def end(self) -> None:
        """End the server, if one runs."""
        for lock in self.path.glob("runtime/server-*.lock"):
            pid = int(lock.read_text() or 0)
            try:
                os.kill(pid or os.getpid(), signal.SIGTERM if pid else 0)
            except ProcessLookupError:
                continue
            assert server_control.wait_for_end(pid, PATIENCE)
