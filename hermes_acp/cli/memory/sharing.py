"""`memory export` and `import`: facts as lines of JSON, out of one data folder and into another."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import orjson

from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.screen import one_line
from hermes_acp.cli.sessions.store import print_bytes, print_json
from hermes_acp.memory.facts import screen, telling
from hermes_acp.memory.facts.changes import Take
from hermes_acp.memory.facts.fact import BadFact, Fact, check, decode
from hermes_acp.memory.scopes import ARCHIVE, OVERLAY, PROJECT, USER

STDIN = "-"
LINE_BYTES = 200_000
"""A longer line is no fact."""
BATCH = 200
"""Facts that are taken in together."""


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of these actions."""
    out = actions.add_parser("export", help="all facts of the project, and the user's, a line of JSON each")
    out.add_argument("--to", metavar="FILE", help="write them to a new file instead of standard output")
    take = actions.add_parser("import", help="take in what `export` has written")
    take.add_argument("file", metavar="FILE", help="- is standard input")
    return out, take


async def export(args: argparse.Namespace, desk: Desk) -> int:
    """Print all facts, whatever became of them."""
    facts = sorted((await desk.all()).values(), key=lambda fact: fact.id)
    data = b"".join(orjson.dumps(telling.member(fact), option=orjson.OPT_APPEND_NEWLINE) for fact in facts)
    if args.to:
        try:
            await asyncio.to_thread(_write, Path(args.to), data)
        except OSError as error:
            return fail(f"{args.to} cannot be written: {(error.strerror or str(error)).lower()}.")
    else:
        print_bytes(data)
    return SUCCESS


async def take(args: argparse.Namespace, desk: Desk) -> int:
    """Take in facts of a file; lines that are none are named and left out."""
    try:
        lines = await asyncio.to_thread(_lines, args.file)
    except OSError as error:
        return fail(f"{args.file} cannot be read: {(error.strerror or str(error)).lower()}.")
    facts, problems = await asyncio.to_thread(_read, lines)
    return await take_in(desk, facts, problems, as_json=args.json)


async def take_in(desk: Desk, facts: Sequence[Fact], problems: Sequence[str], *, as_json: bool) -> int:
    """Have facts from elsewhere hold here, and tell how many do and why others do not. The exit code."""
    taken, refused = await _taken(desk, facts)
    for problem in (*problems, *refused):
        print(one_line(problem), file=sys.stderr)
    if as_json:
        print_json({"taken": taken, "refused": len(problems) + len(refused)})
    else:
        print(f"Taken in: {taken} facts. Known already: {len(facts) - taken - len(refused)}.")
    return FAILURE if problems or refused else SUCCESS


async def _taken(desk: Desk, facts: Sequence[Fact]) -> tuple[int, list[str]]:
    """How many are new or newer, and why others were refused."""
    refused: list[str] = []
    kept: list[Take] = []
    for fact in facts:
        try:
            await asyncio.to_thread(screen.check_fact, fact)
        except BadFact as error:
            refused.append(f"{fact.id} was left out. {error}")
        else:
            kept.append(Take(fact))
    if not kept:
        return 0, refused
    ground = await desk.grounds.at(desk.cwd, writing=True)
    taken = 0
    for start in range(0, len(kept), BATCH):
        applied = await desk.facts.apply(ground.place, kept[start : start + BATCH])
        ids = {change.fact.id for change in kept[start : start + BATCH]}
        taken += sum(edit.after.id in ids for edit in applied.edits)
    return taken, refused


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _lines(file: str) -> list[bytes]:
    with ExitStack() as stack:
        source = sys.stdin.buffer if file == STDIN else stack.enter_context(Path(file).open("rb"))
        return [line for line in source if line.strip()]


def _read(lines: Iterable[bytes]) -> tuple[list[Fact], list[str]]:
    facts: list[Fact] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            if len(line) > LINE_BYTES:
                raise BadFact(f"It is longer than {LINE_BYTES:,} bytes.")
            [fact] = decode(b"[%b]" % line.strip())
            facts.append(check(_placed(fact)))
        except ValueError as error:
            problems.append(f"Line {number:,} was left out: it is no fact. {str(error).splitlines()[0]}")
    return facts, problems


def _placed(fact: Fact) -> Fact:
    """The fact where it can hold: what stood at a commit without a branch belongs to no session here."""
    if fact.scope in (PROJECT, USER) or fact.scope.startswith((OVERLAY, ARCHIVE)):
        return fact
    return replace(fact, scope=PROJECT)
