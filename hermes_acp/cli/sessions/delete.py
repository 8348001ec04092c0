"""`hermes-editor sessions delete`: forgets conversations, through the shared server when one runs."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field

from hermes_acp.agent import checkpointing
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.cli.acp_client import Agent, AgentError, AgentGone
from hermes_acp.cli.command import BAD_USAGE, FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.sessions import server
from hermes_acp.cli.sessions.store import Store, print_json
from hermes_acp.config import Paths
from hermes_acp.endpoint import Refused
from hermes_acp.policy.rules.rules import visible
from hermes_acp.records import record
from hermes_acp.storage.claims import Claims, SessionInUse
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.sessions import SessionRow, SessionTable

ANSWER_SECONDS = 30.0
"""How long the server may take to forget one session; it ends the session's turn first."""
AGES = {"h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}
WHAT = "Say which sessions: one or more ids, or --older-than, but not both."
BUSY = "A turn is running in it. Wait for its end or cancel it, or add --force to end it here."
SLOW = f"The server did not answer within {ANSWER_SECONDS:.0f} seconds. Try again, or restart it."
CHECKPOINTS_STAY = "The checkpoints of {} stay until they expire: {}."

Forget = Callable[[SessionRow], Awaitable[object]]


@record
class Outcome:
    """What became of the sessions; of those that were kept, why."""

    deleted: list[str] = field(default_factory=list[str])
    kept: dict[str, str] = field(default_factory=dict[str, str])


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("delete", help="forget conversations for good")
    parser.add_argument("session_ids", nargs="*", metavar="ID", help="an id, or the beginning of one")
    parser.add_argument(
        "--older-than", type=_age, metavar="AGE", help="all that were not used for so long: 12h, 30d, 8w"
    )
    parser.add_argument("--force", action="store_true", help="also those in which a turn is running")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(args: argparse.Namespace, store: Store, env: Mapping[str, str]) -> int:
    """Delete all or, when an id is not known, none. Raises `StorageError` and `NoSession`."""
    if bool(args.session_ids) == (args.older_than is not None):
        print(WHAT, file=sys.stderr)
        return BAD_USAGE
    rows = await _meant(store, args.session_ids, args.older_than)
    busy: set[str] = set() if args.force else await server.running(store, rows, env)
    outcome = Outcome(kept={row.session_id: BUSY for row in rows if row.session_id in busy})
    try:
        await _delete([row for row in rows if row.session_id not in busy], store, env, outcome)
    except (Refused, AgentError, AgentGone) as error:
        return fail(str(error))
    _tell(outcome, rows, as_json=args.json)
    return FAILURE if outcome.kept else SUCCESS


async def _meant(store: Store, typed: list[str], age: float | None) -> list[SessionRow]:
    """The sessions, each once."""
    if age is not None:
        return [row for row in await store.all() if row.updated_at < time.time() - age]
    rows = [await store.chosen(item) for item in typed]
    return list({row.session_id: row for row in rows}.values())


async def _delete(rows: list[SessionRow], store: Store, env: Mapping[str, str], outcome: Outcome) -> None:
    if not rows:
        return
    async with server.client(env) as agent:
        if agent is not None:
            await _each(rows, _through(agent), outcome)
            return
    database = Database(store.paths.database)
    try:
        await _each(rows, _directly(database, store.paths, env), outcome)
    finally:
        await database.close()


async def _each(rows: list[SessionRow], forget: Forget, outcome: Outcome) -> None:
    for row in rows:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await forget(row)
        except TimeoutError:
            outcome.kept[row.session_id] = SLOW
        except (AgentError, AgentGone, SessionInUse, StorageError) as error:
            outcome.kept[row.session_id] = str(error)
        except NotRecorded as error:
            outcome.deleted.append(row.session_id)
            print(CHECKPOINTS_STAY.format(row.session_id, error), file=sys.stderr)
        else:
            outcome.deleted.append(row.session_id)


def _through(agent: Agent) -> Forget:
    """The server has the claims of all its sessions: only it can end them."""
    return lambda row: agent.call("session/delete", {"sessionId": row.session_id})


def _directly(database: Database, places: Paths, env: Mapping[str, str]) -> Forget:
    claims = Claims(places.claims)

    async def forget(row: SessionRow) -> None:
        # Held to the end, so that no editor opens the session meanwhile.
        await asyncio.to_thread(claims.claim, row.session_id)
        try:
            await SessionTable(database).delete(row.session_id)
            await checkpointing.forget(places.projects, env, row)
        finally:
            claims.release(row.session_id)

    return forget


def _tell(outcome: Outcome, rows: list[SessionRow], *, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
    else:
        for session_id in outcome.deleted:
            print(f"Deleted {session_id}.")
        if not rows:
            print("No session is that old.")
    titles = {row.session_id: visible(row.title or "Untitled") for row in rows}
    for session_id, reason in outcome.kept.items():
        print(f"{session_id} ({titles[session_id]}) was not deleted. {reason}", file=sys.stderr)


def _age(text: str) -> float:
    """Seconds of an age as it is typed."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age: write 12h, 30d or 8w")
    return int(match[1]) * AGES[match[2]]
