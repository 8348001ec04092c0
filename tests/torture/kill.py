"""Kills the agent at random moments and checks that nothing it acknowledged is lost.

As a program: `python -m tests.torture.kill [--kills N] [--seed S] [COMMAND …]`. Each life of the
agent loads the conversations of the life before it, compares every promise with the replay, and goes
on with them until the next kill; so one start serves a check and a kill. What a kill leaves on the
disk is checked by itself, in a copy.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes_acp import config
from tests.torture.ledger import Json, Ledger, calls, lost, replayed, unfinished

STANDALONE = (sys.executable, "-m", "hermes_acp", "acp", "--standalone")
TURNS = 6
"""Prompts that a conversation is given before it retires."""
SIDE_BY_SIDE = 3
"""Conversations of one life."""
CHAINS = 2
"""Agents that live beside each other, each with a home of its own."""
LONGEST_LIFE = 0.6
"""Seconds after the first prompt within which the kill comes; a turn takes about half of it."""
SLOW_TURN = 2
"""The turn whose answer streams for longer than it takes to be safe."""
SLOW_LIFE = (1.2, 2.0)
"""Seconds of a life with such a turn."""
EARLY = 0.2
"""The share of lives that end while sessions are still made and loaded."""
PATIENCE = 30.0
"""Seconds that an answer may take."""
RESTART = 2.0
"""Seconds within which an agent that was killed has to be back: started, and a session loaded."""
SLOW: Json = {"text": "It is a long story. ", "repeat": 200, "delay": 0.01}
DRAFT = r"\.hermes-[0-9a-f]+\.tmp"
LINE_LIMIT = 64 * 1024 * 1024


class Killed(Exception):
    """The agent died before it answered."""


@dataclass
class Conversation:
    """One session, across all lives."""

    folder: Path
    session_id: str = ""
    turns: int = 0
    modes: tuple[str, ...] = ("ask",)
    """The mode, or those that it may have because the answer to its change was lost."""
    ledger: Ledger = field(default_factory=Ledger)


@dataclass
class Report:
    """What a run found."""

    seed: int
    kills: int = 0
    problems: list[str] = field(default_factory=list[str])
    restarts: list[float] = field(default_factory=list[float])
    """Seconds from each start to the first session that was loaded."""
    seen: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        seen = ", ".join(f"{count} {what}" for what, count in sorted(self.seen.items()))
        restart = f"restart {self.median_restart:.2f} s (median), {self.slowest_restart:.2f} s (slowest)"
        lines = [f"{self.kills} kills (seed {self.seed}): {seen}; {restart}", *self.problems]
        return "\n".join(lines)

    @property
    def slowest_restart(self) -> float:
        """Seconds."""
        return max(self.restarts, default=0.0)

    @property
    def median_restart(self) -> float:
        """Seconds."""
        return statistics.median(self.restarts or [0.0])


class Life:
    """A running agent, until it is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Json]] = {}
        self._dead = False
        self.killed_at = 0.0
        self.listeners: dict[str, list[Json] | Ledger] = {}

    async def read(self) -> None:
        """Take in everything that the agent wrote, to the last byte before its death."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.endswith(b"\n"):
                self._receive(json.loads(line))
        self._dead = True
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Killed())

    async def call(self, method: str, **params: Any) -> Json:
        """Ask the agent. Raises `Killed`."""
        if self._dead:
            raise Killed
        number = next(self._ids)
        self._pending[number] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE):
            answer = await self._pending[number]
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def kill(self) -> None:
        """End it without a warning."""
        self.killed_at = time.monotonic()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)

    def _send(self, message: Json) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _receive(self, message: Json) -> None:
        if message.get("method") == "session/update":
            params = message["params"]
            match self.listeners.get(params["sessionId"]):
                case Ledger() as ledger:
                    ledger.take(params["update"], time.monotonic())
                case list() as updates:
                    updates.append(params["update"])
                case None:
                    pass
        elif "method" in message:
            outcome = {"outcome": "selected", "optionId": "allow_once"}
            self._send({"jsonrpc": "2.0", "id": message["id"], "result": {"outcome": outcome}})
        else:
            self._pending[message["id"]].set_result(message)


class Chain:
    """One home, and the lives that follow each other in it."""

    def __init__(self, folder: Path, rng: random.Random, report: Report, command: Sequence[str]) -> None:
        self._folder = folder
        self._command = command
        self._started: float | None = None
        self._rng = rng
        self._report = report
        self._conversations: list[Conversation] = []
        self._made = itertools.count(1)

    async def lives(self, kills: int) -> None:
        """This many lives that end with a kill, and one that does not."""
        await asyncio.to_thread(self._folder.mkdir, parents=True)
        await asyncio.to_thread(write_script, self._folder / "script.jsonl")
        for _ in range(kills):
            await self.live()
        await self.live(last=True)

    async def live(self, *, last: bool = False) -> None:
        """One life: check what the one before left, go on, and die; the last one stays alive."""
        self._started = time.monotonic()
        process = await self._start()
        life = Life(process)
        early = self._rng.random() < EARLY and not last
        prompted = asyncio.Event()
        cast = self._cast()
        slow = any(conversation.turns == SLOW_TURN for conversation in cast)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(life.read())
            await life.call("initialize", protocolVersion=1, clientCapabilities={})
            talks = [group.create_task(self._talk(life, conversation, prompted)) for conversation in cast]
            if last:
                await asyncio.wait(talks)
            else:
                seconds = self._rng.uniform(*SLOW_LIFE) if slow else self._rng.uniform(0, LONGEST_LIFE)
                await self._wait(prompted, talks, seconds, early=early)
            life.kill()
            await reading
        await process.wait()
        self._report.kills += not last
        await self._check_database()

    async def _check_database(self) -> None:
        path = self._folder / "home" / "data" / "sessions.db"
        self._report.seen["databases checked"] += 1
        if problem := await asyncio.to_thread(damaged, path):
            self._report.problems.append(f"kill {self._report.kills}: {path} is damaged: {problem}")

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            env=dict(config.environment())
            | {
                "HERMES_EDITOR_HOME": str(self._folder / "home"),
                "HERMES_EDITOR_MODEL": f"scripted/{self._folder / 'script.jsonl'}",
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )

    def _cast(self) -> list[Conversation]:
        """The conversations of the next life: the old ones that are not over, and new ones."""
        going = [item for item in self._conversations if item.turns < TURNS and item.session_id]
        while len(going) < SIDE_BY_SIDE:
            folder = self._folder / f"project-{next(self._made)}"
            folder.mkdir()
            going.append(Conversation(folder))
        self._conversations = going
        return going

    async def _wait(
        self, prompted: asyncio.Event, talks: list[asyncio.Task[None]], seconds: float, *, early: bool
    ) -> None:
        """Let the life pass."""
        if not early:
            await prompted.wait()
        await asyncio.wait(talks, timeout=seconds / 10 if early else seconds)

    async def _talk(self, life: Life, conversation: Conversation, prompted: asyncio.Event) -> None:
        try:
            if conversation.session_id:
                await self._load(life, conversation)
            else:
                answer = await life.call("session/new", cwd=str(conversation.folder), mcpServers=[])
                conversation.session_id = answer["sessionId"]
                self._report.seen["sessions"] += 1
            life.listeners[conversation.session_id] = conversation.ledger
            if self._rng.random() < 0.5:
                await self._set_mode(life, conversation)
            prompted.set()
            await self._prompt(life, conversation)
        except Killed:
            conversation.ledger.died(life.killed_at)
        finally:
            prompted.set()

    async def _set_mode(self, life: Life, conversation: Conversation) -> None:
        mode = self._rng.choice(("ask", "accept_edits"))
        conversation.modes = (*conversation.modes, mode)
        await life.call("session/set_mode", sessionId=conversation.session_id, modeId=mode)
        conversation.modes = (mode,)

    async def _prompt(self, life: Life, conversation: Conversation) -> None:
        text = f"work {conversation.turns}"
        conversation.turns += 1
        conversation.ledger.prompted(text)
        blocks = [{"type": "text", "text": text}]
        answer = await life.call("session/prompt", sessionId=conversation.session_id, prompt=blocks)
        conversation.ledger.acknowledge()
        self._report.seen["turns answered"] += 1
        if answer != {"stopReason": "end_turn"}:
            self._problem(conversation, f"the turn ended with {answer}")

    async def _load(self, life: Life, conversation: Conversation) -> None:
        updates: list[Json] = []
        life.listeners[conversation.session_id] = updates
        cwd = str(conversation.folder)
        answer = await life.call("session/load", sessionId=conversation.session_id, cwd=cwd, mcpServers=[])
        if self._started is not None:
            self._report.restarts.append(time.monotonic() - self._started)
            self._started = None
        replay = replayed(updates)
        mode = answer["modes"]["currentModeId"]
        if mode not in conversation.modes:
            self._problem(conversation, f"the mode is {mode}, not one of {conversation.modes}")
        for problem in (*lost(conversation.ledger, replay), *unfinished(replay)):
            self._problem(conversation, problem)
        for problem in await asyncio.to_thread(effects, conversation.folder, replay):
            self._problem(conversation, problem)
        self._count(replay, conversation.ledger)
        conversation.modes = (mode,)
        conversation.ledger = replay

    def _problem(self, conversation: Conversation, text: str) -> None:
        self._report.problems.append(f"kill {self._report.kills}, {conversation.session_id}: {text}")

    def _count(self, replay: Ledger, known: Ledger) -> None:
        seen = self._report.seen
        seen["loads"] += 1
        seen["promises kept"] += len(known.marks)
        seen["answers kept in part"] += len(known.beginnings)
        new = replay.marks[len(known.marks) :]
        seen["turns interrupted"] += sum("was interrupted" in text for _, _, text in new)
        seen["calls with unknown outcome"] += sum('"outcome": "unknown"' in text for _, _, text in new)


def damaged(database: Path) -> str | None:
    """What SQLite finds wrong with a database that a kill left behind, which itself stays as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / database.name
        for suffix in ("", "-wal"):
            if (file := database.with_name(database.name + suffix)).exists():
                shutil.copy(file, copy.with_name(copy.name + suffix))
        connection = sqlite3.connect(copy)
        try:
            rows = connection.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.Error as error:
            return str(error)
        finally:
            connection.close()
    return None if rows == [("ok",)] else "; ".join(text for (text,) in rows)


def effects(folder: Path, replay: Ledger) -> list[str]:
    """Whether files and journal agree: nothing happened unannounced, and what is reported did happen."""
    problems: list[str] = []
    ran = (folder / "ran.txt").read_text().split() if (folder / "ran.txt").exists() else []
    # A folder without git is marked as a project before its first file is changed.
    written = {path.name for path in folder.iterdir()} - {"ran.txt", ".hermes"}
    # A write that was cut off before its rename leaves its draft, whose name says whose it is.
    written = {name for name in written if not re.fullmatch(DRAFT, name)}
    for arguments, end in calls(replay):
        done = end.get("status") == "completed"
        if (name := arguments.get("path")) is not None:
            written.discard(name)
            if done and not (folder / name).exists():
                problems.append(f"reported as written, but missing: {name}")
        elif "command" in arguments:
            word = arguments["command"].split()[1]
            if done and word not in ran:
                problems.append(f"reported as run, but it did not: {word}")
            ran = [other for other in ran if other != word] + ["twice"] * (ran.count(word) > 1)
    problems += [f"written without a trace: {name}" for name in sorted(written)]
    return problems + [f"run without a trace or again: {word}" for word in ran]


def write_script(path: Path) -> None:
    """What the model does: it streams, plans, writes a file, runs a command and finishes."""
    lines: list[Json] = []
    for number in range(TURNS):
        user = f"^work {number}$"
        plan = {"entries": [{"content": f"Step {number}", "status": "in_progress"}]}
        command = f"echo ran-{number} >> ran.txt; echo out; sleep 0.03"
        begin = [
            {"thought": f"Thinking about {number}. ", "chunks": 5, "delay": 0.003},
            SLOW if number == SLOW_TURN else {"text": f"Step {number}. ", "chunks": 10, "delay": 0.005},
            {"usage": {"input": 100 + number, "output": 10}},
            {"tool": "plan", "arguments": plan},
            {"tool": "write_file", "arguments": {"path": f"{number}.txt", "content": "x\n"}, "chunks": 3},
        ]
        running = {"tool": "run_command", "arguments": {"command": command}}
        lines += [
            {"when": {"user": user}, "parts": begin},
            {"when": {"user": user, "result": "plan is shown"}, "parts": [{"text": "Now run."}, running]},
            {"when": {"user": user, "result": "exit code"}, "parts": [{"text": f"Finished {number}."}]},
        ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


async def run(kills: int, seed: int, folder: Path, command: Sequence[str] = STANDALONE) -> Report:
    """Kill the agent this often, in two homes beside each other, and report what was lost."""
    report = Report(seed)
    async with asyncio.TaskGroup() as group:
        for number in range(CHAINS):
            chain = Chain(folder / f"chain-{number}", random.Random(seed + number), report, command)
            group.create_task(chain.lives(kills // CHAINS))
    return report


def main() -> int:
    """Run as a program: 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--folder", type=Path, help="keep the homes and projects here")
    parser.add_argument("command", nargs="*", default=STANDALONE, help="what to start and kill")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report = asyncio.run(run(args.kills, args.seed, args.folder or Path(scratch), args.command))
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
