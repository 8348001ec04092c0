"""Writes the systemd user unit or the launchd agent that runs the shared server; enables nothing."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hermes_acp import config
from hermes_acp.cli import setup
from hermes_acp.cli.command import PROGRAM, SUCCESS, fail
from hermes_acp.cli.whole_file import replace_file
from hermes_acp.records import record

Service = Literal["systemd", "launchd"]

LABEL = "hermes-editor"
MARK = f"Written by `{PROGRAM} server install`"
"""How we know a file as ours."""
NOTE = f"{MARK}, which replaces what is changed here."
MODE = 0o644
KEPT = ("PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", f"{config.PREFIX}HOME")
"""Variables that the server needs to find its folders and programs, as they are at the installation."""
FOREVER = {f"{config.PREFIX}SERVER_IDLE": "inf"}
"""A server that is run by the system does not go when nobody needs it."""
CANNOT_LISTEN = 1
"""The exit code of a server that finds another one: starting it again would not help."""


@record
class Unit:
    """What is to be written where, and what the user does then."""

    file: Path
    text: str
    next_step: str
    enabled: Path | None
    """A file that is there while the unit is in use, where that can be told."""
    turn_off: str


def install(env: Mapping[str, str], *, only_print: bool) -> int:
    """Write the unit, or print it. Returns the exit code."""
    unit = unit_of(_service(), env)
    if only_print:
        print(unit.text, end="")
        return SUCCESS
    try:
        before = _read(unit.file)
        if before is not None and MARK not in before:
            return fail(f"{unit.file} is not from {PROGRAM}: move it away, or merge it with --print by hand.")
        # The service cannot start when the folder of its log is missing.
        config.paths(env).state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if before != unit.text:
            replace_file(unit.file, unit.text, MODE)
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"{unit.file} cannot be written: {error}.")
    print(f"{unit.file} {'is up to date' if before == unit.text else 'is written'}. Next:\n{unit.next_step}")
    return SUCCESS


def uninstall(env: Mapping[str, str]) -> int:
    """Remove our unit. Returns the exit code."""
    unit = unit_of(_service(), env)
    try:
        before = _read(unit.file)
        if before is None:
            print(f"{unit.file} is not there.")
            return SUCCESS
        if MARK not in before:
            return fail(f"{unit.file} is not from {PROGRAM}: it was left alone.")
        if unit.enabled is not None and unit.enabled.is_symlink():
            return fail(f"{unit.file} is in use. First: {unit.turn_off}")
        unit.file.unlink()
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"{unit.file} cannot be removed: {error}.")
    print(f"{unit.file} is removed. A server that runs goes on until `{PROGRAM} server stop`.")
    return SUCCESS


def unit_of(service: Service, env: Mapping[str, str]) -> Unit:
    """What this service wants to have written, for this installation and this user."""
    home = Path(env.get("HOME") or Path.home())
    start = setup.start_command(env)
    command = (start.command, *(word for word in start.args if word != "acp"), "server", "run")
    variables = {name: env[name] for name in KEPT if env.get(name)} | FOREVER
    log = str(config.paths(env).state / "server.log")
    if service == "launchd":
        file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        if runtime := env.get("XDG_RUNTIME_DIR"):
            # systemd sets it for its units, launchd knows nothing of it.
            variables["XDG_RUNTIME_DIR"] = runtime
        turn_off = f"launchctl bootout gui/$(id -u)/{LABEL}"
        text = launchd(command, variables, log)
        return Unit(file, text, f"launchctl bootstrap gui/$(id -u) {_shell(file)}", None, turn_off)
    xdg = env.get("XDG_CONFIG_HOME", "")
    folder = (Path(xdg) if xdg.startswith("/") else home / ".config") / "systemd" / "user"
    return Unit(
        file=folder / f"{LABEL}.service",
        text=systemd(command, variables, log),
        next_step=f"systemctl --user daemon-reload && systemctl --user enable --now {LABEL}",
        enabled=folder / "default.target.wants" / f"{LABEL}.service",
        turn_off=f"systemctl --user disable --now {LABEL}",
    )


def _service() -> Service:
    return "launchd" if config.is_macos() else "systemd"


def systemd(command: tuple[str, ...], variables: Mapping[str, str], log: str) -> str:
    """The text of a user unit."""
    settings = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items())
    # In a command, unlike in a variable, a dollar sign would name a variable.
    words = " ".join(_quoted(word).replace("$", "$$") for word in command)
    return f"""# {NOTE}
# `systemctl --user edit {LABEL}` keeps changes of yours beside it.
[Unit]
Description=The hermes-editor server, which all editor windows share

[Service]
ExecStart={words}
{settings}StandardOutput=append:{log.replace("%", "%%")}
StandardError=inherit
Restart=on-failure
RestartPreventExitStatus={CANNOT_LISTEN}

[Install]
WantedBy=default.target
"""


def launchd(command: tuple[str, ...], variables: Mapping[str, str], log: str) -> str:
    """The text of a property list."""
    entries = {
        "Label": LABEL,
        "ProgramArguments": list(command),
        "EnvironmentVariables": dict(variables),
        "RunAtLoad": True,
        # Not when it found another server, which would be so the next time, too.
        "KeepAlive": {"Crashed": True},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    head, body = plistlib.dumps(entries, sort_keys=False).decode().split("<plist", 1)
    return f"{head}<!-- {NOTE} -->\n<plist{body}"


def _quoted(word: str) -> str:
    """A word for systemd, which knows C's escapes and expands what begins with a percent sign."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped}"'


def _shell(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None
