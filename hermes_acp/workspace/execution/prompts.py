"""Finds out whether a command waits for somebody to type: looks at processes, so it blocks."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

from hermes_acp.workspace.execution.descendants import Tree, members

TERMINAL = "/dev/tty"
"""The controlling terminal under the name that programs open it by to ask for a password."""

_READS = {"x86_64": frozenset({0, 19}), "aarch64": frozenset({63, 65})}
"""The numbers of `read` and `readv`, by machine."""

_WAITS = {"x86_64": frozenset({7, 23, 232, 270, 271, 281}), "aarch64": frozenset({22, 72, 73})}
"""The numbers of `poll`, `select`, `epoll_wait` and their kin: what line editors wait in."""


def waits_for_input(tree: Tree, channel: str, *, unfinished: bool) -> bool:
    """Whether a process of the command waits for what may be typed into `channel`.

    `channel` is what its standard input is a link to in /proc, `unfinished` whether the last line of the
    output has no end, as that of a question. Where the system does not tell what a process
    waits for, the unfinished line alone is taken for a question.
    """
    found = [_waits(pid, channel, unfinished) for pid in members(tree)] if channel else []
    known = [waits for waits in found if waits is not None]
    return any(known) if known else unfinished


def channel(descriptor: int) -> str:
    """What /proc calls the open file; empty where there is no /proc."""
    return _link(f"/proc/self/fd/{descriptor}")


def _waits(pid: int, channel: str, unfinished: bool) -> bool | None:  # noqa: FBT001
    """None when the system does not tell."""
    try:
        words = Path(f"/proc/{pid}/syscall").read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return None
    machine = platform.machine()
    if len(words) < 2 or not words[0].isdigit() or machine not in _READS:
        return None if machine not in _READS else False
    call = int(words[0])
    if call in _READS[machine]:
        return _link(f"/proc/{pid}/fd/{int(words[1], 16)}") in _names(channel)
    return unfinished and call in _WAITS[machine] and _link(f"/proc/{pid}/fd/0") == channel


def _names(channel: str) -> Iterable[str]:
    return (channel, TERMINAL) if channel.startswith("/dev/") else (channel,)


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        # Gone meanwhile, or not ours to look into.
        return ""
