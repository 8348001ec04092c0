"""`hermes-editor policy test`: the verdicts on many commands, without rules unless they are wanted."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
from collections.abc import Callable

from hermes_acp.cli.command import SUCCESS, Subparsers
from hermes_acp.cli.policy.explain import MODES, effects_fields
from hermes_acp.cli.policy.lines import BadLineError, Fields, answer
from hermes_acp.cli.policy.places import Places
from hermes_acp.policy.commands.classify import Place, classify
from hermes_acp.policy.effects import Effect, Mode
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules.rules import Rule
from hermes_acp.records import record

LINE_BYTES = 4 * 1024 * 1024
"""A longer line of `policy test` is an error, and is not kept in memory."""

FOLDERS = 256
"""Folders whose rules are kept while a file is read."""

_HELP = 'lines like {"id": 1, "command": "ls", "cwd": "/project"}; - is standard input'


@record
class Terms:
    """What commands in a folder are judged by."""

    mode: Mode
    rules: tuple[Rule, ...]


def register(actions: Subparsers) -> None:
    """Add the action to those of `policy`."""
    test = actions.add_parser(
        "test", help="the verdicts on many commands; normally in mode ask and without rules"
    )
    test.add_argument("--jsonl", dest="subject", metavar="FILE", required=True, help=_HELP)
    test.add_argument("--mode", choices=MODES, default="ask", help="the mode (default: ask)")
    test.add_argument("--rules", action="store_true", help="with the rules of the projects of the folders")
    test.add_argument("--cwd", metavar="DIR", default=argparse.SUPPRESS, help="for lines without a cwd")


def run(places: Places, cwd: str, args: argparse.Namespace) -> int:
    """One answer for each line, in the order of the lines; a bad line does not end it."""

    @functools.lru_cache(maxsize=FOLDERS)
    def terms(root: str) -> Terms:
        rules = tuple(asyncio.run(places.rules(root))) if args.rules else ()
        return Terms(places.mode(args.mode, root), rules)

    return answer(args.subject, LINE_BYTES, functools.partial(_tested, cwd, terms), bad=SUCCESS)


def _tested(cwd: str, terms: Callable[[str], Terms], fields: Fields) -> Fields:
    command, place = fields.get("command"), fields.get("cwd", cwd)
    try:
        # One path for both, so that a folder that does not exist is a workspace as well.
        root = os.path.realpath(place) if isinstance(place, str) else ""
    except (OSError, ValueError):
        root = ""
    if not isinstance(command, str) or not root:
        raise BadLineError("`command` has to be a text, and `cwd` a path")
    effects = effects_fields(classify(command, Place(root, (root,))).effects)
    effect, valid = Effect("execute", command, command=command, cwd=root), terms(root)
    verdict = judge(effect, valid.mode, valid.rules, (root,))
    return {"verdict": verdict.decision, "reason": verdict.reason, "effects": effects}
