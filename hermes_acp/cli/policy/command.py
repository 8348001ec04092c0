"""`hermes-editor policy`: what the agent may do unasked."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from hermes_acp import config
from hermes_acp.cli.command import Subparsers, fail
from hermes_acp.cli.policy import explain, rules, texts, verdicts
from hermes_acp.cli.policy.places import Places
from hermes_acp.storage.database import StorageError

_ACTIONS = "list | add | promote ID… | revoke ID… | explain COMMAND | test|scan|redact --jsonl FILE"


def register(subparsers: Subparsers) -> None:
    """Add the command to those of `hermes-editor`; its `run` takes the arguments and environment."""
    parser = subparsers.add_parser("policy", help="show, explain and revoke what the agent may do unasked")
    _add_options(parser, nothing=None, no=False)
    parser.add_argument("--all", action="store_true", help="list the rules of all projects")
    parser.set_defaults(run=run, action="list")
    actions = parser.add_subparsers(dest="action", metavar=_ACTIONS)
    listing, *others = (*rules.register(actions), explain.register(actions))
    # Both levels take the options; SUPPRESS keeps the inner level from undoing the outer one.
    for inner in (listing, *others):
        _add_options(inner, nothing=argparse.SUPPRESS, no=argparse.SUPPRESS)
    listing.add_argument("--all", action="store_true", default=argparse.SUPPRESS, help="of all projects")
    verdicts.register(actions)
    texts.register(actions)


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, or 1 with a sentence on stderr. Raises `config.ConfigError`."""
    if args.action in ("scan", "redact"):
        return texts.run(args)
    places = Places(env, config.paths(env))
    cwd = os.path.realpath(args.cwd or Path.cwd())
    try:
        if args.action == "test":
            return verdicts.run(places, cwd, args)
        return asyncio.run(_run(places, cwd, args))
    except StorageError as error:
        return fail(str(error))


async def _run(places: Places, cwd: str, args: argparse.Namespace) -> int:
    match args.action:
        case "add":
            return await rules.add(places, cwd, args)
        case "promote":
            return await rules.promote(places, args.ids, as_json=args.json)
        case "revoke":
            return await rules.revoke(places, args)
        case "explain":
            return await explain.run(places, cwd, args)
        case _:
            return await rules.show(places, cwd, everywhere=args.all, as_json=args.json)


def _add_options(parser: argparse.ArgumentParser, *, nothing: str | None, no: bool | str) -> None:
    parser.add_argument("--cwd", metavar="DIR", default=nothing, help="the project (default: this folder)")
    parser.add_argument("--json", action="store_true", default=no, help="print JSON")
