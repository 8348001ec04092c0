"""One pool of started commands for each test file, audited after every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acp import script
from tests.acp.harness import Agent, Pool


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pool]:
    """Commands that play the `SCRIPT` of the test file."""
    home = tmp_path_factory.mktemp("pool")
    script.write(home / "script.jsonl", request.module.SCRIPT)
    commands = Pool(home, f"scripted/{home / 'script.jsonl'}")
    yield commands
    await commands.close()


@pytest_asyncio.fixture(loop_scope="session")
async def agents(pool: Pool) -> AsyncIterator[Pool]:
    """The pool, audited when the test is over."""
    yield pool
    await pool.check()


@pytest_asyncio.fixture(loop_scope="session")
async def agent(agents: Pool) -> Agent:
    """A command whose client advertises nothing."""
    return await agents.get()


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """A folder for a session."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
