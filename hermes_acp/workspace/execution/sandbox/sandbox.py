"""The sandbox of this machine: which one works here, and a cell of it for each command. Blocks."""

from __future__ import annotations

import functools
import hashlib
import os
import py_compile
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.policy.sandbox import Confinement
from hermes_acp.records import record
from hermes_acp.workspace.execution.base import ExecutionError
from hermes_acp.workspace.execution.sandbox import bubblewrap, landlock, others, trespass
from hermes_acp.workspace.execution.sandbox.bounds import Bounds, bounds
from hermes_acp.workspace.execution.sandbox.bubblewrap import VARIANTS, Bubblewrap, Places
from hermes_acp.workspace.execution.sandbox.holders import Holders
from hermes_acp.workspace.execution.sandbox.no_links import identity, number
from hermes_acp.workspace.execution.sandbox.repository import GitData, git_data
from hermes_acp.workspace.execution.sandbox.tree import Found, Tree

PROBE_SECONDS = 5.0
"""Seconds for a try of one kind of sandbox."""

TREES = 32
"""Workspaces whose folders are remembered."""

LAUNCHER = Path(__file__).with_name("launcher.py")


def _interpreter() -> str:
    """Python itself rather than a copy of it in an environment, which may lie in a folder that is hidden."""
    version = sys.version_info
    installed = Path(sys.base_prefix, "bin", f"python{version.major}.{version.minor}")
    return os.path.realpath(installed if installed.is_file() else sys.executable)


PYTHON = (_interpreter(), "-I", "-S")
"""Isolated, and without all that takes time at the start."""


@record
class Backend:
    """What confines commands here.

    `bubblewrap` is None where the launcher makes the mounts itself; `layered` tells whether Landlock is
    applied inside as well, which keeps commands from all pipes (FIFOs) of others.
    """

    bubblewrap: Bubblewrap | None
    layered: bool

    @property
    def name(self) -> str:
        """For people."""
        if self.bubblewrap is None:
            return "Landlock"
        return "bubblewrap and Landlock" if self.layered else "bubblewrap"

    @property
    def limits(self) -> str:
        """What it does not hold, and what would; empty where it holds all that is promised."""
        if self.bubblewrap is None:
            return "names and arguments of other programs can be seen: bubblewrap hides them"
        if not self.layered:
            return (
                "pipes (FIFOs) of others can be written to unless a program has them open when the command "
                "starts: a kernel with Landlock prevents it"
            )
        return ""


@record
class Opening:
    """What a cell needs to know of its command."""

    cwd: str
    report: str = ""
    terminal: bool = False
    info: int | None = None


@dataclass(slots=True)
class Cell:
    """The sandbox around one command; `leave` it when all of the command has ended."""

    sandbox: Sandbox
    backend: Backend
    confinement: Confinement
    bounds: Bounds
    git: tuple[GitData, ...]
    before: tuple[Found, ...]
    holders: tuple[str, ...]
    background: bool

    def around(self, words: list[str], opening: Opening) -> list[str]:
        """The command line that runs another one in the cell."""
        places = self.sandbox.places(self.confinement, opening.report)
        rules = ["terminal=1"] if opening.terminal else []
        rules += self._identities(places.nothing)
        if self.backend.bubblewrap is None:
            rules = [*landlock.options(self.bounds, places), *rules]
            return [*PYTHON, places.launcher, *rules, "--", *words]
        front = self.backend.bubblewrap.words(self.bounds, places, opening.cwd, opening.info)
        if self.backend.layered:
            rules += [f"w={path}" for path in bubblewrap.writable(self.bounds)]
        return [*front, *PYTHON, bubblewrap.LAUNCHER, *rules, "--", *words]

    def _identities(self, nothing: str) -> list[str]:
        """What has to be found at its place inside: mounts go by names, which another command may swap."""
        roots = self.bounds.paths("writable")
        expected = {path: identity(path, roots) for path in self.bounds.paths("read_only")}
        covered, hidden = number(Path(nothing).stat()), set(self.bounds.paths("hidden"))
        expected |= {path: covered for item in self.before for path in item.secret & hidden}
        return [f"i={known}:{path}" for path, known in expected.items() if known is not None]

    @property
    def has_init(self) -> bool:
        """Whether a first process of its own holds all others, which end with it."""
        return self.backend.bubblewrap is not None

    def report(self, path: str) -> str:
        """What the command finds the pipe at `path` by."""
        return bubblewrap.REPORT if path else ""

    def terminal(self, path: str) -> str:
        """The same for its terminal, which is its standard input."""
        return "/proc/self/fd/0" if path else ""

    def environment(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """The environment with the folder for temporary files that there is."""
        return {**env, "TMPDIR": bubblewrap.OWN_TEMPORARY[0]} if "TMPDIR" in env else env

    def leave(self) -> str:
        """Put everything back in order; gives what has to be said, mostly nothing."""
        return self.sandbox.leave(self)


@dataclass(slots=True)
class Sandbox:
    """All cells of one server. `folder` is private and ends with it; `kept` lasts. `backend` may block."""

    folder: Path
    kept: Path
    backend: Callable[[], Backend | None]
    _holders: Holders = field(default_factory=Holders)
    _trees: dict[str, Tree] = field(default_factory=dict[str, Tree])
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _cells: int = 0

    def enter(self, confinement: Confinement, env: Mapping[str, str], *, background: bool) -> Cell:
        """A cell for a command. Raises `ExecutionError` where none can be made."""
        if (found := self.backend()) is None:
            raise ExecutionError("The command was not run: there is no sandbox on this machine any more.")
        git = _distinct(tuple(git_data(root) for root in confinement.roots))
        holders = self._holders.take(path for item in git for path in item.holders)
        before = self._look(confinement.roots)
        listening = others.sockets(confinement.roots)
        # Where Landlock is at hand, it lets nobody write to a pipe.
        listening += [] if found.layered else others.pipes(confinement.roots)
        filled = bounds(confinement, git, before, env, listening)
        return Cell(self, found, confinement, filled, git, before, holders, background)

    def places(self, confinement: Confinement, report: str = "") -> Places:
        """The folder for temporary files that all commands of the same workspace share, and the like."""
        key = hashlib.sha256("\0".join(confinement.roots).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        temporary, nothing = self.folder / f"tmp-{key}", self.folder / "nothing"
        temporary.mkdir(mode=0o700, exist_ok=True)
        nothing.touch(mode=0)
        launcher = self.folder / "launcher.pyc"
        if not launcher.exists():
            # Python would compile it anew for each command.
            py_compile.compile(str(LAUNCHER), str(launcher), doraise=True, optimize=2)
        return Places(str(temporary), str(nothing), str(launcher), report)

    def leave(self, cell: Cell) -> str:
        """The end of a cell."""
        self._holders.give_back(cell.holders)
        said = [trespass.remove(path for item in cell.git for path in item.forbidden)]
        after = self._look(cell.confinement.roots)
        new = {
            path
            for now, then in zip(after, cell.before, strict=True)
            for path in now.protected - then.protected
        }
        new |= {path for item in cell.git for path in item.missing if os.path.lexists(path)}
        if new and cell.background:
            said.append(trespass.tell(new))
        elif new:
            self._cells += 1
            said.append(
                trespass.take_away(cell.confinement.roots, new, self.kept / f"{os.getpid()}-{self._cells}")
            )
        return "; ".join(part for part in said if part)

    def _look(self, roots: tuple[str, ...]) -> tuple[Found, ...]:
        with self._looking:
            for root in roots:
                self._trees[root] = self._trees.pop(root, None) or Tree(root)
            while len(self._trees) > max(TREES, len(roots)):
                del self._trees[next(iter(self._trees))]
            return tuple(self._trees[root].look() for root in roots)


@functools.cache
def working() -> Backend | None:
    """The sandbox that works on this machine, found by running it, once."""
    if sys.platform != "linux":
        return None
    if (program := bubblewrap.find()) is not None:
        for variant in VARIANTS:
            for layered in (True, False):
                tried = Backend(Bubblewrap(program, variant), layered)
                if works(tried):
                    return tried
    alone = Backend(None, layered=True)
    return alone if works(alone) else None


def works(tried: Backend) -> bool:
    """Whether a command can be run in this sandbox."""
    if tried.bubblewrap is None and landlock.version() < landlock.NEEDED:
        return False
    words = ["/bin/sh", "-c", "exit 42"]
    places, none = Places("/tmp", "", str(LAUNCHER)), Bounds((), network=False)
    if tried.bubblewrap is None:
        words = [*PYTHON, str(LAUNCHER), *landlock.options(none, places), "--", *words]
    else:
        front = tried.bubblewrap.words(none, places, "/")
        words = front + ([*PYTHON, bubblewrap.LAUNCHER, "w=/dev", "--"] if tried.layered else []) + words
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 42


def _distinct(git: tuple[GitData, ...]) -> tuple[GitData, ...]:
    """Roots of one repository share its data."""
    return tuple(item for index, item in enumerate(git) if item not in git[:index])


def lacking() -> str:
    """Why there is no sandbox here, and what to do."""
    if sys.platform != "linux":
        return "only Linux has one that is used here"
    if bubblewrap.find() is None:
        return "bubblewrap is not installed (package bubblewrap)"
    return "bubblewrap does not work here, mostly because user namespaces are switched off"
