"""`hermes-editor sessions` on a real database."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_acp import config
from hermes_acp.cli import sessions
from hermes_acp.events import (
    Envelope,
    Event,
    MessageCompleted,
    SessionStarted,
    TextBlock,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Home:
    path: Path

    @property
    def env(self) -> dict[str, str]:
        return {"HERMES_EDITOR_HOME": str(self.path)}

    def run(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        sessions.register(parser.add_subparsers())
        return sessions.run(parser.parse_args(["sessions", *words]), self.env)

    async def hold(self, number: int, title: str = "A title") -> None:
        """Keep a session of one turn."""
        name, at = f"s{number}", 1_000_000.0 + number
        row = SessionRow(name, "p", "/code", "/code", (), title, "ask", "scripted/x", "default", at, at)
        said: list[Event] = [
            SessionStarted("/code"),
            TurnStarted("m1", (TextBlock("Hello"),)),
            MessageCompleted("m2", "Hello yourself"),
            TurnEnded("end_turn"),
        ]
        database = await Database.open(config.paths(self.env).database)
        await SessionTable(database).create(row)
        await Journal(database).append(
            [Envelope(name, seq, "t1", at, event) for seq, event in enumerate(said, 1)]
        )
        await database.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_where_no_session_was_ever_held_nothing_is_made(home: Home, capsys: Captured) -> None:
    assert home.run("list") == 0
    assert home.run() == 0
    assert home.run("list", "--json") == 0
    assert capsys.readouterr().out == "There are no sessions yet.\n" * 2 + "[]\n"
    assert home.run("show", "s1") == 1
    assert "There is no session 's1'" in capsys.readouterr().err
    assert list(home.path.iterdir()) == []


def test_the_list_is_newest_first_bounded_and_goes_over_pages(home: Home, capsys: Captured) -> None:
    async def hold() -> None:
        for number in range(60):
            await home.hold(number, f"Title {number}\x1b[2J")

    asyncio.run(hold())
    assert home.run("list", "--limit", "55", "--json") == 0
    assert [item["session_id"] for item in json.loads(capsys.readouterr().out)] == [
        f"s{number}" for number in range(59, 4, -1)
    ]
    assert home.run("list", "--limit", "2") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["ID", "s59", "s58"]
    assert "\x1b" not in shown[1]
    assert home.run("list", "--cwd", "/elsewhere", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_conversation_is_shown_as_markdown_or_as_its_events(home: Home, capsys: Captured) -> None:
    asyncio.run(home.hold(1))
    assert home.run("show", "s1") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# A title\n\ns1, started 1970-01-12 ")
    assert shown.endswith("## You\n\nHello\n\n## Agent\n\nHello yourself\n")
    assert home.run("show", "s1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["session"]["title"] == "A title"
    assert [item["event"]["type"] for item in told["events"]] == [
        "session_started",
        "turn_started",
        "message_completed",
        "turn_ended",
    ]


def test_a_deleted_session_is_gone_and_a_strange_id_is_only_unknown(home: Home, capsys: Captured) -> None:
    asyncio.run(home.hold(1))
    assert home.run("delete", "../../s1") == 1
    assert home.run("delete", "s1") == 0
    assert capsys.readouterr().out == "Deleted s1.\n"
    assert home.run("delete", "s1", "--json") == 1
    assert home.run("list") == 0
    assert capsys.readouterr().out == "There are no sessions yet.\n"


def test_a_session_that_is_open_in_an_editor_is_not_deleted(home: Home, capsys: Captured) -> None:
    asyncio.run(home.hold(1))
    claims = config.paths(home.env).claims
    claims.mkdir()
    with (claims / "s1").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert home.run("delete", "s1") == 1
    assert "open in another window" in capsys.readouterr().err
    assert home.run("show", "s1") == 0


def test_a_damaged_database_is_a_sentence(home: Home, capsys: Captured) -> None:
    file = config.paths(home.env).database
    file.parent.mkdir()
    file.write_bytes(b"not a database" * 1000)
    assert home.run("list") == 1
    assert "is damaged" in capsys.readouterr().err
