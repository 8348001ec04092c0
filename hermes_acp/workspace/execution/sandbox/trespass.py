"""Takes away protected files that a command in the sandbox made: no mount forbids new names. Blocks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hermes_acp.workspace.execution.sandbox.no_links import opened

NAMED = 5
"""Paths that a sentence names; more are counted."""


def take_away(roots: Iterable[str], paths: Iterable[str], kept: Path) -> str:
    """Move what is at `paths` into the folder `kept`; gives what to say about it."""
    roots = tuple(roots)
    moved = [path for path in sorted(paths) if _moved(path, roots, kept)]
    if not moved:
        return ""
    return (
        f"the command made {_listed(moved)}, which is protected and needs permission: moved to {kept}. "
        "Where it is wanted, make it with a tool or command that asks"
    )


def tell(paths: Iterable[str]) -> str:
    """What to say about paths that stay, because others may have made them while a background command ran."""
    made = sorted(paths)
    return f"while the command ran, {_listed(made)} was made, which is protected: look at it" if made else ""


def remove(paths: Iterable[str]) -> str:
    """Remove files that nobody has a use for; gives what to say about it."""
    removed: list[str] = []
    for path in paths:
        try:
            Path(path).unlink()
            removed.append(path)
        except OSError:
            continue
    return f"{_listed(removed)} was removed: it would turn git to another configuration" if removed else ""


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more


def _moved(path: str, roots: tuple[str, ...], kept: Path) -> bool:
    root = next((root for root in roots if path.startswith(f"{root}/")), None)
    if root is None:
        return False
    *folders, name = path[len(root) + 1 :].split("/")
    try:
        parent = opened(root, folders)
    except OSError:
        return False
    target = kept / "/".join((*folders, name))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _move(parent, name, target)
    except OSError:
        return False
    finally:
        os.close(parent)
    return True


def _move(parent: int, name: str, target: Path) -> None:
    try:
        os.rename(name, target, src_dir_fd=parent)
    except OSError:
        # The folder for such things is on another disk.
        source = Path(f"/proc/self/fd/{parent}/{name}")
        if source.is_symlink() or not source.is_dir():
            shutil.copy2(source, target, follow_symlinks=False)
            os.unlink(name, dir_fd=parent)
        else:
            shutil.copytree(source, target, symlinks=True)
            shutil.rmtree(name, dir_fd=parent)
