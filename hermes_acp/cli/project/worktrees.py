"""`hermes-editor project worktrees`: what sessions did on branches of their own, reviewed and landed."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from hermes_acp.agent import isolation
from hermes_acp.cli.command import SUCCESS, Subparsers, table
from hermes_acp.cli.project.store import Store, print_json, shown
from hermes_acp.cli.screen import safe
from hermes_acp.records import record
from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.workspace import apply, discarded, identity, landing, review
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.worktrees import worktrees
from hermes_acp.workspace.worktrees.worktrees import Place, Worktree

NONE = "There are no worktrees of sessions here: set a session's isolation to `worktree` to make one."
USED = "being recovered by hermes-editor project worktrees"
RECOVER = "project worktrees recover "
"""Brings back what was discarded."""


@record
class _Request:
    place: Place
    folder: str
    name: str
    message: str
    as_json: bool
    claims: Claims


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
    claims = Claims(store.paths.claims)
    request = _Request(place, folder, args.name, args.message, args.json, claims)
    return await ACTIONS[args.what](request)


async def _list(request: _Request) -> int:
    found = [(each, await _holder(request, each)) for each in await worktrees.listed(request.place)]
    gone = await discarded.discarded(request.place)
    if request.as_json:
        print_json(
            {
                "worktrees": [
                    {"name": each.name, "path": each.path, "branch": each.branch, "locked": holder}
                    for each, holder in found
                ],
                "discarded": [{"name": each.name, "branch": each.branch, "at": each.at} for each in gone],
            }
        )
        return SUCCESS
    rows = [(each.name, shown(each.path), _state(each, holder)) for each, holder in found]
    print(table([("NAME", "FOLDER", "IN USE BY"), *rows]) if rows else NONE)
    for each in gone:
        print(f"discarded {_day(each.at)}: {RECOVER}{each.name}")
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
    if (holder := await _holder(request, worktree)) is not None:
        raise worktrees.WorktreeError(
            f"{worktree.name} is in use ({shown(holder) or 'locked'}): say /discard in that session, or "
            "close it first."
        )
    return _tell(isolation.of_discarded(await discarded.discard(request.place, worktree)))


async def _recover(request: _Request) -> int:
    created = await discarded.recover(request.place, request.name, USED)
    await worktrees.unlock(request.place, created.worktree)
    return _tell("\n".join([f"It is back in `{created.worktree.path}`.", *created.notes]))


async def _clean(request: _Request) -> int:
    found = await worktrees.listed(request.place)
    holders = {each.name: await _holder(request, each) for each in found}
    for each in found:
        if each.locked is not None and holders[each.name] is None:
            # Its server died.
            await worktrees.unlock(request.place, each)
    cleaned = await discarded.clean(request.place)
    lines = [f"Removed {name}: it held nothing of its own." for name in cleaned.removed]
    lines += [
        f"Discarded {each.branch}, whose folder is gone: {RECOVER}{each.name}." for each in cleaned.saved
    ]
    lines += [
        f"Kept {name}: {'there is work in it' if holders.get(name) is None else 'it is in use'}."
        for name in cleaned.kept
    ]
    lines += [f"Forgot {each.name}: it was discarded long ago." for each in cleaned.expired]
    return _tell("\n".join(lines) or "There was nothing to clean.")


async def _holder(request: _Request, worktree: Worktree) -> str | None:
    """Why a worktree must be left alone, None when it need not: a lock does not outlive its session."""
    reason = worktree.locked
    session_id = (reason or "").removeprefix(isolation.HOLDER)
    if reason is None or session_id == reason or not session_id.isalnum():
        return reason
    try:
        await asyncio.to_thread(request.claims.claim, session_id)
    except SessionInUse:
        return reason
    await asyncio.to_thread(request.claims.release, session_id)
    return None


def _state(worktree: Worktree, holder: str | None) -> str:
    return "missing" if worktree.missing else "-" if holder is None else shown(holder) or "locked"


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
