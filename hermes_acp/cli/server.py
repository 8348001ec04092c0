"""`hermes-editor server`: run, show, stop and restart the server that all windows share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib import import_module

from hermes_acp import endpoint, folders
from hermes_acp.cli import server_install, server_log
from hermes_acp.cli.command import FAILURE, PROGRAM, SUCCESS, Subparsers, fail
from hermes_acp.cli.server_control import Status, memory, opened, wait_for_end
from hermes_acp.endpoint import NotStarted, Refused, Untrusted
from hermes_acp.folders import Folders
from hermes_acp.server.daemon import DRAIN_SECONDS

NOT_RUNNING = 3
"""The exit code of `status` when no server runs, as service managers have it."""
STOP_SECONDS = 15.0
"""How long a server may take to end when it was told to."""
MEBIBYTE = 1024 * 1024


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("server", help="the server that all windows share")
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    run_parser = actions.add_parser("run", help="run it in the foreground")
    run_parser.add_argument("--ready", type=int, help=argparse.SUPPRESS)
    status = actions.add_parser("status", help="whether it runs, and what it does (exit code 3: it does not)")
    status.add_argument("--json", action="store_true", help="print JSON")
    for name, summary in (("stop", "end it"), ("restart", "end it and start it anew")):
        stop = actions.add_parser(name, help=summary)
        how = stop.add_mutually_exclusive_group()
        how.add_argument("--force", action="store_true", help="cancel the turns that run")
        how.add_argument("--wait", action="store_true", help="let the turns that run end first")
    logs = actions.add_parser("logs", help="what it had to say")
    logs.add_argument("-n", type=int, default=server_log.LINES, metavar="N", help="the last N lines")
    logs.add_argument("-f", action="store_true", help="go on with what it says from now on")
    install = actions.add_parser(
        "install", help="let systemd or launchd run it: write the unit, enable nothing"
    )
    install.add_argument("--print", action="store_true", help="print the unit and change nothing")
    actions.add_parser("uninstall", help="remove the unit again")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do it. Returns the exit code."""
    places = folders.find(env)
    try:
        match args.action:
            case "status":
                return _status(places, as_json=args.json)
            case "stop":
                return _stop(places, force=args.force, wait=args.wait)
            case "restart":
                return _restart(places, env, args)
            case "logs":
                return server_log.show(places.log, args.n, follow=args.f)
            case "install":
                return server_install.install(env, only_print=args.print)
            case "uninstall":
                return server_install.uninstall(env)
            case _:
                code: int = import_module("hermes_acp.app").daemon(args.ready)
                return code
    except (Untrusted, Refused, NotStarted, TimeoutError) as error:
        return fail(f"{PROGRAM}: {error}")
    except ConnectionError:
        return fail(f"{PROGRAM}: the server ended before it answered.")


def _status(places: Folders, *, as_json: bool) -> int:
    with opened(places) as control:
        status = None if control is None else control.status()
    if as_json:
        print(json.dumps(_report(status, places), indent=2))
    elif status is None:
        print(f"No server runs for {places.data}. The next window starts one.")
    else:
        print(_described(status, places), end="")
    return SUCCESS if status is not None else NOT_RUNNING


def _report(status: Status | None, places: Folders) -> dict[str, object]:
    where: dict[str, object] = {"running": status is not None, "data": places.data, "log": places.log}
    if status is None:
        return where
    return where | {"server": status.model_dump(mode="json", by_alias=True) | {"memory": memory(status.pid)}}


def _described(status: Status, places: Folders) -> str:
    resident = memory(status.pid)
    rows = [
        ("server", f"process {status.pid}, version {status.version}"),
        ("since", f"{status.since.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("windows", str(len(status.windows))),
        *(("", f"{window.protocol}, process {window.pid}, in {window.cwd}") for window in status.windows),
        ("sessions", f"{status.sessions} in memory, {status.running} at work"),
        ("longest stall", f"{status.longest_stall * 1000:.0f} ms"),
        ("memory", "unknown" if resident is None else f"{resident / MEBIBYTE:.0f} MiB"),
        ("listens at", status.address),
        ("data", places.data),
        ("log", places.log),
    ]
    return "".join(f"{name:<14} {value}\n" for name, value in rows)


def _stop(places: Folders, *, force: bool, wait: bool) -> int:
    with opened(places) as control:
        if control is None:
            print("No server runs.")
            return SUCCESS
        stopping = control.stop(force=force, wait=wait)
        turns = "1 turn" if stopping.running == 1 else f"{stopping.running} turns"
        if not stopping.stops:
            return fail(
                f"{PROGRAM}: {turns} would be cut off, so the server goes on. "
                "Let them end first (--wait), or cancel them (--force)."
            )
        if stopping.running and wait:
            print(f"Waiting for {turns}; new windows get a new server.", flush=True)
        seconds = STOP_SECONDS + (DRAIN_SECONDS if wait else 0.0)
        if not wait_for_end(control.pid, seconds):
            return fail(f"{PROGRAM}: process {control.pid} has not ended within {seconds:.0f} s; kill it.")
    cancelled = f" It cancelled {turns}." if stopping.running and force else ""
    print(f"The server (process {control.pid}) has ended.{cancelled}")
    return SUCCESS


def _restart(places: Folders, env: Mapping[str, str], args: argparse.Namespace) -> int:
    code = _stop(places, force=args.force, wait=args.wait)
    if code != SUCCESS:
        return code
    try:
        endpoint.start(places, env)
    except OSError as error:
        return fail(f"{PROGRAM}: the server could not be started: {error}.")
    with opened(places) as control:
        if control is None:
            return FAILURE
        print(f"A new server runs (process {control.pid}).")
    return SUCCESS
