"""`hermes-editor project`: what concerns all that is kept about projects; so far its backup."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from hermes_acp import config
from hermes_acp.cli.command import SUCCESS, Subparsers, fail
from hermes_acp.storage import backup
from hermes_acp.storage.errors import StorageError


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("project", help="back up the conversations and rules of all projects")
    actions = parser.add_subparsers(dest="action", metavar="backup", required=True)
    copy = actions.add_parser("backup", help="copy the database, also while a server writes it")
    copy.add_argument(
        "--to", metavar="FILE", help=f"the copy; default: a dated file, the newest {backup.KEPT} stay"
    )
    copy.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, or 1 with a sentence on standard error."""
    target = Path(args.to).absolute() if args.to else None
    try:
        made = asyncio.run(backup.make(config.paths(env).database, target))
    except StorageError as error:
        return fail(str(error))
    if args.json:
        sys.stdout.write(orjson.dumps({"backup": str(made)}).decode() + "\n")
    else:
        print(f"The backup is {made}.")
    return SUCCESS
