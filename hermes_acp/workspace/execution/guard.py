"""A tiny shell process that outlives a killed server just long enough to end its commands.

The kernel's own death signal reaches only the shell of a command, never the shell's children. The
guard learns of every command through a pipe; when the pipe closes, the server is gone, and whatever
it has not signed off is killed. The server's private folder goes then too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hermes_acp.workspace.execution.descendants import MARK, Tree

CLOSE_TIMEOUT = 1.0
"""Seconds for the guard to end once its pipe is closed."""

CLOSED = -1
"""Stands for the closed pipe; the system refuses to write to it."""

_SCRIPT = f"""
trap '' INT TERM HUP
running=
while read -r sign group mark init; do
  kept=
  for entry in $running; do [ "$entry" = "$group:$init:$mark" ] || kept="$kept $entry"; done
  running=$kept
  [ "$sign" = + ] && running="$running $group:$init:$mark"
done
for entry in $running; do
  group=${{entry%%:*}} init=${{entry#*:}}
  kill -KILL -- "-$group"
  [ "${{init%%:*}}" = 0 ] || kill -KILL "${{init%%:*}}"
  for found in $(grep -slF "{MARK}=${{entry##*:}}" /proc/[0-9]*/environ); do
    found=${{found#/proc/}}
    kill -KILL "${{found%/environ}}"
  done
done
rm -rf -- "$1"
"""


class Guard:
    """One guard for one server; `add` and `remove` do not block, and any thread may call them."""

    def __init__(self, child: subprocess.Popen[bytes], pipe: int) -> None:
        self._child = child
        self._pipe = pipe

    @classmethod
    def start(cls, env: Mapping[str, str], folder: Path) -> Guard:
        """Start the process, which removes `folder` at its end; blocks for its start. Raises OSError."""
        reading, writing = os.pipe()
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "hermes-editor-guard", str(folder)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": env.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        os.set_blocking(writing, False)
        return cls(child, writing)

    def add(self, tree: Tree) -> None:
        """A command runs."""
        self._write("+", tree)

    def remove(self, tree: Tree) -> None:
        """A command has ended."""
        self._write("-", tree)

    def close(self) -> None:
        """Let it end; blocks until it has."""
        pipe, self._pipe = self._pipe, CLOSED
        os.close(pipe)
        try:
            self._child.wait(CLOSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _write(self, sign: str, tree: Tree) -> None:
        try:
            os.write(self._pipe, f"{sign} {tree.pid} {tree.mark} {tree.init}\n".encode())
        except OSError:
            # Closed by us, or stopped or killed by somebody: commands must run all the same.
            return
