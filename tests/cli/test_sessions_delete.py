"""`hermes-editor sessions delete`: by itself, and through the shared server that has the sessions open."""

from __future__ import annotations

import asyncio
import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp.cli.acp_client import Agent
from tests.cli.sessions_home import PATIENCE, Home, Hosted, row, turn

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    home = Hosted(tmp_path)
    yield home
    home.end()


def listed(home: Home, capsys: Captured) -> list[str]:
    capsys.readouterr()
    assert home.run("list", "--json") == 0
    return [item["session_id"] for item in json.loads(capsys.readouterr().out)]


def test_deleted_sessions_are_gone_and_the_others_stay(home: Home, capsys: Captured) -> None:
    home.hold(row(1), row(2), row(3), row(40))
    assert home.run("delete", "s1", "s4", "s1") == 0
    assert capsys.readouterr().out == "Deleted s1.\nDeleted s40.\n"
    assert home.run("delete", "s3", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": ["s3"], "kept": {}}
    assert listed(home, capsys) == ["s2"]


def test_an_id_that_is_unknown_or_fits_several_keeps_all_from_being_deleted(
    home: Home, capsys: Captured
) -> None:
    home.hold(row(1), row(21), row(22))
    for stranger in ("s9", "s2", "../../s1", ""):
        assert home.run("delete", "s1", stranger) == 1
    assert listed(home, capsys) == ["s22", "s21", "s1"]


def test_a_session_that_another_process_has_open_is_not_deleted_even_by_force(
    home: Home, capsys: Captured
) -> None:
    home.hold(row(1, "Mine\x1b"), row(2))
    home.claims.mkdir()
    with (home.claims / "s1").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert home.run("delete", "s1", "s2", "--force") == 1
    out, err = capsys.readouterr()
    assert out == "Deleted s2.\n"
    assert err.startswith("s1 (Mine\ufffd) was not deleted. This session is open in another window")
    assert listed(home, capsys) == ["s1"]


def test_old_sessions_are_deleted_together(home: Home, capsys: Captured) -> None:
    recent = row(int(time.time()) - 1_000_000)
    home.hold(row(1), row(2))
    home.hold(recent)
    assert home.run("delete", "--older-than", "999999w") == 0
    assert capsys.readouterr().out == "No session is that old.\n"
    assert home.run("delete", "--older-than", "1h") == 0
    assert capsys.readouterr().out == "Deleted s2.\nDeleted s1.\n"
    assert listed(home, capsys) == [recent.session_id]


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1.5d", "1y", "9999999d", "\u0661d"])
def test_an_age_is_a_number_and_a_unit(home: Home, capsys: Captured, age: str) -> None:
    with pytest.raises(SystemExit):
        home.run("delete", f"--older-than={age}")
    assert "is not an age: write 12h, 30d or 8w" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["s1", "--older-than", "1h"]])
def test_ids_or_an_age_must_be_given(home: Home, capsys: Captured, words: list[str]) -> None:
    home.hold(row(1))
    assert home.run("delete", *words) == 2
    assert capsys.readouterr().err.startswith("Say which sessions")
    assert listed(home, capsys) == ["s1"]


async def opened(agent: Agent, home: Home) -> str:
    """A new session; its id."""
    session = await agent.call("session/new", {"cwd": str(home.path), "mcpServers": []})
    return str(session["sessionId"])


@pytest.mark.slow
async def test_a_session_that_the_shared_server_has_open_is_deleted_through_it(hosted: Hosted) -> None:
    hosted.play({"parts": [{"text": "Working"}, {"wait": 3600}]})
    async with hosted.window() as (agent, window), asyncio.timeout(4 * PATIENCE):
        idle, busy = await opened(agent, hosted), await opened(agent, hosted)
        prompt = [{"type": "text", "text": "Work"}]
        async with asyncio.TaskGroup() as group:
            turn_ = group.create_task(agent.call("session/prompt", {"sessionId": busy, "prompt": prompt}))
            await window.shown("agent_message_chunk")

            code, out, _ = await hosted.command("list", "--json")
            running = {item["session_id"]: item["running"] for item in json.loads(out)}
            assert (code, running) == (0, {idle: False, busy: True})

            code, out, err = await hosted.command("delete", idle, busy)
            assert (code, out) == (1, f"Deleted {idle}.\n")
            assert err == (
                f"{busy} (Work) was not deleted. A turn is running in it. "
                "Wait for its end or cancel it, or add --force to end it here.\n"
            )
            assert not turn_.done()

            assert await hosted.command("delete", busy, "--force") == (0, f"Deleted {busy}.\n", "")
            assert (await turn_)["stopReason"] == "cancelled"
        assert await hosted.command("list") == (0, "There are no sessions yet.\n", "")


@pytest.mark.slow
async def test_what_a_working_server_writes_is_read_beside_it(hosted: Hosted) -> None:
    hosted.play({"parts": [{"text": "The answer is blue"}]})
    async with hosted.window() as (agent, _), asyncio.timeout(4 * PATIENCE):
        session_id = await opened(agent, hosted)
        prompt = [{"type": "text", "text": "Which colour?"}]
        await agent.call("session/prompt", {"sessionId": session_id, "prompt": prompt})
        code, out, _ = await hosted.command("search", "BLUE", "colour", "--json")
        assert (code, json.loads(out)["session_id"]) == (0, session_id)
        code, out, _ = await hosted.command("export", session_id[:-1])
        assert (code, out.endswith("## Agent\n\nThe answer is blue\n")) == (0, True)
        await agent.call("session/prompt", {"sessionId": session_id, "prompt": prompt})


def test_a_turn_whose_server_died_does_not_keep_its_session(home: Home, capsys: Captured) -> None:
    home.hold(row(1), said=turn()[:-1])
    assert home.run("delete", "s1") == 0
    assert listed(home, capsys) == []
