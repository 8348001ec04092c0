"""`hermes-editor sessions`: list, show, search, export and delete conversations."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from hermes_acp import config
from hermes_acp.cli.command import SUCCESS, Subparsers, fail, table
from hermes_acp.cli.conversation import markdown
from hermes_acp.cli.screen import tolerate
from hermes_acp.cli.sessions import delete, diff, export, importing, rewind, search, server
from hermes_acp.cli.sessions.store import NoSession, Store, columns, print_json
from hermes_acp.storage.database import StorageError
from hermes_acp.workspace import identity
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.registry import Registry

LIMIT = 20
"""Sessions that are listed when no other number is asked for."""
NOTHING_YET = "There are no sessions yet."
RUNNING = "a turn runs now"

Action = Callable[[argparse.Namespace, Store, Mapping[str, str]], Awaitable[int]]


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("sessions", help="list, show, search, export and delete conversations")
    parser.set_defaults(cwd=None, limit=LIMIT, json=False)
    actions = parser.add_subparsers(dest="action", metavar=" | ".join(ACTIONS))
    listing = actions.add_parser("list", help="the newest first (the default)")
    listing.add_argument("--cwd", metavar="DIR", help="only those of the project of this folder")
    listing.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"how many (default {LIMIT})")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="the conversation as Markdown, or as JSON its events")
    show.add_argument("session_id", metavar="ID", help="an id, or the beginning of one")
    show.add_argument("--json", action="store_true", help="print JSON")
    search.register(actions)
    export.register(actions)
    importing.register(actions)
    diff.register(actions)
    rewind.register(actions)
    delete.register(actions)


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say. Returns the exit code; failures are printed."""
    # Titles and conversations have characters that the terminal's encoding may lack.
    tolerate(sys.stdout)
    tolerate(sys.stderr)
    try:
        return asyncio.run(_run(args, config.paths(env), env))
    except (StorageError, NoSession) as error:
        return fail(str(error))


async def _run(args: argparse.Namespace, paths: config.Paths, env: Mapping[str, str]) -> int:
    return await ACTIONS[args.action or "list"](args, await Store.open(paths), env)


async def _list(args: argparse.Namespace, store: Store, env: Mapping[str, str]) -> int:
    real_cwd = await asyncio.to_thread(os.path.realpath, args.cwd) if args.cwd else None
    projects: tuple[str, ...] = ()
    if real_cwd is not None:
        place = await find_project(real_cwd)
        projects = await asyncio.to_thread(identity.names, place, Registry(store.paths.projects))
    rows = await store.newest(real_cwd, args.limit, projects)
    running = await server.running(store, rows, env)
    if args.json:
        print_json([{**asdict(row), "running": row.session_id in running} for row in rows])
    elif rows:
        lines = (
            (row.session_id, RUNNING, *columns(row)[2:]) if row.session_id in running else columns(row)
            for row in rows
        )
        print(table([("ID", "LAST USED", "FOLDER", "TITLE"), *lines]))
    else:
        print(NOTHING_YET)
    return SUCCESS


async def _show(args: argparse.Namespace, store: Store, _env: Mapping[str, str]) -> int:
    row = await store.chosen(args.session_id)
    envelopes = await store.events(row)
    if args.json:
        print_json({"session": row, "events": envelopes})
    else:
        print(markdown(row, envelopes), end="")
    return SUCCESS


ACTIONS: dict[str, Action] = {
    "list": _list,
    "show": _show,
    "search": search.run,
    "export": export.run,
    "import": importing.run,
    "diff": diff.run,
    "rewind": rewind.run,
    "delete": delete.run,
}
