"""`memory log` and `diff`: the changes of what is known, from its git history."""

from __future__ import annotations

import argparse
import difflib
import re

from hermes_acp.cli.command import SUCCESS, Subparsers, fail
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.memory.listing import ID, count
from hermes_acp.cli.screen import safe
from hermes_acp.cli.sessions.store import print_json
from hermes_acp.memory.facts import telling
from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.fact import format_file, name_of
from hermes_acp.storage.fact_commits import LogEntry

LIMIT = 20
NOTHING = "Nothing has changed yet."
FORGOTTEN = "(what it changed was forgotten)"
SESSION = re.compile(r"^Hermes-Session: (\S+)$", re.MULTILINE)


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of these actions."""
    log = actions.add_parser("log", help="the last changes, the newest first")
    log.add_argument("fact", nargs="?", metavar="ID", help=f"only those of a fact: {ID}")
    log.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"how many (default {LIMIT})")
    diff = actions.add_parser("diff", help="what a change did, as a diff")
    diff.add_argument("change", nargs="?", metavar="CHANGE", help="its id, from `log`; default: the last one")
    return log, diff


async def log(args: argparse.Namespace, desk: Desk) -> int:
    """Print the last changes."""
    entries = await _entries(desk, args.limit, args.fact)
    if args.json:
        print_json([_member(entry) for entry in entries])
        return SUCCESS
    for entry in entries:
        edits = await _edits(desk, entry.change_id)
        print(f"{entry.change_id}  {telling.when(entry.at)}{_of(entry)}")
        lines = [line for edit in edits for line in telling.edit(edit).splitlines()] or [FORGOTTEN]
        print(safe("\n".join(f"  {line}" for line in lines)))
    if not entries:
        print(NOTHING)
    return SUCCESS


async def diff(args: argparse.Namespace, desk: Desk) -> int:
    """Print what a change did."""
    change_id = (args.change or "").strip().upper()
    if not change_id and (entries := await _entries(desk, 1, None)):
        change_id = entries[0].change_id
    if not change_id:
        return fail(NOTHING)
    edits = await _edits(desk, change_id)
    if not edits:
        return fail("There is no such change here: `hermes-editor memory log` lists the changes.")
    if args.json:
        print_json(
            {
                "change": change_id,
                "edits": [
                    {
                        "before": telling.member(edit.before) if edit.before else None,
                        "after": telling.member(edit.after),
                    }
                    for edit in edits
                ],
            }
        )
    else:
        print(safe("".join(map(_unified, edits))), end="")
    return SUCCESS


async def _entries(desk: Desk, limit: int, typed: str | None) -> list[LogEntry]:
    fact_id = (await desk.chosen(typed)).id if typed else ""
    found = [entry for store in desk.stores for entry in await desk.facts.log(store, limit, fact_id)]
    # A change of the project and the user's at once is one change.
    by_id = {entry.change_id: entry for entry in found}
    return sorted(by_id.values(), key=lambda entry: (entry.at, entry.change_id), reverse=True)[:limit]


async def _edits(desk: Desk, change_id: str) -> list[Edit]:
    return [edit for store in desk.stores for edit in await desk.facts.changed(store, change_id)]


def _unified(edit: Edit) -> str:
    before = format_file(edit.before).splitlines(keepends=True) if edit.before else []
    after = format_file(edit.after).splitlines(keepends=True)
    name = name_of(edit.after.id)
    return "".join(difflib.unified_diff(before, after, f"a/{name}" if before else "/dev/null", f"b/{name}"))


def _of(entry: LogEntry) -> str:
    found = SESSION.search(entry.message)
    return f"  session {found[1]}" if found else ""


def _member(entry: LogEntry) -> dict[str, object]:
    found = SESSION.search(entry.message)
    return {
        "change": entry.change_id,
        "at": entry.at,
        "session": found[1] if found else "",
        "message": entry.message,
        "commits": list(entry.commits),
    }
