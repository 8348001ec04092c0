"""What one editor's session learns is used by another editor's, in another worktree, as its branch allows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acp.harness import Agent, Asked, Pool, Session
from tests.model_server import ModelServer, answer, streamed, tool
from tests.security.repos import commit, git

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SCRIPT: dict[str, list[dict[str, object]]] = {}
CORRECTION = "No, never use npm here, use pnpm."
RULE = "Never use npm here, use pnpm."
DECISION = "let's keep the orders in SQLite"
LESSON = "The orders are kept in SQLite."


@dataclass
class Office:
    """Two editors on one server, and a repository with a worktree for a branch."""

    zed: Agent
    vim: Agent
    model: ModelServer
    main: Path
    feature: Path

    async def told(self, agent: Agent, folder: Path) -> str:
        """What a new session of an editor is told before the conversation."""
        session = await agent.new(folder)
        assert await session.prompt("hello") == "end_turn"
        return str(self.model.requests[-1].body["messages"][0]["content"])

    def will(self, **arguments: object) -> None:
        """Have the model call its memory in the next turn."""
        call = tool(0, json.dumps(arguments), call_id="c1", name="memory")
        before = [answer("Done.")] * len(self.model.requests)
        self.model.behaviours[:] = [*before, streamed(call, finish="tool_calls"), answer("Done.")]


@pytest_asyncio.fixture(loop_scope="session")
async def office(agents: Pool, tmp_path: Path, cwd: Path) -> AsyncIterator[Office]:
    git(cwd, "init", "-q", "-b", "main")
    (cwd / "shop.py").write_text("orders = []\n")
    commit(cwd, "one")
    feature = tmp_path / "feature"
    git(cwd, "worktree", "add", "-q", "-b", "feature/orders", str(feature))
    async with ModelServer([answer("Done.")]) as model:
        env = {
            "HERMES_EDITOR_MODEL": "openai/m",
            "HERMES_EDITOR_MODEL_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-secret",
        }
        zed = await agents.start(tmp_path / "home", env)
        await zed.initialize({"session": {"notices": {}}})
        vim = await agents.start(tmp_path / "home", env)
        await vim.initialize({"fs": {"readTextFile": True, "writeTextFile": True}})
        yield Office(zed, vim, model, cwd, feature)
        await zed.end()
        await vim.end()


async def learned(session: Session, what: str) -> None:
    """Wait until the window was told of something that was learned."""
    await session.agent.until(
        lambda: any(what in update["title"] for update in session.of("notice")), f"a notice of {what}"
    )


async def test_a_lesson_goes_from_editor_to_editor_and_with_its_branch_until_the_owner_takes_it_back(
    office: Office,
) -> None:
    first = await office.zed.new(office.main)
    await first.prompt("install the packages")
    await first.prompt(CORRECTION)
    await learned(first, f"remembered: {RULE}")

    before = await office.told(office.vim, office.feature)
    assert RULE in before

    third = await office.zed.new(office.feature)
    office.will(action="remember", kind="decision", key="database", text=LESSON, quote=DECISION)
    await third.prompt(f"Right, {DECISION} and go on.")
    await learned(third, f"remembered: {LESSON}")
    assert LESSON in await office.told(office.vim, office.feature)
    assert LESSON not in await office.told(office.zed, office.main)

    (office.feature / "shop.py").write_text("orders = 'orders.db'\n")
    commit(office.feature, "Keep orders")
    git(office.main, "merge", "-q", "--no-ff", "-m", "Merge", "feature/orders")
    merged = await office.told(office.vim, office.main)
    assert LESSON in merged
    mark = re.search(rf"{re.escape(LESSON)} \^([0-9a-z]+)", merged)
    assert mark is not None

    owner = await office.zed.new(office.main)
    await owner.prompt(f"/memory why {mark[1]}")
    assert f"“{DECISION}”" in owner.text()
    await owner.prompt(f"/memory revert {mark[1]}")
    after = await office.told(office.vim, office.main)
    assert (LESSON in after, RULE in after) == (False, True)
    assert page(after) == page(before)


async def test_what_the_agent_infers_waits_until_the_owner_says_yes_to_the_diff(office: Office) -> None:
    session = await office.zed.new(office.main)
    office.will(action="remember", kind="environment", text="CI has no network.")
    await session.prompt("why does CI fail?")
    await learned(session, "proposed: CI has no network.")
    assert "CI has no network." not in await office.told(office.vim, office.main)
    asked: list[Asked] = []

    def confirm(question: Asked) -> None:
        asked.append(question)
        question.choose("allow_once")

    office.zed.handlers["session/request_permission"] = confirm
    await session.prompt("/memory review")
    [diff] = [item for item in asked[0].params["toolCall"]["content"] if item["type"] == "diff"]
    assert diff["newText"] == "CI has no network."
    assert "CI has no network." in await office.told(office.vim, office.main)


async def test_what_was_acknowledged_survives_a_kill_before_it_is_in_git(
    agents: Pool, office: Office, tmp_path: Path
) -> None:
    session = await office.zed.new(office.main)
    office.will(action="remember", kind="decision", text=LESSON, quote=DECISION)
    await session.prompt(f"Right, {DECISION} and go on.")
    os.kill(office.zed.server, signal.SIGKILL)
    await office.zed.exited()
    env = {
        "HERMES_EDITOR_MODEL": "openai/m",
        "HERMES_EDITOR_MODEL_BASE_URL": office.model.base_url,
        "OPENAI_API_KEY": "sk-secret",
    }
    again = await agents.start(tmp_path / "home", env)
    await again.initialize()
    assert LESSON in await office.told(again, office.main)
    command = [sys.executable, "-m", "hermes_acp", "memory", "log", "--json", "--cwd", str(office.main)]
    home = {"HERMES_EDITOR_HOME": str(tmp_path / "home" / "hermes"), "PATH": os.environ["PATH"]}
    log = await asyncio.to_thread(subprocess.run, command, env=home, capture_output=True, check=True)
    # What was said may have been thought about before the kill, and a proposal be there too.
    assert sum("decision active" in entry["message"] for entry in json.loads(log.stdout)) == 1
    [store] = (tmp_path / "home" / "hermes" / "data" / "projects").glob("*/memory.git")
    git(store, "--git-dir=.", "fsck", "--strict")
    await again.end()


def page(system: str) -> str:
    """The part of the instructions that the memory has written."""
    return system[system.index("# Memory") :]
