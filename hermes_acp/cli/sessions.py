"""`hermes-editor sessions`: list, show and delete conversations."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from hermes_acp import config
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail, table
from hermes_acp.cli.conversation import markdown
from hermes_acp.policy.rules import visible
from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionRow, SessionTable

LIMIT = 20
"""Sessions that are listed when no other number is asked for."""
NOTHING_YET = "There are no sessions yet."


@dataclass(frozen=True, slots=True)
class _Store:
    table: SessionTable
    journal: Journal
    claims: Claims


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments; `cwd` narrows the list, `session_id` names the one to show or delete."""

    action: Literal["list", "show", "delete"]
    session_id: str
    cwd: str | None
    limit: int
    as_json: bool


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("sessions", help="list, show and delete conversations")
    parser.set_defaults(session_id="", cwd=None, limit=LIMIT, json=False)
    actions = parser.add_subparsers(dest="action", metavar="list | show ID | delete ID")
    listing = actions.add_parser("list", help="the newest first (the default)")
    listing.add_argument("--cwd", metavar="DIR", help="only those of this folder")
    listing.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"how many (default {LIMIT})")
    show = actions.add_parser("show", help="the conversation as Markdown, or as JSON its events")
    delete = actions.add_parser("delete", help="forget a conversation for good")
    for action in (show, delete):
        action.add_argument("session_id", metavar="ID")
    for action in (listing, show, delete):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, or 1 with a sentence on standard error."""
    request = _Request(
        action=args.action or "list",
        session_id=args.session_id,
        cwd=os.path.realpath(args.cwd) if args.cwd else None,
        limit=args.limit,
        as_json=args.json,
    )
    try:
        return asyncio.run(_run(request, config.paths(env)))
    except (StorageError, SessionInUse) as error:
        return fail(str(error))


async def _run(request: _Request, paths: config.Paths) -> int:
    async with _open(paths) as store:
        if request.action == "list":
            return await _list(request, store)
        row = await store.table.get(request.session_id) if store else None
        if store is None or row is None:
            shown = visible(request.session_id)
            return fail(f"There is no session {shown!r}: `hermes-editor sessions list` shows them.")
        return await (_show if request.action == "show" else _delete)(request, store, row)


@contextlib.asynccontextmanager
async def _open(paths: config.Paths) -> AsyncGenerator[_Store | None, None]:
    """The stored sessions; None where there never was one, for looking must not create a database."""
    if not await asyncio.to_thread(paths.database.exists):
        yield None
        return
    database = await Database.open(paths.database)
    try:
        yield _Store(SessionTable(database), Journal(database), Claims(paths.claims))
    finally:
        await database.close()


async def _list(request: _Request, store: _Store | None) -> int:
    rows: list[SessionRow] = []
    cursor: str | None = None
    # Ends with the limit or with the last page, whichever comes first.
    while store and len(rows) < request.limit:
        page = await store.table.page(request.cwd, cursor)
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            break
    rows = rows[: max(0, request.limit)]
    if request.as_json:
        return _print_json(rows)
    if rows:
        print(table([("ID", "LAST USED", "FOLDER", "TITLE"), *map(_row, rows)]))
    else:
        print(NOTHING_YET)
    return SUCCESS


async def _show(request: _Request, store: _Store, row: SessionRow) -> int:
    envelopes = await store.journal.read(row.session_id)
    if request.as_json:
        return _print_json({"session": row, "events": envelopes})
    print(markdown(row, envelopes), end="")
    return SUCCESS


async def _delete(request: _Request, store: _Store, row: SessionRow) -> int:
    # Held to the end, so that no editor opens the session meanwhile.
    await asyncio.to_thread(store.claims.claim, row.session_id)
    try:
        deleted = await store.table.delete(row.session_id)
    finally:
        store.claims.release(row.session_id)
    if request.as_json:
        return _print_json({"deleted": row.session_id})
    print(f"Deleted {row.session_id}.")
    return SUCCESS if deleted else FAILURE


def _row(row: SessionRow) -> tuple[str, ...]:
    when = datetime.fromtimestamp(row.updated_at).astimezone().strftime("%Y-%m-%d %H:%M")
    return (row.session_id, when, visible(row.cwd), visible(row.title or "-"))


def _print_json(what: object) -> int:
    sys.stdout.write(orjson.dumps(what, option=orjson.OPT_INDENT_2).decode() + "\n")
    return SUCCESS
