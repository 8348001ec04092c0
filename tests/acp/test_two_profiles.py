"""One task in an editor that lends its buffers and terminals, and in one that lends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Pool, environment
from tests.acp.script import after, calls, says
from tests.acp.sdk.clients import PythonClient
from tests.acp.sdk.desk import Client, Desk
from tests.acp.test_windows import servers
from tests.workspace.repos import Repo, files_of, make

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

TASK = "Double the price, note how long the file is, and commit."
EDIT = [{"old": "return 1", "new": "return 2"}]
SCRIPT = {
    TASK: [
        calls("read_file", path="src/price.py"),
        after("def price", calls("edit_file", path="src/price.py", edits=EDIT)),
        after("src/price.py", calls("run_command", command="wc -l < src/price.py | tee lines.txt")),
        after(r"\A2\b", calls("git_commit", message="Double the price", paths=["src", "lines.txt"])),
        after("Double the price", says("Done.")),
        after("", says("Something went wrong.")),
    ],
}
SAVED = "def price():\n    return 1  # cheap\n"
TYPED = "def price():\n    return 1  # what the user has just typed: über\n"
DONE = {"src/price.py": TYPED.replace("return 1", "return 2"), "lines.txt": "2\n"}
LENT = {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": True}


@dataclass(frozen=True, slots=True)
class Editor:
    """An official client of one profile on a repository of its own."""

    client: Client
    desk: Desk
    repo: Repo
    session_id: str

    async def work(self) -> str:
        """Let the task be done: why it ended."""
        prompt = [{"type": "text", "text": TASK}]
        params = {"sessionId": self.session_id, "prompt": prompt}
        return (await self.client.call("session/prompt", params))["stopReason"]

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Kind and outcome of every tool call."""
        kinds = {item["toolCallId"]: item["kind"] for item in self._of("tool_call")}
        ended = [
            item for item in self._of("tool_call_update") if item.get("status") in ("completed", "failed")
        ]
        return [(kinds[item["toolCallId"]], item["status"]) for item in ended]

    @property
    def read(self) -> str:
        """What the first call that ended shows of the file."""
        ended = [item for item in self._of("tool_call_update") if item.get("status") == "completed"]
        return ended[0]["content"][0]["content"]["text"]

    @property
    def methods(self) -> set[str]:
        """What was asked of the editor."""
        return {method for method, _ in self.desk.asked}

    def _of(self, kind: str) -> list[Any]:
        return self.desk.updates(self.session_id, kind)


@asynccontextmanager
async def editor(
    agents: Pool, folder: Path, capabilities: dict[str, Any], saved: str
) -> AsyncIterator[Editor]:
    """An editor with these capabilities on a project whose file was saved like this."""
    repo = make(folder, {"src/price.py": SAVED})
    repo.write("src/price.py", saved)
    home = folder / "home"
    home.mkdir()
    desk = Desk(home)
    env = environment(home) | {"HERMES_EDITOR_MODEL": agents.model}
    async with PythonClient.connected(desk, env) as client:
        await client.call("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities})
        opened = await client.call("session/new", {"cwd": str(repo.top), "mcpServers": []})
        yield Editor(client, desk, repo, opened["sessionId"])
    for process in servers(home):
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


async def test_the_same_task_ends_in_the_same_files_with_and_without_buffers_and_terminals(
    agents: Pool, tmp_path: Path
) -> None:
    async with (
        editor(agents, tmp_path / "lending", LENT, SAVED) as lending,
        editor(agents, tmp_path / "plain", {}, TYPED) as plain,
    ):
        path = str(lending.repo.top / "src" / "price.py")
        lending.desk.buffers[path] = TYPED
        assert [await each.work() for each in (lending, plain)] == ["end_turn", "end_turn"]
        for each in (lending, plain):
            kinds = ["read", "edit", "execute", "execute"]
            assert each.calls == [(kind, "completed") for kind in kinds]
            assert "what the user has just typed: über" in each.read
            assert await asyncio.to_thread(files_of, each.repo.top) == DONE
            assert each.repo.git("log", "-1", "--format=%s %an") == "Double the price Tess"
            assert each.repo.git("status", "--porcelain") == ""
            await asyncio.to_thread(each.repo.sound)
        trees = {each.repo.git("rev-parse", "HEAD^{tree}") for each in (lending, plain)}
        assert len(trees) == 1
        files, terminals = (
            {"fs/read_text_file", "fs/write_text_file"},
            {"terminal/create", "terminal/release"},
        )
        assert files | terminals <= lending.methods
        assert plain.methods == {"session/request_permission"}
        assert lending.desk.buffers == {path: DONE["src/price.py"]}
