"""Opening a hostile repository starts nothing but our own hardened git, and connects to nothing."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from hermes_acp.workspace import references_read
from tests.acp.harness import Agent, Pool, Session
from tests.acp.script import calls, parts, says
from tests.security.hostile import Hostile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

OURS = {"git", "rg", Path(sys.executable).name, "python", "python3", "false"}
"""Programs that may run: our git, our own, and `false`, which stands for one that a repository named."""
REFERENCES = "@diff @staged @file:AGENTS.md @file:fifo @file:huge.txt @folder:. @git:2 @symbol:main"


def looking() -> list[dict[str, object]]:
    """Calls of every tool that looks at something, in one answer."""
    tools = [
        *(("git", {"what": what}) for what in ("status", "diff", "staged", "unstaged", "log")),
        ("git", {"what": "show", "rev": "HEAD"}),
        ("git", {"what": "diff", "rev": "HEAD~1"}),
        ("list_dir", {}),
        ("glob", {"pattern": "**/*"}),
        ("search", {"pattern": "main"}),
        *(("read_file", {"path": path}) for path in ("text.txt", "fifo", "socket", "huge.txt", "loop")),
    ]
    return [
        {"tool": tool, "arguments": arguments, "id": str(number)}
        for number, (tool, arguments) in enumerate(tools)
    ]


SCRIPT = {
    "hello": [says("Hello to you.")],
    "look": [parts(*looking()), says("Looked.")],
    "write": [calls("write_file", path="text.txt", content="four\n"), says("Written.")],
    REFERENCES: [says("Read.")],
}


@pytest.fixture
def hostile(cwd: Path, tmp_path: Path) -> Hostile:
    """The repository, ready to be opened."""
    made = Hostile(cwd, tmp_path / "traces")
    made.build()
    for trace in made.traces.iterdir():
        trace.unlink()
    return made


def refusing(agent: Agent) -> None:
    """Not now to the question of trust, no to everything else."""
    agent.handlers["session/request_permission"] = lambda asked: asked.choose("reject_once")


async def everything(agent: Agent, hostile: Hostile) -> Session:
    """All that one does with a project without allowing anything."""
    refusing(agent)
    session = await agent.new(hostile.folder)
    for prompt in ("hello", "look", REFERENCES, "write"):
        assert await session.prompt(prompt) == "end_turn"
    # Changes to ordinary files are allowed from here on, and taken back.
    await session.request("session/set_mode", modeId="accept_edits")
    assert await session.prompt("write") == "end_turn"
    assert (hostile.folder / "text.txt").read_text() == "four\n"
    assert await session.prompt("/undo") == "end_turn"
    assert (hostile.folder / "text.txt").read_text() == "three\n"
    await session.request("session/set_config_option", configId="isolation", value="worktree")
    for prompt in ("hello", "look", "write", "/diff", "/apply", "/discard"):
        assert await session.prompt(prompt) == "end_turn"
    return session


async def test_no_trap_of_a_hostile_repository_is_sprung(agents: Pool, hostile: Hostile) -> None:
    agent = await agents.get()
    session = await everything(agent, hostile)
    assert hostile.sprung == []
    asked = [item.params for item in agent.asked if item.params["toolCall"]["title"] == "Trust this folder?"]
    assert len(asked) == 1
    assert not any("root:x:" in str(update) for update in session.updates)


async def test_completions_spring_no_trap(hostile: Hostile) -> None:
    cwd = str(hostile.folder)
    for typed in ("", "file:", "file:te", "folder:", "symbol:ma", "git:"):
        await references_read.complete(typed, cwd, (cwd,))
    assert hostile.sprung == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_nothing_is_started_but_our_git_and_nothing_is_connected_to(
    agents: Pool, hostile: Hostile, tmp_path: Path
) -> None:
    log = tmp_path / "strace.log"
    watch = (
        "strace",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "trace=execve,connect",
        "-s",
        "4096",
        "-o",
        str(log),
    )
    agent = await agents.start(tmp_path / "home", None, "acp", "--standalone", under=watch)
    await agent.initialize({})
    await everything(agent, hostile)
    agent.end_input()
    await agent.exited()
    lines = log.read_text("utf-8", "replace").splitlines()
    started = [found[1] for line in lines if (found := re.search(r'execve\("([^"]+)".*\) = 0', line))]
    # The C library looks for a service of names; there is no other socket that is asked for.
    connected = [line for line in lines if "sa_family=AF_" in line and "/var/run/nscd/socket" not in line]
    strange = [path for path in started if Path(path).name not in OURS or inside(path, hostile.folder)]
    assert strange == []
    assert connected == []
    assert hostile.sprung == []
    assert any(Path(path).name == "git" for path in started)


def inside(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder)
