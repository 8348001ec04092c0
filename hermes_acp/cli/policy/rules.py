"""`hermes-editor policy list|add|promote|revoke`: the rules that were learned and written down."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import cast

from hermes_acp.cli.command import BAD_USAGE, Subparsers, fail, table
from hermes_acp.cli.policy.places import Places
from hermes_acp.policy.rules.rules import (
    Decision,
    Origin,
    Rule,
    RuleDraft,
    Scope,
    code,
    make,
    meaning,
    visible,
)
from hermes_acp.policy.rules.written import KINDS, pattern_problem
from hermes_acp.workspace.project import find_project

ADDED_BY = "policy add"
"""Who stands in the table for a rule that was added by the command."""


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add these actions to those of `policy`; gives their parsers."""
    listing = actions.add_parser("list", help="the rules of this project (the default)")
    add = actions.add_parser("add", help="write a rule")
    add.add_argument("decision", choices=("allow", "ask", "deny"))
    target = add.add_mutually_exclusive_group(required=True)
    target.add_argument("--command", metavar="WORDS", help="the first words of commands: 'npm test'")
    target.add_argument("--path", metavar="GLOB", help="files, from the workspace or absolute: 'docs/**'")
    target.add_argument("--host", metavar="HOST", help="a host, or *.example.org")
    target.add_argument("--tool", metavar="NAME", help="a tool of an MCP server: 'github__*'")
    add.add_argument("--everywhere", action="store_true", help="in all projects")
    promote = actions.add_parser("promote", help="let rules hold in all projects")
    promote.add_argument("ids", metavar="ID", nargs="+")
    revoke = actions.add_parser("revoke", help="take rules back")
    revoke.add_argument("ids", metavar="ID", nargs="*")
    revoke.add_argument("--all", dest="every", action="store_true", help="all rules of all projects")
    revoke.add_argument("--session", metavar="SESSION", default="", help="those of a session")
    return listing, add, promote, revoke


async def show(places: Places, cwd: str, *, everywhere: bool, as_json: bool) -> int:
    """List the rules of a project, or of all."""
    project = (await find_project(cwd)).key
    async with places.stored() as store:
        rules = await store.list_all() if store else []
    if not everywhere:
        rules = [rule for rule in rules if rule.scope == "everywhere" or rule.origin.project == project]
    found = await places.written(cwd, project)
    for complaint in found.complaints:
        print(complaint, file=sys.stderr)
    rules.extend(found.rules)
    if as_json:
        print(json.dumps([asdict(rule) for rule in rules], indent=2))
    elif rules:
        header = ("ID", "WHEN", "WHO", "HOLDS IN", "RULE")
        print(table([header, *(_row(rule, everywhere=everywhere) for rule in rules)]))
    else:
        print("There are no rules: every effect is judged by the mode of its session.")
    return 0


async def add(places: Places, cwd: str, args: argparse.Namespace) -> int:
    """Keep a rule that was given on the command line."""
    target = next(name for name in KINDS if getattr(args, name) is not None)
    text = (
        " ".join(cast("str", getattr(args, target)).split()) if target == "command" else getattr(args, target)
    )
    if problem := pattern_problem(target, text):
        print(f"{problem}.".replace("`", ""), file=sys.stderr)
        return BAD_USAGE
    if target == "path" and text[:2] in ("~", "~/"):
        text = places.home.rstrip("/") + text[1:]
    origin = Origin((await find_project(cwd)).key, "", ADDED_BY, f"policy add {args.decision} --{target}")
    scope: Scope = "everywhere" if args.everywhere else "project"
    decision = cast("Decision", args.decision)
    drafts = [RuleDraft(kind, text, form="pattern") for kind in KINDS[target]]
    rules = [make(draft, decision, scope, origin) for draft in drafts]
    async with places.stored(create=True) as store:
        if store is not None:
            for rule in rules:
                await store.add(rule)
    if args.json:
        print(json.dumps([asdict(rule) for rule in rules], indent=2))
    else:
        for rule in rules:
            print(f"{rule.rule_id}: {_text(rule)}, {_holds(rule, everywhere=False)}.")
    return 0


async def promote(places: Places, ids: Sequence[str], *, as_json: bool) -> int:
    """Let rules hold in all projects."""
    async with places.stored() as store:
        done = [rule_id for rule_id in ids if store and await store.promote(rule_id)]
    return _done("promoted", "hold everywhere now", done, ids, as_json=as_json)


async def revoke(places: Places, args: argparse.Namespace) -> int:
    """Take rules back: those that are named, those of a session, or all."""
    async with places.stored() as store:
        rules = await store.list_all() if store else []
        ids: list[str] = list(args.ids)
        if args.every:
            ids.extend(rule.rule_id for rule in rules)
        elif args.session:
            ids.extend(rule.rule_id for rule in rules if _is_of(rule, args.session))
        elif not ids:
            return fail("Name the rules to take back, or give --all or --session.")
        wanted = tuple(dict.fromkeys(ids))
        done = [rule_id for rule_id in wanted if store and await store.revoke(rule_id)]
    return _done("revoked", "are taken back", done, wanted, as_json=args.json)


def _is_of(rule: Rule, session_id: str) -> bool:
    return rule.scope == "session" and rule.origin.session_id == session_id


def _done(key: str, what: str, done: Sequence[str], wanted: Sequence[str], *, as_json: bool) -> int:
    if as_json and (done or not wanted):
        print(json.dumps({key: list(done)}))
    elif len(done) == 1:
        print(f"{key.capitalize()} {done[0]}.")
    elif done or not wanted:
        print(f"{len(done)} rules {what}.")
    if unknown := [rule_id for rule_id in wanted if rule_id not in done]:
        return fail(
            f"There is no rule {visible(unknown[0])!r}: `hermes-editor policy list --all` shows them."
        )
    return 0


def _row(rule: Rule, *, everywhere: bool) -> tuple[str, ...]:
    when = "-"
    if rule.created_at:
        when = datetime.fromtimestamp(rule.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
    who = Path(rule.origin.file).name if rule.origin.file else rule.origin.client
    return (rule.rule_id, when, visible(who) or "-", _holds(rule, everywhere=everywhere), _text(rule))


def _holds(rule: Rule, *, everywhere: bool) -> str:
    match rule.scope:
        case "session":
            return f"session {visible(rule.origin.session_id)}"
        case "everywhere":
            return "all projects"
        case "project":
            return visible(rule.origin.project) if everywhere and rule.origin.project else "this project"


def _text(rule: Rule) -> str:
    if rule.effect != "execute" or rule.form != "exact":
        rests = f", while {code(rule.rests_on.split(chr(10))[0])} stays the same" if rule.rests_on else ""
        return f"{rule.decision} {meaning(rule)}{rests}"
    place = f" in {visible(rule.cwd)}" if rule.decision == "allow" else ""
    return f"{rule.decision} {code(rule.match)}{place}"
