"""`hermes-editor sessions import`: makes sessions of conversations that were held elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hermes_acp.cli import history
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.history import NoFolder
from hermes_acp.cli.screen import one_line
from hermes_acp.cli.sessions.store import Store, print_json
from hermes_acp.memory.importing.formats import FORMATS, Format, Transcript, read
from hermes_acp.memory.importing.sessions import Imported, Importer, Target
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.database import Database
from hermes_acp.storage.recall_index import RecallIndex

STDIN = "-"
SKIPPED_SHOWN = 20
"""Lines that were left out and are named on standard error."""


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("import", help="take in conversations that were held elsewhere")
    parser.add_argument("file", metavar="FILE", help="a transcript; - is standard input")
    parser.add_argument(
        "--cwd", metavar="DIR", help="the folder whose project they are about (default: here)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="jsonl",
        help="jsonl (the default: {session, at, role, speaker, text, id} a line), claude-code or codex",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(args: argparse.Namespace, store: Store, _env: Mapping[str, str]) -> int:
    """Take in a file; what is there already stays as it is. Raises `StorageError`."""
    try:
        about = await history.of_folder(args.cwd, store.paths)
        transcript = await asyncio.to_thread(_read, args.file, args.format)
    except (NoFolder, OSError) as error:
        return fail(str(error))
    target = Target(about.names[0], about.cwd, about.real_cwd)
    database = Database(store.paths.database)
    try:
        imported = await Importer(database, Claims(store.paths.claims), target).take(transcript.sessions)
        # Here, where somebody waits for it anyway, and not with the first question.
        await RecallIndex(database).catch_up()
    finally:
        await database.close()
    _tell(imported, transcript, as_json=args.json)
    done = imported.added or imported.known or not transcript.skipped
    return SUCCESS if done and not imported.in_use else FAILURE


def _read(file: str, form: Format) -> Transcript:
    if file == STDIN:
        return read(sys.stdin.buffer, form)
    with Path(file).open("rb") as source:
        return read(source, form)


def _tell(imported: Imported, transcript: Transcript, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(imported), "skipped": transcript.skipped})
    else:
        print(
            f"New: {imported.sessions:,} sessions, {imported.added:,} messages and calls. "
            f"Known already: {imported.known:,}."
        )
    for session_id, reason in imported.in_use.items():
        print(f"{session_id} was left as it is. {reason}", file=sys.stderr)
    for item in transcript.skipped[:SKIPPED_SHOWN]:
        print(f"Line {item.line:,} was skipped: {one_line(item.reason)}.", file=sys.stderr)
    if (more := len(transcript.skipped) - SKIPPED_SHOWN) > 0:
        print(f"{more:,} more lines were skipped.", file=sys.stderr)
