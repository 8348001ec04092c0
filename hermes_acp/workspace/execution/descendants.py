"""Finds and ends all processes that come from one command, those that left its session included.

Everything here blocks for milliseconds: call it in a worker thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from hermes_acp.records import record

MARK = "HERMES_EDITOR_COMMAND"
"""Environment variable that every process of a command inherits; its value names the command."""

TERM_GRACE = 0.04
"""Seconds between SIGTERM and SIGKILL: time to remove a lock file, within a cancel's 100 ms."""

KILL_WAIT = 0.5
"""Seconds to wait for killed processes; longer only takes one that the kernel itself holds."""

KILL_ROUNDS = 8
"""Rounds of looking again, for processes that were started while others were being killed."""

POLL = 0.002
"""Seconds between two looks at dying processes."""

PS_TIMEOUT = 5.0
"""Seconds for `ps`, which is asked where there is no /proc."""


@record
class Tree:
    """A command: `pid` is its shell, leader of session and group; `mark` the value of `MARK`.

    In a sandbox `pid` is what waits outside for its end, and `init` the first process inside, with which all
    others end; it is 0 elsewhere.
    """

    pid: int
    mark: str
    init: int = 0


@record
class Entry:
    """A living process; `session` and `started` (in ticks) are 0 where the system does not tell."""

    pid: int
    parent: int
    group: int
    session: int = 0
    started: int = 0


def end_tree(tree: Tree, grace: float = TERM_GRACE) -> None:
    """End the shell and every descendant: SIGTERM, at most `grace` seconds, SIGKILL.

    Returns when they are gone.
    """
    roots = {tree.pid, tree.init} if tree.init else {tree.pid}
    known = _descendants(tree, roots)
    # The shell first: it would take the death of its child for an end like any other, and go on.
    # What holds a sandbox is spared: its death would leave those inside no time to end by themselves.
    _signal(sorted(known - roots if tree.init else known, key=lambda pid: pid != tree.pid), signal.SIGTERM)
    _wait_gone(known, grace)
    for _ in range(KILL_ROUNDS):
        # Parents that died no longer lead to their children: who was seen once stays known.
        known = _descendants(tree, known | roots)
        if not known:
            return
        _signal(known, signal.SIGKILL)
        _wait_gone(known, KILL_WAIT)


def end_group(tree: Tree) -> int:
    """End what is left of the shell's group and session; the number of processes that were.

    A daemon that made a session of its own stays: that is what daemons do it for.
    """
    if tree.init:
        return _end_inside(tree)
    left = _same_group(tree)
    _signal(left, signal.SIGTERM)
    _wait_gone(left, TERM_GRACE)
    for _ in range(KILL_ROUNDS):
        if not (stubborn := _same_group(tree)):
            break
        _signal(stubborn, signal.SIGKILL)
        _wait_gone(stubborn, KILL_WAIT)
    return len(left)


def _end_inside(tree: Tree) -> int:
    """End what is left in a sandbox: nothing outlives its first process."""
    left = _descendants(tree, {tree.init}) - {tree.init}
    _signal(left, signal.SIGTERM)
    _wait_gone(left, TERM_GRACE)
    _signal([tree.init], signal.SIGKILL)
    _wait_gone(left | {tree.init}, KILL_WAIT)
    return len(left)


def members(tree: Tree) -> set[int]:
    """All living processes of the command."""
    return _descendants(tree, {tree.pid})


def inside_lives(tree: Tree) -> bool:
    """Whether something is left in the sandbox of the command."""
    return _lives(tree.init) if tree.init else group_lives(tree.pid)


def group_lives(pid: int) -> bool:
    """Whether the process group has members that may be signalled (unreaped ones count)."""
    try:
        os.killpg(pid, 0)
    except OSError:
        return False
    return True


def parse_stat(stat: str) -> Entry | None:
    """A line of /proc/PID/stat; None for a process that is already dead."""
    # The name in parentheses may itself hold spaces and parentheses.
    pid, _, rest = stat.partition(" (")
    state, parent, group, session, *others = rest.rpartition(") ")[2].split(" ", 20)
    if state in "ZX":
        return None
    return Entry(int(pid), int(parent), int(group), int(session), int(others[15]))


def parse_ps(listing: str) -> list[Entry]:
    """The living ones of `ps -A -o pid=,ppid=,pgid=,stat=`."""
    rows = (line.split() for line in listing.splitlines())
    return [Entry(int(row[0]), int(row[1]), int(row[2])) for row in rows if not row[3].startswith("Z")]


def _same_group(tree: Tree) -> set[int]:
    if not (entries := _processes()):
        return _whole_group(tree)
    return {entry.pid for entry in entries if tree.pid in (entry.pid, entry.group, entry.session)}


def _descendants(tree: Tree, roots: set[int]) -> set[int]:
    if not (entries := _processes()):
        return _whole_group(tree)
    # Older processes cannot carry the mark: on a full machine this saves most of the reading.
    first = next((entry.started for entry in entries if entry.pid == tree.pid), 0)
    found = {
        entry.pid
        for entry in entries
        if entry.pid in roots
        or tree.pid in (entry.group, entry.session)
        or (entry.started >= first and _carries(entry.pid, tree.mark))
    }
    reached = found | roots
    while young := {entry.pid for entry in entries if entry.parent in reached} - found:
        found |= young
        reached |= young
    return found - {os.getpid()}


def _whole_group(tree: Tree) -> set[int]:
    """What a signal can reach when processes cannot be listed (no descriptors left, no `ps`)."""
    return {-tree.pid} if group_lives(tree.pid) else set()


def _processes() -> list[Entry]:
    return _from_proc() if sys.platform == "linux" else from_ps()


def _from_proc() -> list[Entry]:
    try:
        names = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return []
    stats = (_read(f"/proc/{name}/stat").decode(errors="replace") for name in names)
    return [entry for stat in stats if stat and (entry := parse_stat(stat))]


def from_ps() -> list[Entry]:
    """All living processes, as `ps` tells them; none when it does not answer."""
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat="]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=PS_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_ps(listing.stdout)


def _carries(pid: int, mark: str) -> bool:
    if sys.platform != "linux":
        return False
    return f"{MARK}={mark}".encode() in _read(f"/proc/{pid}/environ").split(b"\0")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        # Gone meanwhile, or not ours to look into.
        return b""


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            # Gone meanwhile, or another user's: nothing that could be done about it.
            continue


def _wait_gone(pids: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while pids and time.monotonic() < deadline:
        pids = {pid for pid in pids if _lives(pid)}
        if pids:
            time.sleep(POLL)


def _lives(pid: int) -> bool:
    if sys.platform == "linux":
        stat = _read(f"/proc/{pid}/stat").decode(errors="replace")
        return bool(stat) and parse_stat(stat) is not None
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
