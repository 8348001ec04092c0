"""Starts the shared server in the background, as nobody's child: imported only when none runs."""

from __future__ import annotations

import os
import select
import sys

from hermes_acp.folders import PREFIX, Folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

LOG_BYTES = 5 * 1024 * 1024
"""A longer log is put aside when a server starts; one older log is kept."""
LAST_WORDS = 300
"""Characters of the log's last line that are repeated when a server could not start."""
DESCRIPTORS = 65_536
"""Descriptors that an editor may have left open for us."""
KEPT = frozenset(
    {
        *("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP"),
        *("SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "DBUS_SESSION_BUS_ADDRESS"),
    }
)
KEPT_PREFIXES = (PREFIX, "XDG_", "LC_", "PYTHON", "LD_", "DYLD_")
"""The variables that a server is given. Each window brings the rest itself, keys above all: what the
first window happened to have must not reach the others."""


def start(folders: Folders, env: Mapping[str, str], seconds: float) -> str | None:
    """Start a server and wait until it listens (not on Windows): None, or its last words if it fails.

    Raises `OSError`.
    """
    log = _open_log(folders)
    try:
        written = os.fstat(log).st_size
        if _launch(log, server_environment(env), seconds):
            return None
    finally:
        os.close(log)
    return _last_words(folders.log, written)


def server_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What a server may know of the window that starts it."""
    return {
        name: value for name, value in env.items() if name in KEPT or name.upper().startswith(KEPT_PREFIXES)
    }


def command(ready: int | None) -> list[str]:
    """The server's command line; it writes a byte to the descriptor `ready` when it listens.

    `-P`: a module in the editor's working directory is not ours, whatever its name.
    """
    words = [] if ready is None else ["--ready", str(ready)]
    return [sys.executable, "-P", "-m", "hermes_acp", "server", "run", *words]


def _open_log(folders: Folders) -> int:
    os.makedirs(folders.state, mode=0o700, exist_ok=True)
    try:
        if os.stat(folders.log).st_size > LOG_BYTES:
            os.replace(folders.log, f"{folders.log}.1")
    except FileNotFoundError:
        pass
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    if sys.platform != "win32":
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(folders.log, flags, 0o600)


def _last_words(log: str, written: int) -> str:
    """The last line that was added to the log."""
    with open(log, "rb") as file:
        file.seek(max(written, os.fstat(file.fileno()).st_size - LAST_WORDS))
        lines = file.read(LAST_WORDS).decode("utf-8", "replace").splitlines()
    return lines[-1] if lines else ""


if sys.platform == "win32":
    import subprocess

    def _launch(log: int, env: dict[str, str], _seconds: float) -> bool:
        """A process without a console; whoever starts it looks by himself whether it listens."""
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        null = subprocess.DEVNULL
        subprocess.Popen(command(None), env=env, stdin=null, stdout=log, stderr=log, creationflags=flags)
        return True

else:

    def _launch(log: int, env: dict[str, str], seconds: float) -> bool:
        """Fork twice and leave the session: what ends the editor's processes does not end the server."""
        ready, told = os.pipe()
        try:
            child = os.fork()
            if child == 0:
                _become_server(log, told, env)
        finally:
            os.close(told)
        try:
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                # The editor ignores the end of children, and we inherited that.
                pass
            waiting, _, _ = select.select([ready], [], [], seconds)
            return bool(waiting and os.read(ready, 1))
        finally:
            os.close(ready)

    def _become_server(log: int, told: int, env: dict[str, str]) -> NoReturn:
        """In the forked child: let the parent go on, keep nothing of the editor, become the server."""
        try:
            os.setsid()
            if os.fork() == 0:
                null = os.open(os.devnull, os.O_RDONLY)
                for source, target in ((null, 0), (log, 1), (log, 2)):
                    os.dup2(source, target)
                os.set_inheritable(told, True)
                os.closerange(3, told)
                os.closerange(told + 1, DESCRIPTORS)
                os.execve(sys.executable, command(told), env)
        finally:
            os._exit(0)
