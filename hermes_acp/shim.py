"""The start of the program, standard library only: editors get their protocol, people the commands.

Standard output belongs to the protocol alone. Before any other module is imported, its descriptor is
kept aside and descriptor 1 is pointed at standard error, so that no library and no child process can
write a byte between two messages.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import cast

PROTOCOLS = {"acp": "acp", "lsp": "lsp"}
STANDALONE = "--standalone"


def main(argv: list[str]) -> int:
    """Start as a protocol server or as a command. Returns the exit code."""
    words = [word for word in argv if word != STANDALONE]
    if not words and not sys.stdin.isatty():
        return serve(None)
    if len(words) == 1 and words[0] in PROTOCOLS:
        return serve(words[0])
    # Commands import what they need; the protocol path above must not pay for them.
    return cast("int", import_module("hermes_acp.cli.main").main(argv))


def serve(protocol: str | None) -> int:
    """Host the server in this process and speak `protocol` on standard input and output."""
    source, target = guard()
    # Other packages' pydantic plugins have no business here, and looking for them takes time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251 (before any import)
    # Nothing that imports make is garbage; `app.stdio` lets the collector work again.
    gc.disable()
    # Imported only now: the descriptors are safe.
    return cast("int", import_module("hermes_acp.app").stdio(protocol, source, target))


def guard() -> tuple[int, int]:
    """Keep standard input and output for the protocol: the descriptors to use instead of 0 and 1.

    Afterwards descriptor 0 reads nothing and descriptor 1 writes to standard error.
    """
    source, target = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, target
