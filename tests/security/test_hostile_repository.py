"""Opening a hostile repository starts nothing but our own hardened git, and connects to nothing."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes_acp.workspace import references_read
from tests.acp.harness import Agent, Pool, Session
from tests.acp.script import calls, parts, says
from tests.security.hostile import Hostile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

OURS = {"git", "rg", Path(sys.executable).name, "python", "python3"}
"""Programs that may run: our git, which starts itself, and our own."""
REFUSAL = ("git", "false", 1)
"""What our git starts without an argument in place of a merge driver, which has to start and to fail."""
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
        "trace=execve,connect,clone,clone3,fork,vfork",
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
    starts = list(started(lines))
    # The C library looks for a service of names; there is no other socket that is asked for.
    connected = [line for line in lines if "sa_family=AF_" in line and "/var/run/nscd/socket" not in line]
    assert [start for start in starts if not start.allowed or inside(start.path, hostile.folder)] == []
    assert connected == []
    assert hostile.sprung == []
    assert any(Path(start.path).name == "git" for start in starts)


@dataclass(frozen=True)
class Start:
    """A program that was started, and by which one, as paths; `words` counts its name and arguments."""

    by: str
    path: str
    words: int

    @property
    def allowed(self) -> bool:
        name = Path(self.path).name
        return name in OURS or (Path(self.by).name, name, self.words) == REFUSAL


FORK = re.compile(r"(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)$")
EXEC = re.compile(r'(\d+) +execve\("([^"]+)", \[(.*)\], ')
FAILED = re.compile(r"(\d+) +(?:<\.\.\. )?execve\b.* = -1 ")


def started(lines: list[str]) -> Iterator[Start]:
    """What strace saw. A fork may be told after what its child did, and a start in two lines."""
    parents = {found[2]: found[1] for line in lines if (found := FORK.match(line))}
    programs: dict[str, str] = {}
    for number, line in enumerate(lines):
        if (found := EXEC.match(line)) is None or failed(lines[number:], found[1]):
            continue
        process = found[1]
        while process not in programs and process in parents:
            process = parents[process]
        yield Start(programs.get(process, ""), found[2], found[3].count('", "') + 1)
        programs[found[1]] = found[2]


def failed(lines: list[str], process: str) -> bool:
    """Whether the start in the first line, whose end may stand in a later one, came to nothing."""
    end = next((line for line in lines if line.startswith(f"{process} ") and " = " in line), "")
    return FAILED.match(end) is not None


def inside(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder)
