"""`hermes-editor project`: list, show, move, join and forget projects, and back up what is kept of all."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from hermes_acp.cli.command import BAD_USAGE, SUCCESS, Subparsers, fail, table
from hermes_acp.cli.project import forget, trust, worktrees
from hermes_acp.cli.project.store import NOWHERE, NoProject, Store, columns, print_json, shown
from hermes_acp.cli.screen import tolerate
from hermes_acp.policy.trust import Trust
from hermes_acp.storage import backup
from hermes_acp.storage.errors import StorageError
from hermes_acp.workspace import identity
from hermes_acp.workspace.identity import IdentityError
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.registry import Record, members
from hermes_acp.workspace.worktrees.worktrees import WorktreeError

Action = Callable[[argparse.Namespace, Store], Coroutine[None, None, int]]

ID = "an id, the beginning of one, or a name"
NONE_YET = "There are no projects yet: a folder becomes one at the first turn in it."


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "project", help="list, show, trust, move, join, forget and back up projects"
    )
    actions = parser.add_subparsers(
        dest="action",
        metavar="list | show | trust | untrust | worktrees | move | join | forget | backup",
        required=True,
    )
    listing = actions.add_parser("list", help="all projects, the one used last first")
    show = actions.add_parser("show", help="where a project lives and what is kept of it")
    show.add_argument("project", nargs="?", metavar="ID", help=f"{ID}; default: the project of this folder")
    move = actions.add_parser("move", help="say where a project lives now")
    move.add_argument("project", metavar="ID", help=ID)
    move.add_argument("folder", metavar="DIR", help="its new place")
    join = actions.add_parser("join", help="make this folder one more place of a project: a clone, a copy")
    join.add_argument("project", nargs="?", metavar="ID", help=ID)
    join.add_argument("--new", action="store_true", help="make it a project of its own instead")
    copy = actions.add_parser("backup", help="copy the database, also while a server writes it")
    copy.add_argument(
        "--to", metavar="FILE", help=f"the copy; default: a dated file, the newest {backup.KEPT} stay"
    )
    for action in (show, join):
        action.add_argument("--cwd", metavar="DIR", help="the folder (default: this one)")
    work = worktrees.register(actions)
    trusting = trust.register(actions)
    for action in (listing, show, move, join, forget.register(actions), copy, work, *trusting):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, or 1 with a sentence on standard error."""
    # Names and paths have characters that the terminal's encoding may lack.
    tolerate(sys.stdout)
    tolerate(sys.stderr)
    store = Store.of(env)
    try:
        if args.action == "forget":
            return forget.run(args, store)
        return asyncio.run(ACTIONS[args.action](args, store))
    except (StorageError, IdentityError, NoProject, WorktreeError) as error:
        return fail(str(error))


async def _list(args: argparse.Namespace, store: Store) -> int:
    records = await store.records()
    sessions = await store.sessions(records)
    missing = await store.missing(records)
    answers = await store.answers()
    if args.json:
        print_json(
            [
                {**members(record), "sessions": len(sessions[record.id]), "trust": _answers(record, answers)}
                for record in records
            ]
        )
    elif records:
        rows = [columns(record, len(sessions[record.id]), missing, answers) for record in records]
        print(table([("ID", "LAST USED", "SESSIONS", "TRUST", "NAME", "FOLDER"), *rows]))
    else:
        print(NONE_YET)
    return SUCCESS


async def _show(args: argparse.Namespace, store: Store) -> int:
    record = await store.chosen(args.project) if args.project else await store.of_folder(args.cwd)
    records = await store.records()
    sessions = len((await store.sessions(records))[record.id])
    rules = len(await store.rules(record, records))
    others = [other for other in records if other.id != record.id]
    akin = identity.related(record.lineage, record.keys, others)
    answers = await store.answers()
    if args.json:
        counted = {"sessions": sessions, "rules": rules, "related": [other.id for other in akin]}
        print_json(members(record) | counted | {"trust": _answers(record, answers)})
        return SUCCESS
    parent = next((other for other in others if other.id == record.parent), None)
    facts = _facts(record, await store.missing([record]), parent)
    facts += [("trust", _trust(answers[key])) for key in record.keys if key in answers]
    facts += [("sessions", str(sessions)), ("rules", str(rules))]
    print(table([*facts, ("kept in", shown(str(store.registry.folder_of(record.id))))]))
    for other in akin:
        print(f"The project {shown(other.name)} ({other.id}) is of the same repository.")
    return SUCCESS


def _facts(record: Record, missing: frozenset[str], parent: Record | None) -> list[tuple[str, str]]:
    rows = [("id", record.id), ("name", shown(record.name))]
    rows += [(NOWHERE if key in missing else "lives in", shown(key)) for key in record.keys]
    rows += [("lived in", shown(key)) for key in record.former]
    rows += [("used in", shown(path)) for path in record.paths]
    if record.lineage.remote:
        rows.append(("remote", shown(record.lineage.remote)))
    rows += [("begins with", root) for root in record.lineage.roots]
    if parent is not None:
        rows.append(("part of", f"{shown(parent.name)} ({parent.id})"))
    return rows


def _answers(record: Record, answers: Mapping[str, Trust]) -> list[dict[str, object]]:
    return [trust.members(answers[key]) for key in record.keys if key in answers]


def _trust(answer: Trust) -> str:
    """What the user said about a place, and what they were shown."""
    if answer.answer == "never":
        return "never, and nobody is asked"
    names = ", ".join(sorted({shown(feature.name) for feature in answer.features}))
    return f"the agent follows {names}" if names else "trusted, with nothing to follow"


async def _move(args: argparse.Namespace, store: Store) -> int:
    record = await store.chosen(args.project)
    place = await find_project(await store.folder(args.folder))
    moved = await identity.move(record.id, place, store.registry, store.env)
    return _tell(args, moved, f"{shown(moved.name)} lives in {shown(place.root)} now.")


async def _join(args: argparse.Namespace, store: Store) -> int:
    if bool(args.project) == args.new:
        print("Say which project, or --new, but not both.", file=sys.stderr)
        return BAD_USAGE
    place = await find_project(await store.folder(args.cwd))
    before = [record.id for record in await store.records() if place.key in record.keys]
    if args.new:
        joined = await identity.separate(place, store.registry, store.env)
        said = f"{shown(place.root)} is a project of its own now: {joined.id}."
    else:
        wanted = await store.chosen(args.project)
        joined = await identity.join(wanted.id, place, store.registry, store.env)
        said = f"{shown(place.root)} belongs to {shown(joined.name)} now; `join --new` takes that back."
    left = [record for record in await store.records() if record.id in before and record.id != joined.id]
    said += "".join(f"\nWhat was kept of it until now stays in the project {record.id}." for record in left)
    return _tell(args, joined, said)


def _tell(args: argparse.Namespace, record: Record, said: str) -> int:
    if args.json:
        print_json(members(record))
    else:
        print(said)
    return SUCCESS


async def _backup(args: argparse.Namespace, store: Store) -> int:
    target = await asyncio.to_thread(Path(args.to).absolute) if args.to else None
    made = await backup.make(store.paths.database, target)
    if args.json:
        print_json({"backup": str(made)})
    else:
        print(f"The backup is {made}.")
    return SUCCESS


ACTIONS: dict[str, Action] = {
    "worktrees": worktrees.run,
    "trust": trust.run,
    "untrust": trust.run,
    "list": _list,
    "show": _show,
    "move": _move,
    "join": _join,
    "backup": _backup,
}
