"""`hermes-editor project forget`: deletes everything that is kept of a project, but not its files."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.project.store import Store, print_json, shown
from hermes_acp.policy.rules.rules import Rule
from hermes_acp.records import record
from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.storage.database import Database
from hermes_acp.storage.facts import FactTables
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.storage.trust import TrustFile
from hermes_acp.workspace import identity
from hermes_acp.workspace.registry import Record


@record
class _Kept:
    """What would be deleted with a project."""

    record: Record
    sessions: list[SessionRow]
    rules: list[Rule]
    worktrees: list[str]


def register(actions: Subparsers) -> argparse.ArgumentParser:
    """Add the action's arguments."""
    parser = actions.add_parser("forget", help="delete everything that is kept of a project, not its files")
    parser.add_argument("project", nargs="?", metavar="ID", help="default: the project of this folder")
    parser.add_argument("--cwd", metavar="DIR", help="the folder (default: this one)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--force", action="store_true", help="also the worktrees of the agent, with what is not merged"
    )
    return parser


def run(args: argparse.Namespace, store: Store) -> int:
    """Delete all or nothing. Raises `StorageError` and `NoProject`."""
    kept = asyncio.run(_look(args, store))
    name = shown(kept.record.name)
    if kept.worktrees and not args.force:
        return fail(
            f"{name} has worktrees of the agent, whose work may not be merged: {', '.join(kept.worktrees)}. "
            "Apply or discard them, or add --force to delete them, too."
        )
    if not args.yes and not _agreed(kept):
        return fail(f"{name} was not forgotten: answer y, or add --yes.")
    claims = Claims(store.paths.claims)
    try:
        with _claimed(claims, kept.sessions):
            left = asyncio.run(_forget(kept, store))
    except SessionInUse as error:
        return fail(f"{name} was not forgotten, because a session of it is open. {error}")
    if args.json:
        counted = {"sessions": len(kept.sessions), "rules": len(kept.rules)}
        print_json({"forgotten": kept.record.id, **counted, "still_marked": left})
    else:
        print(f"Forgot {name} ({_counted(kept)}).")
    for place in left:
        print(f"{shown(place)} could not be changed and still names the project.", file=sys.stderr)
    return FAILURE if left else SUCCESS


async def _look(args: argparse.Namespace, store: Store) -> _Kept:
    record = await store.chosen(args.project) if args.project else await store.of_folder(args.cwd)
    records = await store.records()
    sessions = (await store.sessions(records))[record.id]
    rules = await store.rules(record, records)
    return _Kept(record, sessions, rules, await asyncio.to_thread(_worktrees, store, record))


def _worktrees(store: Store, record: Record) -> list[str]:
    folder = store.registry.folder_of(record.id) / "worktrees"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(shown(entry.name) for entry in found if not entry.name.startswith("."))


def _agreed(kept: _Kept) -> bool:
    """Ask a person; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    print(
        f"Forget {shown(kept.record.name)} ({kept.record.id})? All that is kept of it ({_counted(kept)}) "
        "is deleted for good. The project's own files stay. [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _counted(kept: _Kept) -> str:
    return f"sessions: {len(kept.sessions)}, rules: {len(kept.rules)}"


@contextmanager
def _claimed(claims: Claims, sessions: Sequence[SessionRow]) -> Generator[None, None, None]:
    """Keep everybody from opening the sessions. Raises `SessionInUse` when one is open."""
    held: list[str] = []
    try:
        for row in sessions:
            claims.claim(row.session_id)
            held.append(row.session_id)
        yield
    finally:
        for session_id in held:
            claims.release(session_id)


async def _forget(kept: _Kept, store: Store) -> tuple[str, ...]:
    """The record goes last: after a crash the project is still there, to be forgotten again."""
    if await asyncio.to_thread(store.paths.database.exists):
        database = await Database.open(store.paths.database)
        try:
            for row in kept.sessions:
                await SessionTable(database).delete(row.session_id)
            for rule in kept.rules:
                await Rules(database).revoke(rule.rule_id)
            # The history of its memory lies in the folder, and goes with it.
            await FactTables(database).remove(kept.record.id)
        finally:
            await database.close()
    await asyncio.to_thread(TrustFile(store.paths.data).forget, kept.record.keys)
    return await identity.forget(kept.record.id, store.registry, store.env)
