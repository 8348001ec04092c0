"""What a shell command does: unasked, asked for or refused, and why, for the gate and the person.

Only what is fully understood may run unasked: a tree of known parts, words without surprises,
programs and options of the table, and files of the workspace. All else is a question.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from hermes_acp.policy.commands.verdict import Called, Consequence, Judgement, Kind, Part, Place

if TYPE_CHECKING:
    from tree_sitter import Parser

__all__ = [
    "COMMAND_CHARS",
    "Called",
    "Consequence",
    "Judgement",
    "Kind",
    "Part",
    "Place",
    "classify",
    "parsers",
]

COMMAND_CHARS = 4_000
"""Longer commands are asked for without a look at them."""

OPERATORS = 80
"""Pipes, redirections and expansions in one command; the parser takes quadratic time for some."""

_ODD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def classify(command: str, place: Place) -> Judgement:
    """Judge a command that would run in `place`; never raises, and bounded in time for any text.

    Looks at the names of files, and the first call loads the parser (some 60 ms): call it in a thread.
    """
    if odd := _odd(command) or _nowhere(place.cwd):
        return _unread(odd)
    # Imported at the first use, as the parser is: a start without commands saves some 30 ms.
    from hermes_acp.policy.commands import syntax, whole

    source = command.encode()
    root = parsers()().parse(source).root_node
    found = list(syntax.steps(root, source))
    if root.has_error:
        found.append(syntax.Obstacle("is not complete, or not a command of bash"))
    return whole.judged(found, place)


@functools.lru_cache(maxsize=1)
def parsers() -> Callable[[], Parser]:
    """What makes parsers of bash; each parse takes its own, so that threads do not share one."""
    # Imported at the first use: it costs some 40 ms, which a start without commands saves.
    import tree_sitter
    import tree_sitter_bash

    language = tree_sitter.Language(tree_sitter_bash.language())
    return functools.partial(tree_sitter.Parser, language)


def _odd(command: str) -> str:
    """Why a text is not even parsed; empty for all that a person can see as it is."""
    if len(command) > COMMAND_CHARS:
        return f"it has more than {COMMAND_CHARS:,} characters"
    if sum(map(command.count, ("|", "<", "${"))) > OPERATORS:
        return f"it has more than {OPERATORS} pipes, redirections and expansions"
    if not command.isascii() or not command.isprintable():
        for char in command:
            if char not in " \n\t" and _invisible(char):
                return f"it holds the character U+{ord(char):04X}, which cannot be seen"
    return ""


def _nowhere(cwd: str) -> str:
    """Why nothing can be said about files of this folder; empty for a name that a folder can have."""
    try:
        return "" if b"\0" not in os.fsencode(cwd) else "its folder has no possible name"
    except UnicodeEncodeError:
        return "its folder has no possible name"


def _invisible(char: str) -> bool:
    if unicodedata.category(char) in _ODD_CATEGORIES or char in _INVISIBLE:
        return True
    return 0xFE00 <= ord(char) <= 0xFE0F or 0xE0100 <= ord(char) <= 0xE01EF


def _unread(why: str) -> Judgement:
    return Judgement("ask", f"Runs a command that cannot be summed up, so read it whole: {why}.")
