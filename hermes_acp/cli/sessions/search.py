"""`hermes-editor sessions search`: finds conversations by what was said in them."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping

import orjson

from hermes_acp.cli.command import BAD_USAGE, SUCCESS, Subparsers
from hermes_acp.cli.screen import safe
from hermes_acp.cli.sessions.store import Store, print_bytes, when
from hermes_acp.records import record
from hermes_acp.storage.session_search import Hit
from hermes_acp.storage.words import BadWords, Place, Words, normal

LIMIT = 20
"""Sessions that are shown when no other number is asked for."""
CONTEXT_CHARS = 160
"""Characters of the line that is shown of a conversation."""
BEFORE_CHARS = 40
"""Of these, how many come before the first word."""
PLACES = 200
"""Places of each word in a text, among which the line with the most words is chosen."""

MARK, END = "\x1b[1m", "\x1b[0m"
NOTHING = "No session has all of these words."
SPEAKERS = {"user": "You: ", "agent": "Agent: ", "tool": "Tool: ", "title": ""}


@record
class Line:
    """A part of a text, on one line, and where the words stand in it."""

    text: str
    places: tuple[Place, ...]


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("search", help="conversations in which all of these words were said")
    parser.add_argument("words", nargs="+", metavar="WORD", help="a word, or a part of one, in any case")
    parser.add_argument("--cwd", metavar="DIR", help="only conversations about this folder")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"how many (default {LIMIT})")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each")


async def run(args: argparse.Namespace, store: Store, env: Mapping[str, str]) -> int:
    """Print what was found, best first. Raises `StorageError`."""
    try:
        words = Words.of(args.words)
    except BadWords as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    real_cwd = await asyncio.to_thread(os.path.realpath, args.cwd) if args.cwd else None
    hits = await store.search(words, real_cwd, args.limit)
    if args.json:
        print_bytes(b"".join(_json(hit, words) for hit in hits))
    elif hits:
        marks = (MARK, END) if sys.stdout.isatty() and not env.get("NO_COLOR") else ("", "")
        print("\n".join(_shown(hit, words, marks) for hit in hits))
    else:
        print(NOTHING)
    return SUCCESS


def context(text: str, words: Words) -> Line:
    """The part of a `normal` text in which the most different words are together."""
    flat = " ".join(text.split())
    places = words.places(flat, PLACES)
    first = max(range(len(places)), key=lambda index: _together(places, index), default=None)
    start, stop = (places[first].start, places[first].end) if first is not None else (0, 0)
    begin = max(0, start - BEFORE_CHARS)
    end = max(begin + CONTEXT_CHARS, stop)
    before, after = "…" * (begin > 0), "…" * (end < len(flat))
    shift = len(before) - begin
    inside = (place for place in places if begin <= place.start and place.end <= end)
    return Line(
        before + flat[begin:end] + after,
        tuple(Place(place.start + shift, place.end + shift, place.word) for place in inside),
    )


def marked(line: Line, marks: tuple[str, str]) -> str:
    """The line, fit for a terminal, with each place between the marks."""
    parts: list[str] = []
    done = 0
    for place in line.places:
        # Words may overlap.
        start, end = max(place.start, done), max(place.end, done)
        if start < end:
            parts += [safe(line.text[done:start]), marks[0], safe(line.text[start:end]), marks[1]]
            done = end
    return "".join([*parts, safe(line.text[done:])])


def _together(places: list[Place], first: int) -> int:
    """How many different words the line would have that begins with the place of this number."""
    last = places[first].start + CONTEXT_CHARS - BEFORE_CHARS
    near = places[first : first + CONTEXT_CHARS]
    return len({place.word for place in near if place.end <= last})


def _shown(hit: Hit, words: Words, marks: tuple[str, str]) -> str:
    row = hit.session
    title = marked(context(normal(row.title or "-"), words), marks)
    head = f"{row.session_id}  {when(row)}  {title}"
    if hit.speaker == "title":
        return head
    return f"{head}\n    {SPEAKERS[hit.speaker]}{marked(context(hit.text, words), marks)}"


def _json(hit: Hit, words: Words) -> bytes:
    row = hit.session
    found = {
        "session_id": row.session_id,
        "title": row.title,
        "cwd": row.cwd,
        "updated_at": row.updated_at,
        "matches": hit.matches,
        "speaker": hit.speaker,
        "seq": hit.seq,
        "context": context(hit.text, words).text,
    }
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
