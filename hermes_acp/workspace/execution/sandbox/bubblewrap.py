"""The sandbox of bubblewrap: namespaces and mounts, as its command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISDIR

from hermes_acp.records import record
from hermes_acp.workspace.execution.sandbox.bounds import Bounds

PROGRAMS = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap", "/run/current-system/sw/bin/bwrap")
"""Where it may be: a `PATH` could name a folder of the workspace."""

VARIANTS = (("--unshare-user", "--disable-userns"), ("--unshare-user",), ())
"""What can be had of user namespaces, the best first; root and setuid programs can do without."""

REPORT = "/dev/hermes-editor-report"
"""Where the shell in the sandbox finds the pipe for its report."""

LAUNCHER = "/dev/hermes-editor-launcher"
"""Where the launcher is found there, which may be installed in a folder that is hidden."""

KEPT_OF_RUN = (
    *("/run/current-system", "/run/booted-system", "/run/opengl-driver", "/run/wrappers"),
    *("/run/systemd/resolve/resolv.conf", "/run/systemd/resolve/stub-resolv.conf", "/run/resolvconf"),
)
"""What of /run is no socket and nobody's secret, and is needed."""

OWN_TEMPORARY = ("/tmp", "/var/tmp")


@record
class Places:
    """Paths of ours: for temporary files, of a file that cannot be read, of the launcher and the report."""

    temporary: str
    nothing: str
    launcher: str
    report: str = ""


@record
class Bubblewrap:
    """A bubblewrap that works here with these options."""

    program: str
    variant: tuple[str, ...]

    def words(self, bounds: Bounds, places: Places, cwd: str, info: int | None = None) -> list[str]:
        """The command line up to the command."""
        words = [self.program, *self.variant, "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        words += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
        words += [] if bounds.network else ["--unshare-net"]
        words += [] if info is None else ["--info-fd", str(info)]
        # Root may write settings of the kernel there without any capability.
        words += ["--ro-bind", "/", "/", "--proc", "/proc", "--remount-ro", "/proc"]
        words += mounts(bounds, places)
        return [*words, "--ro-bind", places.launcher, LAUNCHER, "--chdir", cwd, "--"]


def mounts(bounds: Bounds, places: Places) -> list[str]:
    """What is mounted over a disk that is read-only otherwise; the launcher understands it as well."""
    words = ["--dev", "/dev", *_run()]
    for folder in OWN_TEMPORARY:
        if Path(folder).is_dir() and not Path(folder).is_symlink():
            words += ["--bind", places.temporary, folder]
    closed: list[str] = []
    for path, access in bounds.access:
        if access == "hidden":
            words += _hidden(path, places.nothing, closed)
        else:
            words += ["--bind" if access == "writable" else "--ro-bind", path, path]
    for path in closed:
        words += ["--remount-ro", path]
    if places.report:
        words += ["--bind", places.report, REPORT]
    return words


def writable(bounds: Bounds) -> tuple[str, ...]:
    """All that can be changed in the sandbox."""
    return (*OWN_TEMPORARY, "/dev", *bounds.paths("writable"))


def find(paths: Sequence[str] = PROGRAMS) -> str | None:
    """The program, where it is installed."""
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _run() -> list[str]:
    """An empty /run, with what is harmless in it."""
    if not Path("/run").is_dir():
        return []
    words = ["--tmpfs", "/run"]
    for path in KEPT_OF_RUN:
        if Path(path).exists():
            words += ["--ro-bind", os.path.realpath(path), path]
    return words


def _hidden(path: str, nothing: str, closed: list[str]) -> list[str]:
    try:
        is_folder = S_ISDIR(Path(path).lstat().st_mode)
    except OSError:
        return []
    if not is_folder:
        return ["--ro-bind", nothing, path]
    closed.append(path)
    return ["--tmpfs", path]
