"""`hermes-editor policy`: rules that were learned, verdicts on commands, places and secrets in texts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from hermes_acp import config
from hermes_acp.cli import policy_texts
from hermes_acp.cli.command import SUCCESS, Subparsers, fail, table
from hermes_acp.cli.policy_lines import BadLineError, Fields, answer
from hermes_acp.policy.commands import Consequence, Place, classify
from hermes_acp.policy.effects import Effect
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules import Rule, choices, code, meaning, visible
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.rules import Rules
from hermes_acp.workspace.project import find_project

LINE_BYTES = 4 * 1024 * 1024
"""A longer line of `policy test` is an error, and is not kept in memory."""


_TEST_HELP = 'lines like {"id": 1, "command": "ls", "cwd": "/project"}; - is standard input'


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments; `subject` is the rule to revoke, the command to explain or the file to test."""

    action: Literal["list", "revoke", "explain", "test"]
    subject: str
    cwd: str
    as_json: bool
    everywhere: bool


def register(subparsers: Subparsers) -> None:
    """Add the command to those of `hermes-editor`; its `run` takes the arguments and environment."""
    parser = subparsers.add_parser("policy", help="show, explain and revoke what the agent may do unasked")
    _add_options(parser, nothing=None, no=False)
    _add_all(parser, no=False)
    parser.set_defaults(run=run, action="list", subject="")
    actions = parser.add_subparsers(
        dest="action", metavar="list | revoke ID | explain COMMAND | test|scan|redact --jsonl FILE"
    )
    # Both levels take the options; SUPPRESS keeps the inner level from undoing the outer one.
    listing = actions.add_parser("list", help="the rules of this project (the default)")
    _add_options(listing, nothing=argparse.SUPPRESS, no=argparse.SUPPRESS)
    _add_all(listing, no=argparse.SUPPRESS)
    revoke = actions.add_parser("revoke", help="take a rule back")
    revoke.add_argument("subject", metavar="ID")
    _add_options(revoke, nothing=argparse.SUPPRESS, no=argparse.SUPPRESS)
    explain = actions.add_parser("explain", help="what would happen with a command, and why")
    explain.add_argument("subject", metavar="COMMAND", help="the whole command as one argument")
    _add_options(explain, nothing=argparse.SUPPRESS, no=argparse.SUPPRESS)
    test = actions.add_parser("test", help="the verdicts on many commands, in mode ask and without rules")
    test.add_argument("--jsonl", dest="subject", metavar="FILE", required=True, help=_TEST_HELP)
    test.add_argument("--cwd", metavar="DIR", default=argparse.SUPPRESS, help="for lines without a cwd")
    policy_texts.register(actions)


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, or 1 with a sentence on stderr. Raises `config.ConfigError`."""
    if args.action in ("scan", "redact"):
        return policy_texts.run(args)
    request = _Request(
        action=args.action or "list",
        subject=args.subject,
        cwd=os.path.realpath(args.cwd or Path.cwd()),
        as_json=args.json,
        everywhere=args.all,
    )
    if request.action == "test":
        return _test(request)
    try:
        return asyncio.run(_run(request, env, config.paths(env)))
    except StorageError as error:
        return fail(str(error))


def _add_options(parser: argparse.ArgumentParser, *, nothing: str | None, no: bool | str) -> None:
    parser.add_argument("--cwd", metavar="DIR", default=nothing, help="the project (default: this folder)")
    parser.add_argument("--json", action="store_true", default=no, help="print JSON")


def _add_all(parser: argparse.ArgumentParser, *, no: bool | str) -> None:
    parser.add_argument("--all", action="store_true", default=no, help="list the rules of all projects")


async def _run(request: _Request, env: Mapping[str, str], paths: config.Paths) -> int:
    async with _open(paths.database) as store:
        match request.action:
            case "list":
                return await _list(request, store)
            case "revoke":
                return await _revoke(request, store)
            case _:
                return await _explain(request, store, config.settings(env, paths.config_file))


@contextlib.asynccontextmanager
async def _open(path: Path) -> AsyncGenerator[Rules | None, None]:
    """The stored rules; None where no session was ever held, for looking must not create a database."""
    if not await asyncio.to_thread(path.exists):
        yield None
        return
    database = await Database.open(path)
    try:
        yield Rules(database)
    finally:
        await database.close()


async def _list(request: _Request, store: Rules | None) -> int:
    rules = await store.list_all() if store else []
    if not request.everywhere:
        project = (await find_project(request.cwd)).key
        rules = [rule for rule in rules if rule.origin.project == project]
    if request.as_json:
        print(json.dumps([asdict(rule) for rule in rules], indent=2))
    elif rules:
        header = ("ID", "WHEN", "WHO", "HOLDS IN", "RULE")
        print(table([header, *(_row(rule, everywhere=request.everywhere) for rule in rules)]))
    else:
        print("There are no rules: every effect is judged by the mode of its session.")
    return 0


async def _revoke(request: _Request, store: Rules | None) -> int:
    if store is None or not await store.revoke(request.subject):
        return fail(
            f"There is no rule {visible(request.subject)!r}: `hermes-editor policy list --all` shows them."
        )
    print(json.dumps({"revoked": request.subject}) if request.as_json else f"Revoked {request.subject}.")
    return 0


async def _explain(request: _Request, store: Rules | None, settings: config.Settings) -> int:
    key = (await find_project(request.cwd)).key
    rules = await store.list(key, "") if store else []
    effect = Effect("execute", request.subject, command=request.subject, cwd=request.cwd)
    verdict = await asyncio.to_thread(judge, effect, settings.mode, rules, (request.cwd,))
    place = Place(request.cwd, (request.cwd,))
    judgement = await asyncio.to_thread(classify, request.subject, place)
    offered = [choice.name for choice in choices(verdict)] if verdict.decision == "ask" else []
    answer = {
        "command": request.subject,
        "cwd": request.cwd,
        "mode": settings.mode,
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "effects": _effects(judgement.effects),
        "parts": [
            {"command": part.text, "verdict": part.decision, "reason": part.reason}
            for part in judgement.parts
        ],
        "choices": offered,
    }
    if request.as_json:
        print(json.dumps(answer, indent=2))
    else:
        print(f"{verdict.decision} (mode {settings.mode}): {verdict.reason}")
        for effect in judgement.effects:
            print(f"  {effect.kind} {', '.join(map(code, effect.targets))}".rstrip())
        print("".join(f"  {name}\n" for name in offered), end="")
    return 0


def _test(request: _Request) -> int:
    """One answer for each line, in the order of the lines; a bad line does not end it."""
    return answer(request.subject, LINE_BYTES, functools.partial(_tested, request.cwd), bad=SUCCESS)


def _tested(cwd: str, fields: Fields) -> Fields:
    command, place = fields.get("command"), fields.get("cwd", cwd)
    try:
        # One path for both, so that a folder that does not exist is a workspace as well.
        root = os.path.realpath(place) if isinstance(place, str) else ""
    except (OSError, ValueError):
        root = ""
    if not isinstance(command, str) or not root:
        raise BadLineError("`command` has to be a text, and `cwd` a path")
    judgement = classify(command, Place(root, (root,)))
    return {
        "verdict": judgement.decision,
        "reason": judgement.reason,
        "effects": _effects(judgement.effects),
    }


def _effects(effects: Iterable[Consequence]) -> list[dict[str, object]]:
    return [{"kind": effect.kind, "targets": list(effect.targets)} for effect in effects]


def _row(rule: Rule, *, everywhere: bool) -> tuple[str, ...]:
    when = datetime.fromtimestamp(rule.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
    if rule.scope == "session":
        where = f"session {visible(rule.origin.session_id)}"
    else:
        where = visible(rule.origin.project) if everywhere else "this project"
    return (rule.rule_id, when, visible(rule.origin.client) or "-", where, _text(rule))


def _text(rule: Rule) -> str:
    if rule.effect != "execute":
        return f"{rule.decision} {meaning(rule.effect, rule.match)}"
    place = f" in {visible(rule.cwd)}" if rule.decision == "allow" else ""
    return f"{rule.decision} {code(rule.match)}{place}"
