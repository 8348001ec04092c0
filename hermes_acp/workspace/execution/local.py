"""Starts commands on this machine and sees to it that none outlives the server."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from hermes_acp.policy.effects import Permit
from hermes_acp.workspace.execution.base import Execution, ExecutionError, Launch
from hermes_acp.workspace.execution.descendants import MARK, Tree
from hermes_acp.workspace.execution.guard import Guard
from hermes_acp.workspace.execution.process import Child, LocalProcess

WORKERS = 4
"""Threads that start and end commands: our own, so that a busy pool cannot delay a cancel."""

NON_INTERACTIVE: Mapping[str, str] = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "EDITOR": "true",
    "VISUAL": "true",
    "DEBIAN_FRONTEND": "noninteractive",
}
"""Set for every command: nobody is there to answer a pager, an editor or a password prompt."""


CLOSING = "The command was not started: the server is shutting down."


class LocalExecution:
    """Runs commands of all sessions, with the environment `env` or another one; belongs to one event loop."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {**env, **NON_INTERACTIVE}
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="commands")
        self._preparing = threading.Lock()
        self._shell = ""
        self._guard: Guard | None = None
        self._running: set[LocalProcess] = set()
        self._abandoned: set[asyncio.Future[Child] | asyncio.Future[None]] = set()
        self._closed = False

    def within(self, env: Mapping[str, str]) -> Execution:
        """The same, for commands that see this environment."""
        return _Surrounded(self, {**env, **NON_INTERACTIVE})

    async def start(self, permit: Permit, launch: Launch) -> LocalProcess:
        """Start a command. Raises `ExecutionError`; a start that is cancelled leaves nothing."""
        return await self.start_within(self._env, permit, launch)

    async def start_within(self, env: Mapping[str, str], permit: Permit, launch: Launch) -> LocalProcess:
        """Start a command that sees exactly `env`. Raises `ExecutionError`."""
        permit.check_command(launch.command)
        if self._closed:
            raise ExecutionError(CLOSING)
        starting = asyncio.get_running_loop().run_in_executor(self._workers, self._spawn, launch, env)
        try:
            child = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._abandoned.add(starting)
            starting.add_done_callback(self._started_in_vain)
            raise
        if self._closed:
            await asyncio.to_thread(self._discard, child)
            raise ExecutionError(CLOSING)
        process = LocalProcess(child, self._workers, self._ended)
        self._running.add(process)
        return process

    async def aclose(self) -> None:
        """Kill everything that still runs; nothing can be started afterwards."""
        self._closed = True
        async with asyncio.TaskGroup() as group:
            for process in self._running:
                group.create_task(process.kill())
        while self._abandoned:
            await asyncio.wait(self._abandoned)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._workers.shutdown()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()

    def _ended(self, process: LocalProcess) -> None:
        self._running.discard(process)
        if self._guard is not None:
            self._guard.remove(process.tree)

    def _started_in_vain(self, starting: asyncio.Future[Child]) -> None:
        self._abandoned.discard(starting)
        if starting.exception() is None:
            ending = starting.get_loop().run_in_executor(self._workers, self._discard, starting.result())
            self._abandoned.add(ending)
            ending.add_done_callback(self._abandoned.discard)

    def _discard(self, child: Child) -> None:
        child.discard()
        if self._guard is not None:
            self._guard.remove(child.tree)

    def _spawn(self, launch: Launch, env: Mapping[str, str]) -> Child:
        guard = self._prepare()
        mark = secrets.token_hex(8)
        try:
            reading, writing = os.pipe()
        except OSError as error:
            raise ExecutionError(f"No command can be started: {error}.") from error
        try:
            shell = subprocess.Popen(
                [self._shell, "-c", "--", launch.command],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=launch.cwd,
                env={**env, MARK: mark},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(reading)
            raise ExecutionError(_why(error, launch.cwd)) from error
        finally:
            os.close(writing)
        tree = Tree(shell.pid, mark)
        guard.add(tree)
        return Child(shell, tree, reading, launch.background)

    def _prepare(self) -> Guard:
        with self._preparing:
            if self._guard is None:
                self._shell = _find_shell(self._env.get("PATH", os.defpath))
                try:
                    self._guard = Guard.start(self._env)
                except OSError as error:
                    raise ExecutionError(f"No command can be started: {error}.") from error
            return self._guard


class _Surrounded:
    """The same commands in another environment (`workspace.execution.base.Execution`)."""

    def __init__(self, local: LocalExecution, env: Mapping[str, str]) -> None:
        self._local = local
        self._env = env

    async def start(self, permit: Permit, launch: Launch) -> LocalProcess:
        """Start a command. Raises `ExecutionError`."""
        return await self._local.start_within(self._env, permit, launch)

    async def aclose(self) -> None:
        """Nothing: what runs belongs to the machine's execution."""


def _find_shell(path: str) -> str:
    return shutil.which("/bin/bash") or shutil.which("bash", path=path) or "/bin/sh"


def _why(error: OSError | ValueError, cwd: str) -> str:
    if isinstance(error, ValueError):
        return f"The command cannot be passed to the shell ({error}): leave out NUL characters."
    if error.errno == errno.E2BIG:
        return "The command is too long for the system: write it to a script file and run that."
    if error.filename == cwd:
        return f"The working directory {cwd} cannot be entered ({error.strerror}): choose another one."
    return f"The command could not be started: {error}."
