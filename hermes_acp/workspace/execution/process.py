"""One running command: reads its pipe as it fills, notices its end, and ends what belongs to it.

Reading never waits for a reader: a command must not stall because a window is slow, so output that
nobody takes is dropped from its oldest end once the backlog is full.
"""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from hermes_acp.events import ExitStatus
from hermes_acp.workspace.execution.base import Output
from hermes_acp.workspace.execution.descendants import Tree, end_group, end_tree, group_lives
from hermes_acp.workspace.execution.exits import watch_exit
from hermes_acp.workspace.execution.transcript import Backlog, Transcript

PIPE_BYTES = 256 * 1024
"""Size of the pipe where the system grants it, and of one read: fewer wake-ups in a flood."""

DRAIN_READS = 8
"""Reads after the shell's end: more than a pipe holds, so that a flooding child cannot keep us."""

LEFTOVER_GRACE = 0.1
"""Seconds after the shell's end for what it left behind (a `tee`, say) to finish by itself."""

LEFTOVER_POLL = 0.01
"""Seconds between two looks at what a shell left behind."""

BACKGROUND_POLL = 0.25
"""The same for a background command, which may go on for hours after its shell."""

REAP_TIMEOUT = 1.0
"""Seconds that `kill` waits for the end to be noticed; longer only takes a broken kernel."""


@dataclass(frozen=True, slots=True)
class Child:
    """A shell that was just started, and the reading end of its pipe."""

    shell: subprocess.Popen[bytes]
    tree: Tree
    pipe: int
    background: bool

    def discard(self) -> None:
        """End it unread; blocks until it is gone."""
        end_tree(self.tree)
        os.close(self.pipe)
        self.shell.wait()


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
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: ExitStatus | None = None
        self._pipe_open = True
        self._killed = False
        self._grace_until = 0.0
        _make_readable(child.pipe)
        self._loop.add_reader(child.pipe, self._read)
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
        """The output so far: its head and its tail."""
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
            self._finish()
        try:
            async with asyncio.timeout(REAP_TIMEOUT):
                await self._ended.wait()
        except TimeoutError:
            # The kernel holds it in a call that cannot be interrupted; it dies when that returns,
            # and nobody has to wait for it.
            self._finish()

    async def release(self) -> None:
        """Kill it when it still runs; nothing else is held."""
        await self.kill()

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
            data = os.read(self._child.pipe, PIPE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_pipe()
            return False
        self._receive(self._decoder.decode(data))
        return True

    def _receive(self, text: str) -> None:
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
            self._loop.remove_reader(self._child.pipe)
            os.close(self._child.pipe)

    def _shell_ended(self) -> None:
        self._child.shell.poll()
        self._grace_until = self._loop.time() + LEFTOVER_GRACE
        self._settle()

    def _settle(self) -> None:
        """The shell has ended: finish, or wait for what it left behind, within the grace."""
        self._drain()
        if self._killed or not (self._pipe_open or group_lives(self.tree.pid)):
            self._finish()
        elif self._child.background:
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
        self._finish()

    def _finish(self) -> None:
        if self._status is not None:
            return
        self._drain()
        self._close_pipe()
        if rest := self._decoder.decode(b"", final=True):
            self._receive(rest)
        self._status = _status(self._child.shell.returncode)
        self._ended.set()
        self._news.set()
        self._on_ended(self)


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
