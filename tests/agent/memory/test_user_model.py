"""What sessions show of the user is believed after some of them, and then later sessions are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.events import MemoryChanged
from tests.agent.memory.test_notebook import instructions, project, told
from tests.agent.server import Desk, Window, act, call, choosing, say, serving

pytestmark = pytest.mark.programs

CLAIM = "Asks for tests along with changes."
ASKED = "Add tests for the parser."


async def profile(window: Window) -> str:
    await window.prompt("/memory profile")
    return window.texts[-1]


async def asked(desk: Desk, prompt: str = ASKED) -> Window:
    """A session in which the user wants something, once what it shows was counted."""
    window = await desk.new()
    await counted(window, prompt)
    return window


async def counted(window: Window, prompt: str) -> None:
    """A turn, and what is thought behind it; the command begins after the thinking has."""
    await window.prompt(prompt)
    await window.prompt("/memory")
    await window.session._parts.memory.stop()


async def test_the_third_session_that_shows_it_makes_a_claim_hold_and_later_sessions_are_told(
    tmp_path: Path,
) -> None:
    project(tmp_path)
    async with serving(tmp_path, [say("ok")] * 6) as desk:
        first, second = await asked(desk), await asked(desk)
        assert told(first) == told(second) == []
        assert CLAIM not in await instructions(await desk.new())
        third = await asked(desk)
        event = await third.see(MemoryChanged)
        assert (event.by, told(third)) == ("reflection", [("active", CLAIM)])
        assert CLAIM in await instructions(await desk.new())
        assert "80%   3 for,  0 against  Asks for tests" in await profile(third)


async def test_one_session_alone_proves_nothing_however_often_it_says_it(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, [say("ok")] * 5) as desk:
        window = await asked(desk)
        for _ in range(3):
            await counted(window, ASKED)
        assert told(window) == []
        assert " 1 for,  0 against  Asks for tests" in await profile(window)


async def test_a_claim_that_the_user_takes_back_stays_away_and_says_why_it_was_there(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, [say("ok")] * 8) as desk:
        for _ in range(3):
            window = await asked(desk)
        fact_id = (await window.see(MemoryChanged)).facts[0].fact_id
        await window.prompt(f"/memory why {fact_id}")
        assert f"“tests” (session {window.session.session_id}, event 2, " in window.texts[-1]
        await window.prompt(f"/memory revert {fact_id}")
        later = await asked(desk)
        assert told(later) == []
        assert CLAIM not in await instructions(await desk.new())
        assert "never told: you took it back" in await profile(later)


async def test_a_command_counts_that_the_user_allowed(tmp_path: Path) -> None:
    project(tmp_path)
    script = [act(call("run_command", command="make --version > made.txt")), say("done")]
    async with serving(tmp_path, script * 2) as desk:
        allowing, refusing = await desk.new(choosing("allow_once")), await desk.new(choosing("reject_once"))
        for window in (refusing, allowing):
            await counted(window, "go")
        assert " 1 for,  0 against  Runs the tasks of a project with make." in await profile(allowing)
