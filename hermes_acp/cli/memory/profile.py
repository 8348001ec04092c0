"""`memory profile`: what is believed about the user, how far, and how many sessions speak for it."""

from __future__ import annotations

import argparse
import time

from hermes_acp.cli.command import SUCCESS, Subparsers
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.screen import safe
from hermes_acp.cli.sessions.store import print_json
from hermes_acp.memory.scopes import USER
from hermes_acp.memory.user_model import believing, claims


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of this action."""
    return (actions.add_parser("profile", help="what is believed about you, and on how much evidence"),)


async def profile(args: argparse.Namespace, desk: Desk) -> int:
    """Print the claims, by their questions."""
    standings = claims.standings((await desk.facts.all(USER)).values(), time.time())
    if args.json:
        print_json([believing.member(item) for item in standings])
    else:
        print(safe(believing.table(standings)))
    return SUCCESS
