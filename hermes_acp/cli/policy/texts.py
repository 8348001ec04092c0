"""`hermes-editor policy scan` and `policy redact`: suspicious places and secrets of many texts."""

from __future__ import annotations

import argparse

from hermes_acp.cli.command import Subparsers
from hermes_acp.cli.policy.lines import BadLineError, Fields, answer
from hermes_acp.policy import injection, secrets

LINE_BYTES = 64 * 1024 * 1024
"""A longer line is an error, and is not kept in memory; JSON takes up to six bytes for a character."""

_HELP = 'lines like {"id": 1, "text": "…"}; - is standard input'


def register(actions: Subparsers) -> None:
    """Add both actions to those of `policy`."""
    scan = actions.add_parser("scan", help="the suspicious places of many texts")
    redact = actions.add_parser("redact", help="many texts without their secrets")
    for parser in (scan, redact):
        parser.add_argument("--jsonl", dest="subject", metavar="FILE", required=True, help=_HELP)


def run(args: argparse.Namespace) -> int:
    """Answer each line: 0, or 1 when one of them could not be answered or the file not be read."""
    return answer(args.subject, LINE_BYTES, _scanned if args.action == "scan" else _redacted)


def _scanned(fields: Fields) -> Fields:
    spans = injection.scan(_text(fields))
    return {"spans": [[span.start, span.end, span.kind] for span in spans]}


def _redacted(fields: Fields) -> Fields:
    return {"text": secrets.redact(_text(fields))}


def _text(fields: Fields) -> str:
    text = fields.get("text")
    if not isinstance(text, str):
        raise BadLineError("`text` has to be a text")
    return text
