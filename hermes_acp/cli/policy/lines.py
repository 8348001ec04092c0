"""Files of JSON lines: a request a line, and an answer a line, in their order."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from hermes_acp.cli.command import FAILURE, SUCCESS, fail
from hermes_acp.policy.rules.rules import visible

Fields: TypeAlias = Mapping[str, object]
"""The members of a JSON object."""

STDIN = "-"
"""The name of the file that is standard input."""


class BadLineError(Exception):
    """A line asks for nothing that can be answered; `str()` says what it has to have."""


def answer(file: str, limit: int, reply: Callable[[Fields], Fields], *, bad: int = FAILURE) -> int:
    """Print a reply for each line of a file; `reply` may raise `BadLineError`. The exit code.

    A line without an answer, or one longer than `limit` bytes, is answered with an error, and the
    others are still answered; the exit code is `bad` when there was one.
    """
    code = SUCCESS
    try:
        with contextlib.ExitStack() as stack:
            source = sys.stdin.buffer if file == STDIN else stack.enter_context(Path(file).open("rb"))
            for number, line in enumerate(_lines(source, limit), start=1):
                if not line.strip():
                    continue
                answered = _answered(line, number, reply)
                code = bad if "error" in answered else code
                print(json.dumps(answered), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"{visible(file)} cannot be read: {error.strerror}.")
    return code


def _lines(source: BinaryIO, limit: int) -> Iterable[bytes]:
    """The lines; of one that is too long only a beginning that is no JSON."""
    while line := source.readline(limit):
        if len(line) == limit and not line.endswith(b"\n"):
            while (rest := source.readline(limit)) and not rest.endswith(b"\n"):
                pass
        yield line


def _answered(line: bytes, number: int, reply: Callable[[Fields], Fields]) -> Fields:
    try:
        row = cast("object", json.loads(line))
    except (ValueError, RecursionError):
        return {"id": None, "error": f"Line {number} is not JSON in UTF-8, or is too long."}
    if not isinstance(row, dict):
        return {"id": None, "error": f"Line {number} is no JSON object."}
    fields = cast("Fields", row)
    try:
        return {"id": fields.get("id"), **reply(fields)}
    except BadLineError as error:
        return {"id": fields.get("id"), "error": f"Line {number}: {error}."}
