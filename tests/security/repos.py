"""Repositories as their owner makes them, with plain git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ENV = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def git(folder: Path, *arguments: str) -> str:
    """Run git as the user would; gives what it prints."""
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, env=ENV, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.rstrip("\n")


def commit(folder: Path, message: str) -> None:
    """Commit everything that is there."""
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", message)
