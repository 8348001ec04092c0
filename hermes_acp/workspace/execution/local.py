"""Starts commands on this machine and sees to it that none outlives the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hermes_acp.policy.effects import Permit
from hermes_acp.policy.sandbox import confinable
from hermes_acp.workspace.execution.base import Execution, ExecutionError, Launch

if TYPE_CHECKING:
    from hermes_acp.workspace.execution.machine import Machine
    from hermes_acp.workspace.execution.process import Child, LocalProcess
    from hermes_acp.workspace.execution.sandbox.sandbox import Backend

WORKERS = 4
"""Threads that start and end commands: our own, so that a busy pool cannot delay a cancel."""

PROMPT_QUIET = 2.0
"""Seconds without output after which a command may be waiting for somebody to type."""

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


def _working() -> Backend | None:
    """The sandbox that works here. Blocks."""
    # Its modules are needed by the first command, not by the first session.
    sandbox = import_module("hermes_acp.workspace.execution.sandbox.sandbox")
    return cast("Backend | None", sandbox.working())


class LocalExecution:
    """Runs commands of all sessions, with the environment `env` or another one; belongs to one event loop.

    Long outputs are kept in the folder `logs`; without one, only as long as this lives. A command that
    has been `quiet` for so many seconds is looked at whether it waits for input. `backend` finds the sandbox.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        logs: Path | None = None,
        *,
        quiet: float = PROMPT_QUIET,
        backend: Callable[[], Backend | None] = _working,
    ) -> None:
        self._env = {**env, **NON_INTERACTIVE}
        self._logs = logs
        self._quiet = quiet
        self._backend = backend
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="commands")
        self._preparing = threading.Lock()
        self._machine: Machine | None = None
        self._running: set[LocalProcess] = set()
        self._abandoned: set[asyncio.Future[tuple[Machine, Child]] | asyncio.Future[None]] = set()
        self._closed = False

    def within(self, env: Mapping[str, str]) -> Execution:
        """The same, for commands that see this environment."""
        return _Surrounded(self, {**env, **NON_INTERACTIVE})

    async def start(self, permit: Permit, launch: Launch) -> LocalProcess:
        """Start a command. Raises `ExecutionError`; a start that is cancelled leaves nothing."""
        return await self.start_within(self._env, permit, launch)

    async def start_within(self, env: Mapping[str, str], permit: Permit, launch: Launch) -> LocalProcess:
        """Start a command whose new shell would see exactly `env`. Raises `ExecutionError`."""
        permit.check_command(launch.command)
        if self._closed:
            raise ExecutionError(CLOSING)
        starting = asyncio.get_running_loop().run_in_executor(self._workers, self._spawn, permit, launch, env)
        try:
            machine, child = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._abandoned.add(starting)
            starting.add_done_callback(self._started_in_vain)
            raise
        if self._closed:
            await asyncio.to_thread(self._discard, child)
            raise ExecutionError(CLOSING)
        process = machine.attend(child, self._ended)
        self._running.add(process)
        return process

    async def confines(self, roots: tuple[str, ...]) -> bool:
        """Whether a sandbox can keep commands to these folders here; the first time tries it out."""
        if not confinable(roots, self._env.get("HOME", "")):
            return False
        # The probe runs programs, which must not wait behind commands.
        return await asyncio.to_thread(self._backend) is not None

    async def aclose(self) -> None:
        """Kill everything that still runs; nothing can be started afterwards."""
        self._closed = True
        async with asyncio.TaskGroup() as group:
            for process in self._running:
                group.create_task(_end(process))
        while self._abandoned:
            await asyncio.wait(self._abandoned)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._workers.shutdown()
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    def _ended(self, process: LocalProcess) -> None:
        self._running.discard(process)
        if self._machine is not None:
            self._machine.guard.remove(process.tree)

    def _started_in_vain(self, starting: asyncio.Future[tuple[Machine, Child]]) -> None:
        self._abandoned.discard(starting)
        if starting.exception() is None:
            _, child = starting.result()
            ending = starting.get_loop().run_in_executor(self._workers, self._discard, child)
            self._abandoned.add(ending)
            ending.add_done_callback(self._abandoned.discard)

    def _discard(self, child: Child) -> None:
        child.discard()
        if self._machine is not None:
            self._machine.guard.remove(child.tree)

    def _spawn(self, permit: Permit, launch: Launch, env: Mapping[str, str]) -> tuple[Machine, Child]:
        with self._preparing:
            if self._machine is None:
                # No session has to wait for what only commands need.
                module = import_module("hermes_acp.workspace.execution.machine")
                begun = module.Machine.begin(self._env, self._logs, self._quiet, self._workers, self._backend)
                self._machine = cast("Machine", begun)
            machine = self._machine
        return machine, machine.spawn(launch, env, permit.confinement)


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


async def _end(process: LocalProcess) -> None:
    await process.kill()
    # The worker that writes the log has to come to its end before the workers do.
    await process.output()
