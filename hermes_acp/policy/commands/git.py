"""Repositories whose configuration makes git run programs, even when it only shows something."""

from __future__ import annotations

import re
from pathlib import Path

from hermes_acp.policy.paths import inside

CONFIG_BYTES = 64 * 1024
"""A larger configuration is not looked into, and asked for."""

LEVELS = 64
"""Folders that are looked at, upwards, to find the repository."""

_RUNS = re.compile(
    r"""^[ \t]*(?:\[[^\n\]]*\][ \t]*)?
        (?:(?:fsmonitor(?!\s*=\s*(?:true|false)\s*$)) | textconv | external | sshcommand | clean | smudge
         | process | program | command | difffilter | driver | askpass | gitproxy | packobjectshook
         | alternaterefscommand | pager | uploadpack | vcs)[ \t]*=(?![ \t]*git[ -]lfs[ \t])
      | ^[ \t]*\[[ \t]*(?:include|includeif|pager|alias)\b""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)


def trap(cwd: str, roots: tuple[str, ...]) -> str:
    """Why git should not run in this folder without a question; empty when nothing was found."""
    for at in (Path(cwd), *Path(cwd).parents)[:LEVELS]:
        if not inside(str(at), roots):
            return ""
        marker = at / ".git"
        if marker.is_dir():
            return _config(marker / "config") or _config(marker / "config.worktree")
        if marker.is_file():
            return _linked(at, marker)
        if (at / "HEAD").exists() and (at / "objects").exists() and (at / "refs").exists():
            return "the folder may be a repository with a configuration of its own"
    return ""


def _linked(at: Path, marker: Path) -> str:
    """A worktree or submodule, whose data lie elsewhere."""
    text = _text(marker)
    if text is None or not text.startswith("gitdir:"):
        return "the repository cannot be found"
    data = at / text.removeprefix("gitdir:").strip()
    common = _text(data / "commondir")
    shared = data if common is None else data / common.strip()
    return _config(shared / "config") or _config(data / "config.worktree")


def _config(path: Path) -> str:
    if not path.exists():
        return ""
    text = _text(path)
    if text is None or _RUNS.search(text):
        return "the configuration of the repository may run programs"
    return ""


def _text(path: Path) -> str | None:
    """The contents, None for what is missing, too large or no text."""
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES + 1)
    except OSError:
        return None
    return None if len(data) > CONFIG_BYTES else data.decode("utf-8", "replace")
