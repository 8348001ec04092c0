"""`hermes-editor attach`: takes the arguments, decides how to show the session, and says how it ended."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from hermes_acp import config
from hermes_acp.cli.acp_client import AgentError, AgentGone
from hermes_acp.cli.attach import json_lines, look, plain, terminal
from hermes_acp.cli.attach.opening import Request, Surroundings
from hermes_acp.cli.attach.sessions import Listed, NoSession
from hermes_acp.cli.command import BAD_USAGE, PROGRAM, SUCCESS, Subparsers, fail
from hermes_acp.cli.screen import safe, tolerate

HISTORY = "attach-history.jsonl"
ERRORS_SHOWN = 4_096
"""Bytes of the agent's standard error that are shown at the end."""
GONE = 69
"""The exit code when the server ended (EX_UNAVAILABLE, as of the program that editors start)."""
NO_SERVER = "the server has ended. Start again: conversations are kept."
EPILOG = """\
Ctrl-C stops a running turn, Ctrl-D detaches: the session goes on. /help explains commands and keys.
exit codes: 0 left by the user, 1 error, 2 wrong usage or settings, 69 the server ended;
with --json: of the last prompt, as `run` has them"""


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "attach",
        help="a live session in this terminal",
        description="Watch a session, write to it, answer its questions; beside any editor that has it open.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "session", metavar="SESSION", nargs="?", default="", help="its id or how it begins; default: choose"
    )
    parser.add_argument("--new", action="store_true", help="begin a new session")
    parser.add_argument(
        "--cwd",
        metavar="DIR",
        default=os.curdir,
        help="the folder of a new session, and whose are listed first",
    )
    parser.add_argument("--json", action="store_true", help="JSON lines out, prompts in, for scripts")
    parser.add_argument("--no-color", action="store_true", help="no colours; so does NO_COLOR")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Show the session until the user leaves. Returns the exit code."""
    cwd = os.path.realpath(args.cwd)
    request = Request(args.session, new=args.new, cwd=cwd)
    if problem := _problem(request, as_json=args.json):
        print(f"{PROGRAM} attach: {problem}", file=sys.stderr)
        return BAD_USAGE
    tolerate(sys.stdout)
    with tempfile.TemporaryFile() as errors:
        around = Surroundings(env, config.paths(env).state / HISTORY, errors)
        code = _attach(request, around, args)
        if said := _said(errors):
            print(said, file=sys.stderr)
        elif code == GONE:
            print(f"{PROGRAM} attach: {NO_SERVER}", file=sys.stderr)
    return code


def _attach(request: Request, around: Surroundings, args: argparse.Namespace) -> int:
    try:
        if args.json:
            return asyncio.run(json_lines.attach(request, around))
        shown = look.of(sys.stdout, around.env, colours=not args.no_color)
        return _left(asyncio.run(_shown(request, around, shown)))
    except (NoSession, AgentError) as error:
        return fail(f"{PROGRAM} attach: {error}")
    except AgentGone as gone:
        return gone.code or GONE


def _problem(request: Request, *, as_json: bool) -> str:
    if request.new and request.session:
        return "--new makes a session: leave the id out."
    if not Path(request.cwd).is_dir():
        return f"{safe(request.cwd)} is not a folder: --cwd names an existing one."
    if not (request.new or request.session) and (as_json or not sys.stdin.isatty()):
        return "nobody is here to choose: name a session, or begin one with --new."
    return ""


async def _shown(request: Request, around: Surroundings, shown: look.Look) -> Listed | None:
    if sys.stdin.isatty() and shown.styles:
        return await terminal.attach(request, around, shown)
    columns = shutil.get_terminal_size((plain.COLUMNS, 0)).columns
    return await plain.attach(request, around, shown, columns)


def _left(session: Listed | None) -> int:
    if session is not None and session.session_id and sys.stdout.isatty():
        print(f"\nDetached; the session goes on. Back: {PROGRAM} attach {session.session_id}")
    return SUCCESS


def _said(errors: BinaryIO) -> str:
    """What the agent wrote to standard error, the end of it; it would have spoilt the screen before."""
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - ERRORS_SHOWN))
    return safe(errors.read(ERRORS_SHOWN).decode("utf-8", "replace")).strip()
