"""`hermes-editor project worktrees`: what sessions did on branches of their own, reviewed and landed."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hermes_acp.agent import isolation
from hermes_acp.cli.command import SUCCESS, Subparsers, table
from hermes_acp.cli.project_store import Store, print_json, shown
from hermes_acp.cli.screen import safe
from hermes_acp.workspace import apply, discarded, identity, landing, review, worktrees
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.worktrees import Place

NONE = "There are no worktrees of sessions here: set a session's isolation to `worktree` to make one."
USED = "recovered by hermes-editor project worktrees"


@dataclass(frozen=True, slots=True)
class _Request:
    place: Place
    folder: str
    name: str
    message: str
    as_json: bool


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the arguments."""
    parser = subparsers.add_parser("worktrees", help="the branches on which sessions worked apart")
    parser.add_argument(
        "what", nargs="?", choices=tuple(ACTIONS), default="list", metavar="ACTION", help=WHAT
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="which worktree")
    parser.add_argument("-m", "--message", default="", help="the message of a merge")
    parser.add_argument("--cwd", metavar="DIR", help="the folder (default: this one)")
    return parser


async def run(args: argparse.Namespace, store: Store) -> int:
    """Do it. Raises `WorktreeError`, `NoProject` and `StorageError`, whose text is for the user."""
    folder = await asyncio.to_thread(os.path.realpath, await store.folder(args.cwd))
    found = await find_project(folder)
    known = await identity.identify(found, store.registry, store.env)
    place = Place(found.root, str(store.registry.folder_of(known.record.id)), store.env)
    if args.what in NAMED and not args.name:
        raise worktrees.WorktreeError(f"Say which worktree: `project worktrees {args.what} NAME`.")
    request = _Request(place, folder, args.name, args.message, args.json)
    return await ACTIONS[args.what](request)


async def _list(request: _Request) -> int:
    found = await worktrees.listed(request.place)
    gone = await discarded.discarded(request.place)
    if request.as_json:
        print_json(
            {
                "worktrees": [
                    {"name": each.name, "path": each.path, "branch": each.branch, "locked": each.locked}
                    for each in found
                ],
                "discarded": [{"name": each.name, "branch": each.branch, "at": each.at} for each in gone],
            }
        )
        return SUCCESS
    rows = [(each.name, shown(each.path), "missing" if each.missing else each.locked or "") for each in found]
    print(table([("NAME", "FOLDER", "IN USE BY"), *rows]) if rows else NONE)
    for each in gone:
        print(f"discarded {_day(each.at)}: {each.name} (`project worktrees recover {each.name}`)")
    return SUCCESS


async def _diff(request: _Request) -> int:
    worktree = await worktrees.find(request.place, request.name)
    return _tell(isolation.of_changes(worktree, await review.changes(request.place, worktree)))


async def _apply(request: _Request) -> int:
    worktree = await worktrees.find(request.place, request.name)
    applied = await apply.apply(request.place, worktree, request.folder)
    return _tell(isolation.of_applied(applied), failed=bool(applied.conflicts))


async def _merge(request: _Request) -> int:
    worktree = await worktrees.find(request.place, request.name)
    message = request.message or f"Merge {worktree.branch}"
    landed = await landing.merge(request.place, worktree, request.folder, message)
    return _tell(isolation.of_landed(landed), failed=bool(landed.conflicts))


async def _discard(request: _Request) -> int:
    worktree = await worktrees.find(request.place, request.name)
    return _tell(isolation.of_discarded(await discarded.discard(request.place, worktree)))


async def _recover(request: _Request) -> int:
    created = await discarded.recover(request.place, request.name, USED)
    return _tell("\n".join([f"It is back in `{created.worktree.path}`.", *created.notes]))


async def _clean(request: _Request) -> int:
    cleaned = await discarded.clean(request.place)
    lines = [f"Removed {name}: it held nothing of its own." for name in cleaned.removed]
    lines += [f"Kept {name}." for name in cleaned.kept]
    lines += [f"Forgot {each.name}: it was discarded long ago." for each in cleaned.expired]
    return _tell("\n".join(lines) or "There was nothing to clean.")


def _tell(said: str, *, failed: bool = False) -> int:
    print(safe(said))
    return 1 if failed else SUCCESS


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d")


ACTIONS: Mapping[str, Callable[[_Request], Awaitable[int]]] = {
    "list": _list,
    "diff": _diff,
    "apply": _apply,
    "merge": _merge,
    "discard": _discard,
    "recover": _recover,
    "clean": _clean,
}
NAMED = ("diff", "apply", "merge", "discard", "recover")
WHAT = "list | diff | apply | merge | discard | recover | clean (default: list)"
