"""One running command: reads its pipe as it fills, notices its end, and ends what belongs to it.

Reading never waits for a reader: a command must not stall because a window is slow, so output that
nobody takes is dropped from its oldest end once the backlog is full. It waits for the log alone.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import functools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Permit, PermitMismatch
from hermes_acp.records import record
from hermes_acp.workspace.execution.base import ExecutionError, Launch, Output, ShellLost, typed
from hermes_acp.workspace.execution.descendants import Tree, end_group, end_tree, group_lives, inside_lives
from hermes_acp.workspace.execution.ends import Ends
from hermes_acp.workspace.execution.exits import watch_exit
from hermes_acp.workspace.execution.keyboard import Keyboard
from hermes_acp.workspace.execution.log import CommandLog
from hermes_acp.workspace.execution.prompts import waits_for_input
from hermes_acp.workspace.execution.reporting import Reporting
from hermes_acp.workspace.execution.sandbox.sandbox import Cell
from hermes_acp.workspace.execution.shell_state import ShellState
from hermes_acp.workspace.execution.transcript import Backlog, Transcript

PIPE_BYTES = 256 * 1024
"""Size of the pipe where the system grants it, and of one read: fewer wake-ups in a flood."""

DRAIN_READS = 8
"""Reads after the shell's end: more than a pipe holds, so that a flooding child cannot keep us."""

LEFTOVER_GRACE = 0.1
"""Seconds after the shell's end for what it left behind (a `tee`, say) to finish by itself."""

LEFTOVER_POLL = 0.003
"""Seconds between two looks at what a shell left behind."""

BACKGROUND_POLL = 0.25
"""The same for a background command, which may go on for hours after its shell."""

REAP_TIMEOUT = 1.0
"""Seconds that `kill` waits for the end to be noticed; longer only takes a broken kernel."""


@record
class Child:
    """A shell that was just started, and what connects us with it."""

    launch: Launch
    shell: subprocess.Popen[bytes]
    tree: Tree
    ends: Ends
    log: CommandLog
    quiet: float
    """Seconds without output after which it may be waiting for somebody to type."""
    reporting: Reporting | None = None
    cell: Cell | None = None
    """The sandbox that it runs in."""

    def discard(self) -> None:
        """End it unread; blocks until it is gone."""
        end_tree(self.tree)
        self.ends.close()
        if self.reporting is not None:
            self.reporting.pipe.discard()
        self.shell.wait()
        if self.cell is not None:
            self.cell.leave()


class LocalProcess:
    """A command on this machine. Lives on callbacks of its loop: it ends by itself, awaited or not."""

    def __init__(self, child: Child, workers: Executor, ended: Callable[[LocalProcess], None]) -> None:
        self._child = child
        self._workers = workers
        self._on_ended = ended
        self._loop = asyncio.get_running_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._transcript = Transcript()
        self._backlog = Backlog()
        self._keyboard = None if child.ends.input is None else Keyboard(child.ends)
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: ExitStatus | None = None
        self._pipe_open = True
        self._killed = False
        self._leaving = False
        self._grace_until = 0.0
        self._quiet_since = self._loop.time()
        _make_readable(child.ends.output)
        self._loop.add_reader(child.ends.output, self._read)
        if child.reporting is not None:
            child.reporting.pipe.listen()
        watch_exit(child.shell, self._shell_ended)

    @property
    def tree(self) -> Tree:
        """The processes of this command."""
        return self._child.tree

    @property
    def terminal_id(self) -> str | None:
        """None: no editor shows it, the output has to be sent."""
        return None

    def chunks(self) -> AsyncIterator[str]:
        """New output, everything that waits at once, for one reader; older text may be dropped."""
        return _Chunks(self._next_chunk)

    async def output(self) -> Output:
        """The output so far: its head and its tail; the log holds as much when this returns."""
        await self._child.log.settled()
        return self._transcript.output()

    def exit(self) -> ExitStatus | None:
        """How it ended, None while it runs or its output is still being read."""
        return self._status

    async def wait(self) -> ExitStatus:
        """Wait for its end; cancelling the wait leaves it running."""
        while self._status is None:
            await self._ended.wait()
        return self._status

    async def kill(self) -> None:
        """End it with all its children; goes on when the caller is cancelled meanwhile."""
        if self._status is not None:
            return
        self._killed = True
        await asyncio.shield(self._loop.run_in_executor(self._workers, end_tree, self.tree))
        if self._child.shell.poll() is not None:
            self._end()
        try:
            async with asyncio.timeout(REAP_TIMEOUT):
                await self._ended.wait()
        except TimeoutError:
            # The kernel holds it in a call that cannot be interrupted; it dies when that returns,
            # and nobody has to wait for it.
            self._end()

    async def release(self) -> None:
        """Kill it when it still runs; nothing else is held."""
        await self.kill()

    @property
    def log(self) -> str | None:
        """The file with the whole output, None while that is short."""
        return self._child.log.path

    @property
    def log_problem(self) -> str:
        """Why the log is not complete; empty while it is."""
        return self._child.log.problem

    @property
    def confined(self) -> bool:
        """Whether it runs in the sandbox."""
        return self._child.cell is not None

    @property
    def takes_input(self) -> bool:
        """Whether something can be sent now."""
        return self._status is None and self._keyboard is not None and self._keyboard.open

    async def send(self, permit: Permit, text: str) -> None:
        """Type `text`. Raises `ExecutionError` when the command does not take it."""
        permit.check_command(typed(self._child.launch.command, text))
        if permit.confinement is not None and not self.confined:
            raise PermitMismatch("no permit to type outside the sandbox")
        if self._keyboard is None or self._status is not None:
            raise ExecutionError("The command takes no input: it has ended, or was started without any.")
        self._quiet_since = self._loop.time()
        await self._keyboard.type(text)

    async def asks(self) -> bool:
        """Whether it has been quiet for a while and waits for input."""
        if not self.takes_input or self._loop.time() - self._quiet_since < self._child.quiet:
            return False
        last = self._transcript.output().text.rpartition("\n")[2]
        channel, unfinished = self._child.ends.channel, bool(last.strip())
        look = functools.partial(waits_for_input, self.tree, channel, unfinished=unfinished)
        return await self._loop.run_in_executor(self._workers, look) and self.takes_input

    async def asked(self) -> bool:
        """Wait until it asks for input; False when it ended, or cannot be given any."""
        while self.takes_input:
            if await self.asks():
                return True
            quiet = self._loop.time() - self._quiet_since
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._child.quiet / 2, self._child.quiet - quiet)):
                    await self._ended.wait()
        return False

    async def left(self) -> ShellState:
        """The shell as the command left it. Raises `ShellLost`."""
        if self._child.reporting is None:
            raise ShellLost("it was not asked for a report")
        if self._status is None or self._status.code is None:
            raise ShellLost("its shell was killed")
        return await self._loop.run_in_executor(self._workers, self._child.reporting.state)

    async def _next_chunk(self) -> str | None:
        while not (text := self._backlog.take()):
            if self._status is not None:
                return None
            self._news.clear()
            await self._news.wait()
        return text

    def _read(self) -> bool:
        """Take what one read gives; False when there is nothing to take now."""
        try:
            data = os.read(self._child.ends.output, PIPE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            # What the end of a terminal looks like when nobody has it open any more.
            data = b""
        if not data:
            self._close_pipe()
            return False
        self._keep(data)
        self._receive(self._decoder.decode(data))
        return True

    def _keep(self, data: bytes) -> None:
        """Write to the log; when that falls behind, what comes waits in the pipe."""
        self._child.log.add(data, self._resume)
        if self._child.log.full:
            self._loop.remove_reader(self._child.ends.output)

    def _resume(self) -> None:
        if self._pipe_open:
            self._loop.add_reader(self._child.ends.output, self._read)

    def _receive(self, text: str) -> None:
        self._quiet_since = self._loop.time()
        self._transcript.add(text)
        self._backlog.add(text)
        self._news.set()

    def _drain(self) -> None:
        for _ in range(DRAIN_READS):
            if not self._pipe_open or not self._read():
                return

    def _close_pipe(self) -> None:
        if self._pipe_open:
            self._pipe_open = False
            self._loop.remove_reader(self._child.ends.output)
            os.close(self._child.ends.output)

    def _shell_ended(self) -> None:
        self._child.shell.poll()
        self._grace_until = self._loop.time() + LEFTOVER_GRACE
        self._settle()

    def _settle(self) -> None:
        """The shell has ended: finish, or wait for what it left behind, within the grace."""
        self._drain()
        if self._child.cell is None:
            self._settled(others=group_lives(self.tree.pid))
        else:
            # This reads files of the system.
            look = self._loop.run_in_executor(self._workers, inside_lives, self.tree)
            look.add_done_callback(lambda look: self._settled(others=look.result()))

    def _settled(self, *, others: bool) -> None:
        if self._killed or not (self._pipe_open or others):
            self._end()
        elif self._child.launch.background:
            self._loop.call_later(BACKGROUND_POLL, self._settle)
        elif self._loop.time() < self._grace_until:
            self._loop.call_later(LEFTOVER_POLL, self._settle)
        else:
            ending = self._loop.run_in_executor(self._workers, end_group, self.tree)
            ending.add_done_callback(self._leftovers_ended)

    def _leftovers_ended(self, ending: asyncio.Future[int]) -> None:
        self._drain()
        if (count := ending.result()) and self._status is None:
            self._receive(f"\n[{count} process(es) that the command had left running were ended]\n")
        self._end()

    def _end(self) -> None:
        """All has ended: leave the sandbox, if there is one, and finish."""
        if self._leaving:
            return
        self._leaving = True
        if self._child.cell is None:
            self._finish()
            return
        self._drain()
        self._loop.run_in_executor(self._workers, self._child.cell.leave).add_done_callback(self._left_cell)

    def _left_cell(self, leaving: asyncio.Future[str]) -> None:
        try:
            if said := leaving.result():
                self._receive(f"\n[sandbox: {said}]\n")
        finally:
            self._finish()

    def _finish(self) -> None:
        if self._status is not None:
            return
        self._drain()
        self._close_pipe()
        if rest := self._decoder.decode(b"", final=True):
            self._receive(rest)
        self._status = _status(self._child.shell.returncode)
        if self._keyboard is not None:
            self._keyboard.close()
        if self._child.reporting is not None:
            self._child.reporting.pipe.finish()
            self._workers.submit(self._child.reporting.pipe.remove)
        self._ended.set()
        self._news.set()
        self._child.log.close(functools.partial(self._on_ended, self))


class _Chunks:
    """An iterator that needs no closing, unlike a generator."""

    def __init__(self, take: Callable[[], Awaitable[str | None]]) -> None:
        self._take = take

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> str:
        if (text := await self._take()) is None:
            raise StopAsyncIteration
        return text


def _make_readable(pipe: int) -> None:
    os.set_blocking(pipe, False)
    if sys.platform == "linux":
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            # The user's share of pipe memory is used up: the usual size is enough.
            return


def _status(returncode: int | None) -> ExitStatus:
    if returncode is None:
        return ExitStatus(None, signal.SIGKILL.name)
    if returncode >= 0:
        return ExitStatus(returncode)
    try:
        return ExitStatus(None, signal.Signals(-returncode).name)
    except ValueError:
        # Real-time signals have numbers only.
        return ExitStatus(None, f"SIG{-returncode}")
