"""`memory edit`, `confirm`, `retract`, `revert` and `forget`: the owner changes what is known."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hermes_acp.agent.memory.commands import forgotten
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.memory.listing import ID, page
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.cli.sessions import delete
from hermes_acp.cli.sessions.store import Store, print_json
from hermes_acp.memory import views
from hermes_acp.memory.facts import screen, telling, undoing
from hermes_acp.memory.facts.changes import Amend, Change, Confirm
from hermes_acp.memory.facts.fact import BadFact
from hermes_acp.memory.facts.ids import ID as ID_OF_CHANGE
from hermes_acp.memory.facts.names import chosen, short
from hermes_acp.memory.facts.store import Applied
from hermes_acp.memory.scopes import store_of

NO_EDITOR = "No editor is known: set EDITOR, or give the new text of a fact with --text."
BAD_EDITOR = "The editor {editor} cannot be used: {why}. Set EDITOR to another one, or give --text."
NO_TEXT = "A fact without a text is none: `hermes-editor memory retract {fact}` takes it back."
NEITHER = (
    "There is no fact or change {typed!r} here: `hermes-editor memory list --all` has the facts, "
    "`hermes-editor memory log` the changes."
)
AGREED = "Forget this for good, with what was concluded from it? [y/N] "


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of these actions."""
    edit = actions.add_parser("edit", help="change a fact, or the page of the project, in your editor")
    edit.add_argument("fact", nargs="?", metavar="ID", help=f"{ID}; without: the page")
    edit.add_argument("--text", metavar="TEXT", help="the new text of the fact, without an editor")
    edit.add_argument("--user", action="store_true", help="the page of what holds in all projects")
    confirm = actions.add_parser("confirm", help="have a proposal hold, or again what was retracted")
    retract = actions.add_parser("retract", help="take back a fact, with what was concluded from it")
    revert = actions.add_parser("revert", help="the same; or undo one change, as `log` lists them")
    forget = actions.add_parser("forget", help="remove a fact from the history, too, for good")
    for action in (confirm, retract, forget):
        action.add_argument("fact", metavar="ID", help=ID)
    revert.add_argument("fact", metavar="ID", help=f"{ID}, or the id of a change")
    forget.add_argument("--sessions", action="store_true", help="also the conversations that have it")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    return edit, confirm, retract, revert, forget


async def confirm(args: argparse.Namespace, desk: Desk) -> int:
    """Have a proposal hold. Raises `BadFact`."""
    fact = await desk.chosen(args.fact)
    return _tell(args, await desk.facts.apply(desk.place, (Confirm(fact.id),)))


async def revert(args: argparse.Namespace, desk: Desk) -> int:
    """Take back a fact with what was derived from it, or one change. Raises `BadFact`."""
    facts = await desk.all()
    try:
        fact = chosen(args.fact, facts)
    except BadFact:
        if args.action == "retract":
            raise
        change_id = args.fact.strip().upper()
        if not ID_OF_CHANGE.fullmatch(change_id):
            raise BadFact(NEITHER.format(typed=args.fact.strip()[:40])) from None
        return _tell(args, await desk.facts.revert(desk.place, change_id))
    changes = undoing.retraction(fact.id, facts)
    if not changes:
        return fail(f"{fact.id} was taken back already.")
    return _tell(args, await desk.facts.apply(desk.place, changes))


async def forget(args: argparse.Namespace, desk: Desk) -> int:
    """Remove a fact from everything that can be reached. Raises `BadFact` and `RepositoryError`."""
    known = await desk.all()
    fact = chosen(args.fact, known)
    going = [fact, *(known[link] for link in sorted(undoing.derived(known, (fact.id,))))]
    if not args.yes and not await asyncio.to_thread(_agreed, "\n".join(map(telling.line, going))):
        return fail("Nothing was forgotten: answer y, or add --yes.")
    sessions = await desk.facts.tellers(going)
    gone = await desk.facts.forget(store_of(fact.scope, desk.place.project), fact.id)
    if args.sessions and sessions:
        store = await Store.open(desk.paths)
        there = {row.session_id for row in await store.all()}
        meant = argparse.Namespace(
            session_ids=[item for item in sessions if item in there], older_than=None, force=False, json=False
        )
        # Standard output belongs to the JSON.
        with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):
            if meant.session_ids and await delete.run(meant, store, desk.env):
                return FAILURE
        sessions = ()
    if args.json:
        print_json({"forgotten": gone.ids, "sessions": sessions})
    else:
        print(forgotten(gone.ids, sessions))
    return SUCCESS


async def edit(args: argparse.Namespace, desk: Desk) -> int:
    """Change a fact or a page, in an editor where no text was given. Raises `BadFact`."""
    if args.fact:
        fact = await desk.chosen(args.fact)
        text = args.text if args.text is not None else await _edited(fact.text, desk.env)
        if not text.strip():
            return fail(NO_TEXT.format(fact=short(fact.id)))
        if text.strip() == fact.text:
            return fail("Nothing was changed.")
        return await _change(args, desk, (Amend(fact.id, text, author="user"),))
    if args.text is not None:
        return fail("Say which fact has this text now: `memory list` has the ids.")
    view = await page(desk, "user" if args.user else "project")
    text = await _edited(view.text, desk.env)
    read = await asyncio.to_thread(views.read_back, view, text, await desk.all())
    for conflict in read.conflicts:
        about = f"{conflict.fact_id} {conflict.wanted}".strip()
        print(one_line(f"{about}: {conflict.why}" if about else conflict.why), file=sys.stderr)
    if not read.changes:
        return FAILURE if read.conflicts else fail("Nothing was changed.")
    return await _change(args, desk, read.changes) or (FAILURE if read.conflicts else SUCCESS)


async def _change(args: argparse.Namespace, desk: Desk, changes: Sequence[Change]) -> int:
    await asyncio.to_thread(screen.check, changes)
    ground = await desk.grounds.at(desk.cwd, writing=True)
    return _tell(args, await desk.facts.apply(ground.place, changes))


def _tell(args: argparse.Namespace, applied: Applied) -> int:
    if args.json:
        facts = [telling.member(edit.after) for edit in applied.edits]
        print_json({"change": applied.change_id, "facts": facts})
    else:
        print(safe("\n".join((*map(telling.edit, applied.edits), *applied.notes))) or "Nothing changed.")
    return SUCCESS


def _agreed(listing: str) -> bool:
    """Ask a person; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    print(f"{safe(listing)}\n{AGREED}", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _edited(text: str, env: Mapping[str, str]) -> str:
    """What the user makes of a text in their editor. Raises `BadFact` when there is none, or it fails."""
    editor = env.get("VISUAL") or env.get("EDITOR")
    try:
        words = shlex.split(editor or "")
    except ValueError as error:
        raise BadFact(BAD_EDITOR.format(editor=editor, why=str(error).lower())) from error
    if not words:
        raise BadFact(NO_EDITOR)
    return await asyncio.to_thread(_edit, words, text, env)


def _edit(editor: list[str], text: str, env: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="hermes-memory-") as folder:
        file = Path(folder) / "MEMORY.md"
        file.write_text(text, "utf-8")
        try:
            ended = subprocess.run([*editor, str(file)], env=dict(env), check=False)
            edited = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it wrote no text"
            raise BadFact(BAD_EDITOR.format(editor=editor[0], why=why)) from error
    if ended.returncode:
        raise BadFact(f"{editor[0]} ended with {ended.returncode}: nothing was changed.")
    return edited
