"""Ten sessions at work in ten worktrees of one repository, and what becomes of it in the user's files."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.acp.harness import Agent, Pool, Session, choosing
from tests.acp.script import after, calls, says
from tests.workspace.repos import Repo, files_of, make

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SESSIONS = 10
LINES = [f"line {number}\n" for number in range(SESSIONS)]
"""Of a file in which two sessions each want the same line; between those is one that nobody touches."""


def rival(number: int) -> int:
    """Who wants the same line."""
    return number ^ 1


def wanted(number: int) -> int:
    """The line that a session changes."""
    return number // 2 * 2


def line(number: int) -> str:
    """What it makes of it."""
    return f"line {wanted(number)} of session {number}\n"


def task(number: int) -> str:
    """Its prompt."""
    return f"Task {number}"


SCRIPT = {
    task(number): [
        calls("edit_file", path="shared.txt", edits=[{"old": LINES[wanted(number)], "new": line(number)}]),
        after("shared.txt", calls("write_file", path=f"own/{number}.txt", content=f"made by {number}\n")),
        after("own/", calls("run_command", command=f"echo ran >> own/{number}.txt")),
        after("", says("Done.")),
    ]
    for number in range(SESSIONS)
}
CONFLICT = "Nothing was applied, because it would overwrite work of yours:"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = make(tmp_path, {"shared.txt": "".join(LINES), "mine.txt": "one\n"})
    repo.write("mine.txt", "stashed\n")
    repo.git("stash", "-q")
    repo.write("mine.txt", "staged\n")
    repo.git("add", "mine.txt")
    repo.write("mine.txt", "staged\nand more\n")
    repo.write("notes.txt", "untracked\n")
    return repo


async def started(agent: Agent, repo: Repo) -> Session:
    """A session in a worktree of its own, that may edit."""
    session = await agent.new(repo.top)
    await session.request("session/set_mode", modeId="accept_edits")
    await session.request("session/set_config_option", configId="isolation", value="worktree")
    return session


async def command(session: Session, text: str) -> str:
    """Say something and give the answer."""
    seen = len(session.text())
    assert await session.agent.settled(session.begin(text), patience=60) == {"stopReason": "end_turn"}
    return session.text()[seen:]


async def at_once(sessions: list[Session], texts: list[str]) -> list[str]:
    """Say something in all of them at the same time: the answers."""
    return await asyncio.gather(*(command(each, text) for each, text in zip(sessions, texts, strict=True)))


@pytest.mark.parametrize("seed", [1, 2])
async def test_ten_sessions_work_at_once_and_conflicts_are_reported_not_lost(
    agents: Pool, repo: Repo, seed: int
) -> None:
    agent = await agents.get()
    agent.handlers["session/request_permission"] = choosing("allow_once")
    sessions = await asyncio.gather(*(started(agent, repo) for _ in range(SESSIONS)))
    # The project has its id in the configuration by now, which is all that we write there.
    kept = repo.precious()
    said = await at_once(list(sessions), [task(number) for number in range(SESSIONS)])
    assert said == ["Done."] * SESSIONS
    mine = {"mine.txt": "staged\nand more\n", "notes.txt": "untracked\n"}
    assert files_of(repo.top) == {"shared.txt": "".join(LINES), **mine}

    # All are applied at once, in an order by lot: the first of each pair wins.
    order = random.Random(seed).sample(range(SESSIONS), SESSIONS)
    answers = dict(
        zip(order, await at_once([sessions[number] for number in order], ["/apply"] * SESSIONS), strict=True)
    )
    losers = {number for number, text in answers.items() if text.startswith(CONFLICT)}
    winners = set(range(SESSIONS)) - losers
    assert winners == {rival(number) for number in losers}
    for number in losers:
        hunk = f"<<<<<<< yours\n{line(rival(number))}=======\n{line(number)}>>>>>>> the session's"
        assert hunk in answers[number]
    assert files_of(repo.top) == expected(winners) | mine

    # Nothing of the others is lost: once the user has made room, it goes the same way.
    repo.write("shared.txt", "".join(LINES))
    for number in random.Random(seed).sample(sorted(losers), len(losers)):
        assert "Your files now have these changes" in await command(sessions[number], "/apply")
    assert files_of(repo.top) == expected(losers) | expected(winners, lines=False) | mine
    assert repo.precious() == kept
    await asyncio.to_thread(repo.sound)


def expected(numbers: set[int], *, lines: bool = True) -> dict[str, str]:
    """The files of these sessions, and the shared one with their lines."""
    files = {f"own/{number}.txt": f"made by {number}\nran\n" for number in numbers}
    if lines:
        own = {wanted(number): line(number) for number in numbers}
        files["shared.txt"] = "".join(own.get(place, text) for place, text in enumerate(LINES))
    return files
