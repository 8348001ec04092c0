"""What all commands of this machine share, and how one is started; everything here blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from hermes_acp.workspace.execution import bash
from hermes_acp.workspace.execution.base import ExecutionError, Launch
from hermes_acp.workspace.execution.descendants import MARK, Tree
from hermes_acp.workspace.execution.ends import open_ends
from hermes_acp.workspace.execution.guard import Guard
from hermes_acp.workspace.execution.log import SUFFIX, CommandLog
from hermes_acp.workspace.execution.process import Child
from hermes_acp.workspace.execution.redaction import secrets_of
from hermes_acp.workspace.execution.report_pipe import ReportPipe
from hermes_acp.workspace.execution.reporting import Reporting
from hermes_acp.workspace.execution.shell_script import Around, script

TERMINAL_TYPE = "xterm-256color"
"""`TERM` of commands that have a terminal."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A guard, a shell, and a private folder that lasts as long; `logs` are kept longer."""

    guard: Guard
    shell: bash.Shell
    folder: Path
    logs: Path
    quiet: float
    workers: Executor

    @classmethod
    def begin(cls, env: Mapping[str, str], logs: Path | None, quiet: float, workers: Executor) -> Machine:
        """Start the guard and look at the shell; `quiet` is for `Child`. Raises `ExecutionError`."""
        try:
            shell, guard = bash.Shell.find(env), Guard.start(env)
            folder = Path(tempfile.mkdtemp(prefix="hermes-editor-"))
        except OSError as error:
            raise ExecutionError(f"No command can be started: {error}.") from error
        return cls(guard, shell, folder, logs or folder, quiet, workers)

    def close(self) -> None:
        """End the guard and remove the folder."""
        self.guard.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def spawn(self, launch: Launch, env: Mapping[str, str]) -> Child:
        """Start a command whose new shell would see `env`. Raises `ExecutionError`."""
        mark = secrets.token_hex(8)
        try:
            with contextlib.ExitStack() as undo:
                child = self._spawn(launch, env, mark, undo)
                undo.pop_all()
        except (OSError, ValueError) as error:
            raise ExecutionError(_why(error, launch.cwd)) from error
        self.guard.add(child.tree)
        return child

    def _spawn(self, launch: Launch, env: Mapping[str, str], mark: str, undo: contextlib.ExitStack) -> Child:
        """`undo` gets what is to be done when this fails."""
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
            around = Around(ends.terminal, source, reporting.pipe.path if reporting is not None else "")
            seen = bash.environment(launch, env)
            shell = subprocess.Popen(
                self.shell.words(script(launch.command, state, around)),
                stdin=ends.stdin,
                stdout=ends.stdout,
                stderr=ends.stdout,
                cwd=launch.cwd,
                env={**seen, **({"TERM": TERMINAL_TYPE} if ends.terminal else {}), MARK: mark},
                pass_fds=() if source is None else (source,),
                start_new_session=True,
            )
        log = CommandLog(self.logs / f"{mark}{SUFFIX}", self.workers, secrets_of(seen))
        return Child(launch, shell, Tree(shell.pid, mark), ends, log, self.quiet, reporting)


def _why(error: OSError | ValueError, cwd: str) -> str:
    if isinstance(error, ValueError):
        return f"The command cannot be passed to the shell ({error}): leave out NUL characters."
    if error.errno == errno.E2BIG:
        return "The command is too long for the system: write it to a script file and run that."
    if error.filename == cwd:
        return f"The working directory {cwd} cannot be entered ({error.strerror}): choose another one."
    return f"The command could not be started: {error}."
