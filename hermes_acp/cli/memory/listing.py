"""`memory list`, `show` and `why`: what is known, what a session is told of it, and where it comes from."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from hermes_acp.agent.memory import anchors
from hermes_acp.cli.command import SUCCESS, Subparsers
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.cli.sessions.store import print_json
from hermes_acp.memory import views
from hermes_acp.memory.facts import telling
from hermes_acp.memory.facts.fact import Fact, format_file
from hermes_acp.memory.facts.undoing import derived
from hermes_acp.memory.scopes import USER
from hermes_acp.memory.user_model import claims

ELSEWHERE = "Sessions at other commits without a branch have learned more ({count}): --all shows it."
LONGEST = 9
"""Digits of a number that somebody means."""
ID = "the id of a fact, or its last six characters"


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of these actions."""
    listing = actions.add_parser("list", help="what is known here, and what the agent proposes")
    listing.add_argument(
        "--all", action="store_true", help="also what was replaced or retracted, and all branches"
    )
    listing.add_argument(
        "--user", action="store_true", help="only what holds in all projects, claims included"
    )
    show = actions.add_parser("show", help="the pages that a session begins with, or one fact as its file")
    show.add_argument("fact", nargs="?", metavar="ID", help=ID)
    why = actions.add_parser("why", help="the words that a fact comes from, and what came of it")
    why.add_argument("fact", metavar="ID", help=ID)
    return listing, show, why


def count(text: str) -> int:
    """How many are wanted, as it was typed."""
    if text.isascii() and text.isdigit() and int(text[:LONGEST]) > 0 and len(text) <= LONGEST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{one_line(text)!r} is no number from 1 on")


async def list_(args: argparse.Namespace, desk: Desk) -> int:
    """Print the facts that hold here and the proposals, or all of them."""
    elsewhere: list[Fact] = []
    if args.all:
        facts = sorted((await desk.all()).values(), key=lambda fact: fact.id)
    else:
        here, elsewhere = await desk.unnamed()
        facts = [*telling.ordered(here), *await _known(desk), *(await _claims(desk) if args.user else ())]
    if args.user:
        facts = [fact for fact in facts if fact.scope == USER]
    if args.json:
        print_json([telling.member(fact) for fact in facts])
    else:
        print(safe("\n".join(map(telling.line, facts))) or telling.NOTHING)
    if elsewhere and not args.user:
        print(ELSEWHERE.format(count=len(elsewhere)), file=sys.stderr)
    return SUCCESS


async def show(args: argparse.Namespace, desk: Desk) -> int:
    """Print the pages, or one fact. Raises `BadFact`."""
    if args.fact:
        fact = await desk.chosen(args.fact)
        if args.json:
            print_json(telling.member(fact))
        else:
            print(safe(format_file(fact)), end="")
        return SUCCESS
    project, user = await page(desk, "project"), await page(desk, "user")
    if args.json:
        print_json({"project": project.text, "user": user.text})
    else:
        pages = "\n".join(filter(None, (project.text, user.text)))
        print(safe(pages) or f"{telling.NOTHING}\n", end="")
    return SUCCESS


async def why(args: argparse.Namespace, desk: Desk) -> int:
    """Print where a fact comes from. Raises `BadFact`."""
    facts = await desk.all()
    fact = await desk.chosen(args.fact)
    came_of_it = sorted(derived(facts, (fact.id,)))
    if args.json:
        print_json({**telling.member(fact), "led_to": came_of_it})
    else:
        print(safe(telling.why(fact, facts, came_of_it)))
    return SUCCESS


async def page(desk: Desk, subject: views.Subject) -> views.View:
    """What a session that begins here is told of the project, or of the user."""
    facts = [
        fact for fact in await desk.facts.visible(desk.place) if (fact.scope == USER) == (subject == "user")
    ]
    store = USER if subject == "user" else desk.place.project
    chars = views.USER_CHARS if subject == "user" else views.PROJECT_CHARS
    stale = await asyncio.to_thread(anchors.changed, facts, desk.root)
    return views.render(subject, facts, chars, await desk.facts.uses(store), stale)


async def _claims(desk: Desk) -> list[Fact]:
    """The claims about the user that do not hold, or not yet."""
    standings = claims.standings((await desk.facts.all(USER)).values(), time.time())
    return [item.fact for item in standings if item.state in ("collecting", "faded")]


async def _known(desk: Desk) -> list[Fact]:
    waiting = [review.proposal for review in await desk.facts.review(desk.place)]
    return [*telling.ordered(await desk.facts.visible(desk.place)), *waiting]
