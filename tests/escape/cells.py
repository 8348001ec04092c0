"""Commands in the real sandbox: a workspace with a repository, and canaries outside of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.policy.sandbox import Confinement
from hermes_acp.workspace.execution.base import Launch
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.process import LocalProcess
from hermes_acp.workspace.execution.sandbox.bubblewrap import OWN_TEMPORARY, VARIANTS, Bubblewrap, find
from hermes_acp.workspace.execution.sandbox.sandbox import Backend, works

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@contextmanager
def seen_folder() -> Iterator[Path]:
    """A folder outside /tmp, which is another one in the sandbox: there nothing of a test would be tried."""
    places = (sys.prefix, str(Path.home()), "/var/lib", "/srv")
    hidden = tuple(f"{folder}/" for folder in OWN_TEMPORARY)
    seen = (place for place in places if not place.startswith(hidden) and os.access(place, os.W_OK))
    if (place := next(seen, None)) is None:
        pytest.skip(f"none of {', '.join(places)} can be used for files that the sandbox shows")
    with tempfile.TemporaryDirectory(prefix="escape-", dir=place) as folder:
        yield Path(folder)


def backends() -> dict[str, Callable[[], Backend | None]]:
    """Every kind of sandbox that there is, working here or not."""
    program = find()

    def bubblewrap(*, layered: bool) -> Backend | None:
        found = (Backend(Bubblewrap(program, variant), layered) for variant in VARIANTS) if program else ()
        return next(filter(works, found), None)

    def landlock() -> Backend | None:
        alone = Backend(None, layered=True)
        return alone if works(alone) else None

    return {
        "bubblewrap and Landlock": lambda: bubblewrap(layered=True),
        "bubblewrap": lambda: bubblewrap(layered=False),
        "Landlock": landlock,
    }


@dataclass(slots=True)
class Ground:
    """A place to try to escape from: `workspace` is a repository, `outside` holds canaries."""

    backend: Backend
    home: Path
    workspace: Path
    outside: Path
    hidden: Path
    execution: LocalExecution
    roots: tuple[str, ...] = ()
    network: bool = False
    running: list[LocalProcess] = field(default_factory=list)

    async def run(self, command: str, cwd: Path | None = None, **launch: object) -> tuple[ExitStatus, str]:
        """Run a command in the sandbox: how it ended, and what it printed."""
        process = await self.start(command, cwd, **launch)
        status = await process.wait()
        return status, (await process.output()).text

    async def start(self, command: str, cwd: Path | None = None, **launch: object) -> LocalProcess:
        """Start a command in the sandbox."""
        roots = self.roots or (str(self.workspace),)
        confinement = Confinement(roots, (str(self.hidden),), self.network)
        permit = Permit(Effect("execute", "", command=command), confinement)
        where = str(cwd or self.workspace)
        process = await self.execution.start(permit, Launch(command, where, **launch))
        self.running.append(process)
        return process


def make(folder: Path, backend: Backend, **env: str) -> Ground:
    """Make the folders; blocks."""
    home, outside, hidden = folder / "home", folder / "outside", folder / "data"
    workspace = folder / "workspace"
    for path in (home / ".ssh", outside, hidden, workspace / "src", folder / "logs"):
        path.mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("canary of a key\n")
    (outside / "canary").write_text("whole\n")
    (hidden / "sessions.db").write_text("canary of another project\n")
    (workspace / "src" / "main.py").write_text("print('hi')\n")
    (workspace / ".env").write_text("TOKEN=canary\n")
    (workspace / ".gitignore").write_text(".env\n")
    git(workspace, "init", "-q", "-b", "main")
    git(workspace, "add", ".")
    git(workspace, "commit", "-qm", "first")
    seen = {"PATH": os.environ["PATH"], "HOME": str(home), **IDENTITY, **env}
    execution = LocalExecution(seen, folder / "logs", backend=lambda: backend)
    return Ground(backend, home, workspace, outside, hidden, execution)


def git(folder: Path, *words: str) -> str:
    """Run git as the user would; blocks."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **IDENTITY}
    done = subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


async def git_outside(folder: Path, *words: str) -> str:
    """The same, in a thread."""
    return await asyncio.to_thread(git, folder, *words)
