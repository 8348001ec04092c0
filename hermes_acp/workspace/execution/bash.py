"""The shell of this machine: which one, what it is told, and what it is like when it is new. Blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from hermes_acp.records import record
from hermes_acp.workspace.execution import shell_report, shell_script
from hermes_acp.workspace.execution.base import Launch
from hermes_acp.workspace.execution.shell_report import Report
from hermes_acp.workspace.execution.shell_state import ShellState

PROBE_TIMEOUT = 5.0
"""Seconds for a new shell to describe itself."""

WITHOUT_FILES = ("--norc", "--noprofile")
"""Without them, some builds of bash read ~/.bashrc for whoever came over ssh."""


@record
class Shell:
    """A shell; `new` is what one without any environment reports, None when this is no bash that can."""

    path: str
    new: Report | None = None

    @classmethod
    def find(cls, env: Mapping[str, str]) -> Shell:
        """The bash that is there, else `/bin/sh`, with which every command begins anew."""
        path = shutil.which("/bin/bash") or shutil.which("bash", path=env.get("PATH", os.defpath))
        return cls("/bin/sh") if path is None else cls(path, _new(path))

    def words(self, script: str) -> list[str]:
        """The command line that runs a script."""
        return [self.path, *(WITHOUT_FILES if self.new else ()), "-c", "--", script]


def environment(launch: Launch, env: Mapping[str, str]) -> dict[str, str]:
    """What the shell of this command gets: without all that would make it run files of its own accord."""
    seen = env if launch.shell is None else launch.shell.environment(env)
    return {name: value for name, value in seen.items() if name not in shell_script.STARTUP}


def memory(state: ShellState) -> int | None:
    """A descriptor to source, which no other command can name; None when there is nothing to define.

    Raises OSError.
    """
    if not (text := shell_script.definitions(state)):
        return None
    if sys.platform == "linux":
        file = os.memfd_create("shell", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as unnamed:
            file = os.dup(unnamed.fileno())
    try:
        _write(file, text)
    except OSError:
        os.close(file)
        raise
    return file


def _write(file: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.lseek(file, 0, os.SEEK_SET)


def _new(path: str) -> Report | None:
    script = shell_script.script(":", ShellState("/"), shell_script.Around(report="/dev/stdout"))
    try:
        probe = subprocess.run(
            [path, *WITHOUT_FILES, "-c", "--", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env={},
            timeout=PROBE_TIMEOUT,
            check=False,
        )
        return shell_report.read(probe.stdout)
    except (OSError, subprocess.TimeoutExpired, shell_report.Unreadable):
        return None
