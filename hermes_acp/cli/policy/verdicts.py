"""`hermes-editor policy test`: the verdicts on many commands, without rules unless they are wanted."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
from collections.abc import Callable

from hermes_acp.cli.command import SUCCESS, Subparsers
from hermes_acp.cli.policy.explain import effects_fields
from hermes_acp.cli.policy.lines import BadLineError, Fields, answer
from hermes_acp.cli.policy.places import Places
from hermes_acp.policy.commands import Place, classify
from hermes_acp.policy.effects import Effect
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules import Rule

LINE_BYTES = 4 * 1024 * 1024
"""A longer line of `policy test` is an error, and is not kept in memory."""

FOLDERS = 256
"""Folders whose rules are kept while a file is read."""

_HELP = 'lines like {"id": 1, "command": "ls", "cwd": "/project"}; - is standard input'


def register(actions: Subparsers) -> None:
    """Add the action to those of `policy`."""
    test = actions.add_parser("test", help="the verdicts on many commands, in mode ask and without rules")
    test.add_argument("--jsonl", dest="subject", metavar="FILE", required=True, help=_HELP)
    test.add_argument("--rules", action="store_true", help="with the rules of the projects of the folders")
    test.add_argument("--cwd", metavar="DIR", default=argparse.SUPPRESS, help="for lines without a cwd")


def run(places: Places, cwd: str, args: argparse.Namespace) -> int:
    """One answer for each line, in the order of the lines; a bad line does not end it."""

    @functools.lru_cache(maxsize=FOLDERS)
    def rules(root: str) -> tuple[Rule, ...]:
        return tuple(asyncio.run(places.rules(root)))

    reply = functools.partial(_tested, cwd, rules if args.rules else None)
    return answer(args.subject, LINE_BYTES, reply, bad=SUCCESS)


def _tested(cwd: str, rules: Callable[[str], tuple[Rule, ...]] | None, fields: Fields) -> Fields:
    command, place = fields.get("command"), fields.get("cwd", cwd)
    try:
        # One path for both, so that a folder that does not exist is a workspace as well.
        root = os.path.realpath(place) if isinstance(place, str) else ""
    except (OSError, ValueError):
        root = ""
    if not isinstance(command, str) or not root:
        raise BadLineError("`command` has to be a text, and `cwd` a path")
    judgement = classify(command, Place(root, (root,)))
    said: tuple[str, str] = (judgement.decision, judgement.reason)
    if rules is not None:
        effect = Effect("execute", command, command=command, cwd=root)
        verdict = judge(effect, "ask", rules(root), (root,))
        said = (verdict.decision, verdict.reason)
    return {"verdict": said[0], "reason": said[1], "effects": effects_fields(judgement.effects)}
