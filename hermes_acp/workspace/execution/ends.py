"""The descriptors between the server and a command: pipes, or a terminal. Everything here blocks."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios

from hermes_acp.records import record
from hermes_acp.workspace.execution.base import Launch, WindowSize
from hermes_acp.workspace.execution.prompts import channel


@record
class Ends:
    """Both ends of what a command reads and writes; the command's are closed once it runs."""

    output: int
    """Where the server reads."""
    input: int | None
    """Where the server writes, None when the command reads nothing."""
    channel: str
    """What /proc calls the command's input, where it has one."""
    terminal: str
    """The path of its terminal, empty when it has none."""
    stdin: int
    stdout: int

    def close_theirs(self) -> None:
        """Close the command's ends."""
        for descriptor in {self.stdin, self.stdout} - {subprocess.DEVNULL}:
            os.close(descriptor)

    def close(self) -> None:
        """Close the server's ends."""
        os.close(self.output)
        if self.input is not None:
            os.close(self.input)


def open_ends(launch: Launch) -> Ends:
    """A terminal where one is wanted; else a pipe out, and one in for what runs in the background.

    What runs in the foreground reads an empty input, so that it does not hang. Raises OSError.
    """
    if launch.terminal is not None:
        return _terminal(launch.terminal)
    reading, writing = os.pipe()
    if not launch.background:
        return Ends(reading, None, "", "", subprocess.DEVNULL, writing)
    try:
        stdin, typing = os.pipe()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    os.set_blocking(typing, False)
    return Ends(reading, typing, channel(stdin), "", stdin, writing)


def _terminal(size: WindowSize) -> Ends:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
    name = os.ttyname(theirs)
    typing = os.dup(ours)
    os.set_blocking(typing, False)
    return Ends(ours, typing, channel(theirs), name, theirs, theirs)
