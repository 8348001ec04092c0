"""`hermes-editor memory`: what is remembered of a project: looked at, changed, shared, recalled."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeAlias

from hermes_acp import config
from hermes_acp.agent.memory.grounds import Unsure
from hermes_acp.cli.command import Subparsers, fail
from hermes_acp.cli.history import NoFolder
from hermes_acp.cli.memory import changing, history, listing, profile, recall, remote, sharing
from hermes_acp.cli.memory.desk import Desk, opened
from hermes_acp.cli.screen import tolerate
from hermes_acp.memory.facts.fact import BadFact
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.fact_commits import RepositoryError

Action: TypeAlias = Callable[[argparse.Namespace, Desk], Coroutine[None, None, int]]

ACTIONS: Mapping[str, Action] = {
    "list": listing.list_,
    "show": listing.show,
    "why": listing.why,
    "profile": profile.profile,
    "edit": changing.edit,
    "confirm": changing.confirm,
    "retract": changing.revert,
    "revert": changing.revert,
    "forget": changing.forget,
    "log": history.log,
    "diff": history.diff,
    "export": sharing.export,
    "import": sharing.take,
    "publish": remote.publish,
    "pull": remote.pull,
}


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("memory", help="what is remembered of a project")
    names = " | ".join((*ACTIONS, "recall"))
    actions = parser.add_subparsers(dest="action", metavar=names, required=True)
    for module in (listing, profile, changing, history, sharing, remote):
        for action in module.register(actions):
            action.add_argument(
                "--cwd", metavar="DIR", help="the folder whose project is meant (default: this one)"
            )
            action.add_argument("--json", action="store_true", help="print JSON")
    recall.register(actions)


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, 1 with a sentence on standard error, or 2 for a wrong command line."""
    # What was said has characters that the terminal's encoding may lack.
    tolerate(sys.stdout)
    tolerate(sys.stderr)
    if args.action == "recall":
        return recall.run(args, env)
    try:
        return asyncio.run(_act(args, config.paths(env), env))
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        raise
    except (BadFact, NoFolder, RepositoryError, StorageError, Unsure, OSError) as error:
        return fail(str(error))


async def _act(args: argparse.Namespace, paths: config.Paths, env: Mapping[str, str]) -> int:
    async with opened(args.cwd, paths, env) as desk:
        return await ACTIONS[args.action](args, desk)
