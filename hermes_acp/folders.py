"""Where our files are, as plain paths: standard library only, because the shim asks too."""

# pathlib takes longer to import than all of the shim: os.path serves here.

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

PREFIX = "HERMES_EDITOR_"
APP = "hermes-editor"


class Folders:
    """Our four folders, absolute; none of them is created here."""

    __slots__ = ("config", "data", "runtime", "state", "tcp")

    def __init__(self, config: str, data: str, state: str, runtime: str) -> None:
        self.config = config
        self.data = data
        self.state = state
        self.runtime = runtime
        self.tcp = False
        """Whether the shared server is reached over TCP instead of a Unix socket."""

    @property
    def log(self) -> str:
        """What the shared server had to say."""
        return os.path.join(self.state, "server.log")


def find(env: Mapping[str, str]) -> Folders:
    """Below `HERMES_EDITOR_HOME` when it is set, else the XDG folders."""
    found = _find(env)
    found.tcp = sys.platform == "win32" or env.get(f"{PREFIX}TRANSPORT") == "tcp"
    return found


def _find(env: Mapping[str, str]) -> Folders:
    if home := env.get(f"{PREFIX}HOME"):
        root = os.path.abspath(os.path.expanduser(home))
        return Folders(*(os.path.join(root, name) for name in ("config", "data", "state", "runtime")))
    user = env.get("HOME") or os.path.expanduser("~")
    state = _xdg(env, "XDG_STATE_HOME", os.path.join(user, ".local", "state"))
    return Folders(
        config=_xdg(env, "XDG_CONFIG_HOME", os.path.join(user, ".config")),
        data=_xdg(env, "XDG_DATA_HOME", os.path.join(user, ".local", "share")),
        state=state,
        runtime=_xdg(env, "XDG_RUNTIME_DIR", os.path.dirname(state)),
    )


def _xdg(env: Mapping[str, str], name: str, default: str) -> str:
    value = env.get(name, "")
    return os.path.join(value if value.startswith("/") else default, APP)
