"""What a command of `hermes-editor` is, and what all of them print alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, cast

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]

PROGRAM = "hermes-editor"

SUCCESS = 0
FAILURE = 1
"""The exit code when something could not be done; standard error says why."""
BAD_USAGE = 2
"""The exit code when the command line or the settings are wrong; argparse uses the same."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class Command(Protocol):
    """A module of this package that is a command."""

    def register(self, subparsers: Subparsers) -> None:
        """Add the command's arguments."""
        ...

    def run(self, args: argparse.Namespace, env: Mapping[str, str]) -> int:
        """Do it. Returns the exit code; failures are printed, but `config.ConfigError` is raised."""
        ...


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Left-aligned columns, two spaces apart, without trailing spaces."""
    widths = [max(map(len, cast("Iterable[str]", column))) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def fail(message: str) -> int:
    """Say on standard error what went wrong; the exit code."""
    print(message, file=sys.stderr)
    return FAILURE
