"""`hermes-editor memory recall`: finds what was said in the sessions of a project."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import orjson

from hermes_acp import config
from hermes_acp.cli import history
from hermes_acp.cli.command import BAD_USAGE, FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.history import NoFolder
from hermes_acp.cli.memory.listing import count
from hermes_acp.cli.screen import one_line
from hermes_acp.cli.sessions.store import print_bytes
from hermes_acp.llm import choice
from hermes_acp.llm.base import Model
from hermes_acp.memory import recall
from hermes_acp.memory.dates import moment
from hermes_acp.memory.recall import Filter, Hit, Recall
from hermes_acp.records import record
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.recall_index import RecallIndex
from hermes_acp.tools.recall import SUMMARISED
from hermes_acp.tools.recall_summary import Summaries, id_of, summarise

STDIN = "-"
BATCH = 64
"""Questions of a file that are answered together."""
KINDS = ("user", "agent", "call", "result")
WHAT = "Say what to look for: a QUERY, or --jsonl FILE, but not both."
ONE_BY_ONE = "A file of questions is answered without --summary, which asks a model for each answer."
NO_MODEL = "There is no model for summaries: set memory_model (or HERMES_EDITOR_MEMORY_MODEL) to a cheap one."
NOTHING = "Nothing was said about that."


_Summarising: TypeAlias = Callable[[str, Sequence[Hit]], Awaitable[Summaries]]


@record
class _Question:
    """A line of a file of questions; `id` is given back as it came."""

    id: object
    query: str


class _BadLine(ValueError):
    """A line is no question; `str()` says which and why."""


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    found = actions.add_parser("recall", help="find what was said, by a question as you would ask it")
    found.add_argument("query", nargs="*", metavar="QUERY", help="a question, or words")
    found.add_argument(
        "--jsonl", metavar="FILE", help="many questions, {id, query} a line; - is standard input"
    )
    found.add_argument("--cwd", metavar="DIR", help="the folder whose project is meant (default: this one)")
    found.add_argument("--all", action="store_true", help="search all projects")
    found.add_argument(
        "--limit", type=count, default=recall.LIMIT, metavar="N", help=f"how many (default {recall.LIMIT})"
    )
    found.add_argument("--session", metavar="ID", help="only this session")
    found.add_argument("--file", metavar="PATH", help="only sessions in which this file is named")
    found.add_argument("--branch", metavar="NAME", help="only turns with this branch, or commit, checked out")
    found.add_argument("--kind", action="append", choices=KINDS, help="only what these said; can be repeated")
    found.add_argument("--since", type=_moment, metavar="DAY", help="not older: 2026-01-31, or a time")
    found.add_argument("--until", type=_moment, metavar="DAY", help="older: 2026-01-31, or a time")
    found.add_argument(
        "--summary",
        action="store_true",
        help="have the cheap model (memory_model) say what long results tell about the question",
    )
    found.add_argument("--json", action="store_true", help="print a line of JSON for each")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do what the arguments say: 0, 1 with a sentence on standard error, or 2 for a wrong command line."""
    if bool(args.query) == bool(args.jsonl):
        print(WHAT, file=sys.stderr)
        return BAD_USAGE
    if args.jsonl and args.summary:
        print(ONE_BY_ONE, file=sys.stderr)
        return BAD_USAGE
    try:
        paths = config.paths(env)
        summaries: _Summarising | None = None
        if args.summary:
            settings = config.settings(env, paths.config_file, str(Path.cwd()))
            summaries = partial(_summaries, settings, env)
        return asyncio.run(_recall(args, paths, summaries))
    except (StorageError, NoFolder, OSError, config.ConfigError) as error:
        return fail(str(error))


async def _recall(args: argparse.Namespace, paths: config.Paths, summaries: _Summarising | None) -> int:
    names = None if args.all else (await history.of_folder(args.cwd, paths)).names
    searched = await _searched(paths, names)
    kinds = tuple(args.kind or ())
    only = Filter(args.session, args.file, kinds, args.since, args.until, branch=args.branch)
    if args.jsonl:
        return await _bulk(args, searched, only)
    query = " ".join(args.query).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    hits = await searched.answer(query, args.limit, only) if searched is not None else []
    said_of = await summaries(query, hits) if summaries is not None else Summaries()
    if said_of.note:
        print(said_of.note, file=sys.stderr)
    texts = [said_of.texts.get(id_of(hit.found)) for hit in hits]
    if args.json:
        members = map(_member, hits, texts)
        print_bytes(b"".join(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in members))
    elif hits:
        print("\n".join(map(_shown, hits, texts)))
    else:
        print(NOTHING)
    return SUCCESS


async def _summaries(
    settings: config.Settings, env: Mapping[str, str], query: str, hits: Sequence[Hit]
) -> Summaries:
    """What the cheap model says of long results."""
    if not settings.memory_model:
        return Summaries(note=NO_MODEL)
    async with AsyncExitStack() as stack:

        async def opened() -> Model:
            model = await choice.open_model(settings.memory_model, settings, env)
            stack.push_async_callback(model.aclose)
            return model

        return await summarise(opened, query, [hit.found for hit in hits])


async def _searched(paths: config.Paths, names: Sequence[str] | None) -> Recall | None:
    """The index as it is once it has caught up; None where nothing was ever stored."""
    if not await asyncio.to_thread(paths.database.exists):
        return None
    database = Database(paths.database)
    try:
        await RecallIndex(database).catch_up()
    finally:
        await database.close()
    reading = await ReadOnlyDatabase.existing(paths.database)
    return None if reading is None else Recall(reading, names)


async def _bulk(args: argparse.Namespace, searched: Recall | None, only: Filter) -> int:
    """Answer a file of questions, a line each; lines that are none are named and left out."""
    bad = 0
    with _opened(args.jsonl) as source:
        number = 0
        while lines := await asyncio.to_thread(_lines, source):
            questions: list[_Question] = []
            for line in lines:
                number += 1
                try:
                    questions += _questions(line)
                except _BadLine as error:
                    bad += 1
                    print(f"Line {number:,} was skipped: {error}.", file=sys.stderr)
            queries = [question.query for question in questions]
            answers = await _answers(searched, queries, args.limit, only)
            for question, hits in zip(questions, answers, strict=True):
                _tell(question, hits, as_json=args.json)
    return FAILURE if bad else SUCCESS


async def _answers(
    searched: Recall | None, queries: Sequence[str], limit: int, only: Filter
) -> list[list[Hit]]:
    return await searched.answers(queries, limit, only) if searched is not None else [[] for _ in queries]


@contextmanager
def _opened(file: str) -> Generator[BinaryIO, None, None]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source


def _lines(source: BinaryIO) -> list[bytes]:
    """The next lines, at most a batch; blocks."""
    return [line for _, line in zip(range(BATCH), source, strict=False)]


def _questions(line: bytes) -> list[_Question]:
    """The question on a line, none on an empty one. Raises `_BadLine`."""
    if not line.strip():
        return []
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _BadLine(f"it is no JSON: {error}") from error
    match value:
        case {"query": str() as query}:
            return [_Question(cast("dict[str, object]", value).get("id"), query)]
        case _:
            raise _BadLine("it is no object with a `query`")


def _tell(question: _Question, hits: Sequence[Hit], *, as_json: bool) -> None:
    if as_json:
        answer = {"id": question.id, "results": [_member(hit) for hit in hits]}
        print_bytes(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
        return
    print(f"# {one_line(question.query)}")
    print("\n".join(map(_shown, hits)) if hits else NOTHING)


def _member(hit: Hit, summary: str | None = None) -> dict[str, object]:
    found = hit.found
    told: dict[str, object] = {
        "id": found.source,
        "session": found.session_id,
        "seq": found.seq,
        "score": hit.score,
        "at": found.at,
        "kind": found.kind,
        "speaker": found.speaker,
        "branch": found.branch,
        "text": found.text,
    }
    return told if summary is None else {**told, "summary": summary}


def _shown(hit: Hit, summary: str | None = None) -> str:
    found = hit.found
    when = datetime.fromtimestamp(found.at).astimezone().strftime("%Y-%m-%d %H:%M")
    who = one_line(found.speaker or found.kind)
    text = found.text if summary is None else f"{SUMMARISED} {summary}"
    return f"{found.session_id} {found.seq}  {when}  {who}: {one_line(text)}"


def _moment(text: str) -> float:
    found = moment(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T12:00")
    return found
