"""`hermes-editor sessions export`: conversations as files, for people or for programs."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, cast

import orjson

from hermes_acp.cli.command import BAD_USAGE, SUCCESS, Subparsers, fail
from hermes_acp.cli.conversation import markdown
from hermes_acp.cli.screen import one_line
from hermes_acp.cli.sessions.store import Store, print_bytes
from hermes_acp.cli.whole_file import replace_file
from hermes_acp.events import Envelope
from hermes_acp.policy import secrets
from hermes_acp.storage.sessions import SessionRow

Format: TypeAlias = Literal["markdown", "jsonl", "json"]

ENDINGS: dict[Format, str] = {"markdown": ".md", "jsonl": ".jsonl", "json": ".json"}
PICTURES = ("data", "blob")
"""What holds nothing but base64."""
STDOUT = "-"
FILE_MODE = 0o600
FOLDER_MODE = 0o700
WHAT = "Say which session: an id, or --all --to DIR, but not both."


class Refusal(Exception):
    """A file cannot be written; `str()` says which and what to do."""


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("export", help="a conversation, or all, as Markdown or JSON")
    parser.add_argument("session_id", nargs="?", metavar="ID", help="an id, or the beginning of one")
    parser.add_argument("--all", action="store_true", help="each conversation as a file in the folder --to")
    parser.add_argument(
        "--format",
        choices=tuple(ENDINGS),
        default="markdown",
        help="markdown (the default, shortened), jsonl (an event a line) or json (all there is)",
    )
    parser.add_argument(
        "--to", metavar="PATH", default=STDOUT, help="a new file (default -: standard output)"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there already")


async def run(args: argparse.Namespace, store: Store, _env: Mapping[str, str]) -> int:
    """Write what is asked for. Raises `StorageError` and `NoSession`."""
    if bool(args.session_id) == args.all or (args.all and args.to == STDOUT):
        print(WHAT, file=sys.stderr)
        return BAD_USAGE
    try:
        if args.all:
            return await _export_all(store, Path(args.to), args.format, force=args.force)
        return await _export(store, args.session_id, args.to, args.format, force=args.force)
    except Refusal as refusal:
        return fail(str(refusal))


def rendered(row: SessionRow, envelopes: Sequence[Envelope], form: Format) -> str:
    """The conversation as text that ends with a line feed; no lines at all in `jsonl` without events."""
    if form == "markdown":
        return secrets.redact(markdown(row, envelopes))
    if form == "jsonl":
        lines = (orjson.dumps(_told(envelope), option=orjson.OPT_APPEND_NEWLINE) for envelope in envelopes)
        return b"".join(lines).decode()
    whole = _told({"session": row, "events": envelopes})
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _told(record: object) -> object:
    """What is exported of a record: journals of older versions have secrets in them."""
    return _without_secrets(cast("object", orjson.loads(orjson.dumps(record))))


def _without_secrets(value: object) -> object:
    match value:
        case str():
            return secrets.redact(value)
        case list():
            return [_without_secrets(item) for item in cast("list[object]", value)]
        case dict():
            fields = cast("dict[str, object]", value)
            return {
                name: item if name in PICTURES else _without_secrets(item) for name, item in fields.items()
            }
        case _:
            return value


async def _export(store: Store, typed: str, to: str, form: Format, *, force: bool) -> int:
    row = await store.chosen(typed)
    text = await asyncio.to_thread(rendered, row, await store.events(row), form)
    if to == STDOUT:
        print_bytes(text.encode())
    else:
        await asyncio.to_thread(_write, Path(to), text, force=force)
        print(f"Exported {row.session_id} to {one_line(to)}.")
    return SUCCESS


async def _export_all(store: Store, folder: Path, form: Format, *, force: bool) -> int:
    rows = await store.all()
    files = {row.session_id: folder / f"{row.session_id}{ENDINGS[form]}" for row in rows}
    await asyncio.to_thread(_prepare, folder, list(files.values()), force=force)
    for row in rows:
        text = await asyncio.to_thread(rendered, row, await store.events(row), form)
        await asyncio.to_thread(_write, files[row.session_id], text, force=force)
    print(f"Exported {len(rows)} sessions to {one_line(str(folder))}.")
    return SUCCESS


def _prepare(folder: Path, files: list[Path], *, force: bool) -> None:
    """Make the folder; nothing is written when a file is in the way. Raises `Refusal`."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        there = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise _refusal(folder, error) from error
    for file in files:
        if file.name in there and not force:
            raise _taken(file)


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write a private file as a whole or not at all. Raises `Refusal`."""
    try:
        reserved = _reserve(path, force=force)
        try:
            replace_file(path, text, FILE_MODE)
        except BaseException:
            if reserved:
                path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refusal(path, error) from error


def _reserve(path: Path, *, force: bool) -> bool:
    """Whether there was nothing and the name is ours now. Raises `Refusal` and `OSError`."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))
    except FileExistsError as error:
        if not force:
            raise _taken(path) from error
        # A folder or a device would be replaced by a file.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise Refusal(f"{one_line(str(path))} is not a plain file: name another one.") from error
        return False
    return True


def _taken(path: Path) -> Refusal:
    return Refusal(f"{one_line(str(path))} is there already: name another one, or add --force to replace it.")


def _refusal(path: Path, error: OSError) -> Refusal:
    return Refusal(f"{one_line(str(path))} cannot be written: {error.strerror or error}.")
