"""What all commands of this machine share, and how one is started; everything here blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from hermes_acp.policy.sandbox import Confinement
from hermes_acp.policy.secrets.lines import of_environment
from hermes_acp.records import record
from hermes_acp.workspace.execution import bash
from hermes_acp.workspace.execution.base import ExecutionError, Launch
from hermes_acp.workspace.execution.descendants import MARK, Tree
from hermes_acp.workspace.execution.ends import Ends, open_ends
from hermes_acp.workspace.execution.guard import Guard
from hermes_acp.workspace.execution.log import SUFFIX, CommandLog
from hermes_acp.workspace.execution.process import Child, LocalProcess
from hermes_acp.workspace.execution.report_pipe import ReportPipe
from hermes_acp.workspace.execution.reporting import Reporting
from hermes_acp.workspace.execution.sandbox.sandbox import Backend, Cell, Opening, Sandbox
from hermes_acp.workspace.execution.shell_script import Around, script
from hermes_acp.workspace.execution.shell_state import ShellState

TERMINAL_TYPE = "xterm-256color"
"""`TERM` of commands that have a terminal."""

KEPT = "taken-from-commands"
"""The folder beside the logs for what commands in the sandbox should not have made."""

INFO_BYTES = 4096
"""Longest word of bubblewrap about the processes that it started."""

_CHILD = re.compile(rb'"child-pid":\s*(\d+)')


@record
class Machine:
    """A guard, a shell, and a private folder that lasts as long; `logs` are kept longer."""

    guard: Guard
    shell: bash.Shell
    folder: Path
    logs: Path
    quiet: float
    workers: Executor
    sandbox: Sandbox

    @classmethod
    def begin(
        cls,
        env: Mapping[str, str],
        logs: Path | None,
        quiet: float,
        workers: Executor,
        backend: Callable[[], Backend | None],
    ) -> Machine:
        """Start the guard and look at the shell; `quiet` is for `Child`. Raises `ExecutionError`."""
        try:
            shell, folder = bash.Shell.find(env), Path(tempfile.mkdtemp(prefix="hermes-editor-"))
            try:
                guard = Guard.start(env, folder)
            except OSError:
                folder.rmdir()
                raise
        except OSError as error:
            raise ExecutionError(f"No command can be started: {error}.") from error
        sandbox = Sandbox(folder, (logs or folder) / KEPT, backend)
        return cls(guard, shell, folder, logs or folder, quiet, workers, sandbox)

    def close(self) -> None:
        """End the guard and remove the folder."""
        self.guard.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def attend(self, child: Child, ended: Callable[[LocalProcess], None]) -> LocalProcess:
        """A command that was started: the workers read it, and `ended` is told of its end."""
        return LocalProcess(child, self.workers, ended)

    def spawn(self, launch: Launch, env: Mapping[str, str], confinement: Confinement | None = None) -> Child:
        """Start a command whose new shell would see `env`, in the sandbox or not. Raises `ExecutionError`."""
        cell = None
        try:
            with contextlib.ExitStack() as undo:
                if confinement is not None:
                    cell = self.sandbox.enter(confinement, env, background=launch.background)
                    undo.callback(cell.leave)
                    env = cell.environment(env)
                child = self._spawn(launch, env, cell, undo)
                undo.pop_all()
        except (OSError, ValueError) as error:
            raise ExecutionError(_why(error, launch.cwd)) from error
        self.guard.add(child.tree)
        return child

    def _spawn(
        self, launch: Launch, env: Mapping[str, str], cell: Cell | None, undo: contextlib.ExitStack
    ) -> Child:
        """`undo` gets what is to be done when this fails."""
        mark = secrets.token_hex(8)
        ends = open_ends(launch)
        undo.callback(ends.close)
        reporting, source = None, None
        state = launch.shell if self.shell.new is not None else None
        with contextlib.ExitStack() as theirs:
            theirs.callback(ends.close_theirs)
            if state is not None and (source := bash.memory(state)) is not None:
                theirs.callback(os.close, source)
            if state is not None and self.shell.new is not None and not launch.background:
                reporting = Reporting(ReportPipe(str(self.folder / mark)), env, self.shell.new)
                undo.callback(reporting.pipe.discard)
            pipe = reporting.pipe.path if reporting is not None else ""
            seen = bash.environment(launch, env)
            shell, init = _popen(
                _Start(launch, self.shell, state, ends, source, pipe, cell),
                {**seen, **({"TERM": TERMINAL_TYPE} if ends.terminal else {}), MARK: mark},
            )
        log = CommandLog(self.logs / f"{mark}{SUFFIX}", self.workers, of_environment(seen))
        return Child(launch, shell, Tree(shell.pid, mark, init), ends, log, self.quiet, reporting, cell)


@record
class _Start:
    """What a process is started from."""

    launch: Launch
    shell: bash.Shell
    state: ShellState | None
    ends: Ends
    source: int | None
    report: str
    cell: Cell | None


def _popen(start: _Start, env: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the first one in its sandbox: 0 where there is none. Raises OSError."""
    cell, ends = start.cell, start.ends
    if cell is None:
        around = Around(ends.terminal, start.source, start.report)
        words = start.shell.words(script(start.launch.command, start.state, around))
        return _process(words, start, env), 0
    around = Around(cell.terminal(ends.terminal), start.source, cell.report(start.report))
    words = start.shell.words(script(start.launch.command, start.state, around))
    opening = Opening(start.launch.cwd, start.report, bool(ends.terminal))
    if not cell.has_init:
        return _process(cell.around(words, opening), start, env), 0
    reading, writing = os.pipe()
    try:
        opening = replace(opening, info=writing)
        process = _process(cell.around(words, opening), start, env, writing)
    finally:
        os.close(writing)
        try:
            told = _told(reading)
        finally:
            os.close(reading)
    return process, told


def _process(words: list[str], start: _Start, env: Mapping[str, str], *more: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=start.ends.stdin,
        stdout=start.ends.stdout,
        stderr=start.ends.stdout,
        cwd=start.launch.cwd,
        env=env,
        pass_fds=more if start.source is None else (start.source, *more),
        start_new_session=True,
    )


def _told(info: int) -> int:
    """What bubblewrap says about the process that it made; 0 when it came to its end before."""
    text = b""
    while b"}" not in text and len(text) < INFO_BYTES and (more := os.read(info, INFO_BYTES)):
        text += more
    found = _CHILD.search(text)
    return int(found[1]) if found else 0


def _why(error: OSError | ValueError, cwd: str) -> str:
    if isinstance(error, ValueError):
        return f"The command cannot be passed to the shell ({error}): leave out NUL characters."
    if error.errno == errno.E2BIG:
        return "The command is too long for the system: write it to a script file and run that."
    if error.filename == cwd:
        return f"The working directory {cwd} cannot be entered ({error.strerror}): choose another one."
    return f"The command could not be started: {error}."
