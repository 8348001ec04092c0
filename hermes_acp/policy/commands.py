"""What a shell command is about, in words for the question; it relaxes no decision."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

COMMAND_CHARS = 2_000
"""Longer commands are called complex without a look at them: the parser takes quadratic time for some."""

PROGRAMS_SHOWN = 4
"""Programs that a sentence names; more are counted."""

SHELLS = frozenset({"ash", "bash", "dash", "eval", "fish", "ksh", "sh", "source", "zsh", "."})

Table: TypeAlias = Mapping[str, tuple[str, ...]]

NETWORK: Table = {
    **dict.fromkeys(("aria2c", "curl", "ftp", "nc", "ncat", "netcat", "npx", "rsync", "scp", "sftp"), ()),
    **dict.fromkeys(("socat", "ssh", "telnet", "uvx", "wget"), ()),
    **dict.fromkeys(("apt", "apt-get"), ("install", "update", "upgrade")),
    **dict.fromkeys(("npm", "pnpm", "yarn"), ("add", "ci", "install", "publish", "update")),
    **dict.fromkeys(("pip", "pip3"), ("download", "install")),
    "brew": ("install", "update", "upgrade"),
    "cargo": ("add", "install", "publish", "update"),
    "docker": ("login", "pull", "push"),
    "gem": ("install",),
    "git": ("clone", "fetch", "ls-remote", "pull", "push"),
    "go": ("get", "install"),
    "uv": ("add", "lock", "pip", "sync"),
}
"""Programs that are known to use the network: always, or with one of these first words."""

WRITERS: Table = {
    **dict.fromkeys(("chgrp", "chmod", "chown", "cp", "dd", "install", "ln", "mkdir", "mkfifo", "mv"), ()),
    **dict.fromkeys(("patch", "rename", "rm", "rmdir", "rsync", "shred", "tee", "touch", "truncate"), ()),
    **dict.fromkeys(("unlink",), ()),
    "git": ("am", "apply", "checkout", "clean", "mv", "reset", "restore", "rm", "stash", "switch"),
}
"""The same for changing files."""

IN_PLACE = frozenset({"perl", "ruby", "sed"})
"""Programs that change files when an option has an `i`."""

_SAFE_TARGETS = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr"})
_WRITE_OPERATORS = frozenset({">", ">>", ">|", "&>", "&>>", "<>", ">&"})
_SIMPLE = frozenset(
    {
        *("program", "command", "command_name", "word", "number", "string", "string_content", "raw_string"),
        *("concatenation", "redirected_statement", "file_redirect", "file_descriptor", "comment"),
    }
)
_NAME = re.compile(r"[\w./+@-]{1,60}", re.ASCII)
_QUOTES = re.compile(r"[\"'\\]")
_IN_PLACE_OPTION = re.compile(r"-[a-zA-Z]*i|--in-place")


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """What is known about a command; a False is no promise, for any program may do anything.

    `complex` means that the command is more than one program with plain words, or not understood.
    """

    programs: tuple[str, ...]
    writes_files: bool
    network: bool
    complex: bool


def describe(command: str) -> CommandFacts:
    """Parse the command and say what it is about; bounded in time for any text."""
    if len(command) > COMMAND_CHARS:
        return CommandFacts((), writes_files=False, network=False, complex=True)
    root = parsers()().parse(command.encode("utf-8", "replace")).root_node
    programs: dict[str, None] = {}
    writes = network = False
    unclear = root.has_error
    single = 0
    for node in _nodes(root):
        unclear = unclear or (node.is_named and node.type not in _SIMPLE)
        if node.type == "file_redirect":
            writes = writes or _redirect_writes(node)
        elif node.type == "command":
            single += 1
            words = _words(node)
            unclear = unclear or not words
            programs.update(dict.fromkeys(words[:1]))
            network = network or _listed(words, NETWORK)
            writes = writes or _listed(words, WRITERS) or _in_place(words)
    return CommandFacts(tuple(programs), writes, network, unclear or single != 1)


def sentence(facts: CommandFacts) -> str:
    """The facts for the person who has to decide."""
    shown = ", ".join(f"`{name}`" for name in facts.programs[:PROGRAMS_SHOWN])
    if (more := len(facts.programs) - PROGRAMS_SHOWN) > 0:
        shown += f" and {more} more"
    parts = [f"Runs {shown}" if shown else "Runs a command that cannot be summed up, so read it whole"]
    if facts.writes_files:
        parts.append("changes files")
    if facts.network:
        shells = not SHELLS.isdisjoint(map(posixpath.basename, facts.programs))
        parts.append("uses the network" + (" and may run what it downloads" if shells else ""))
    if shown and facts.complex:
        parts.append("is more than one plain command, so read it whole")
    return "; ".join(parts) + "."


@functools.lru_cache(maxsize=1)
def parsers() -> Callable[[], Parser]:
    """What makes parsers of bash; each parse takes its own, so that threads do not share one."""
    # Imported at the first use: it costs some 40 ms, which a start without commands saves.
    import tree_sitter
    import tree_sitter_bash

    language = tree_sitter.Language(tree_sitter_bash.language())
    return functools.partial(tree_sitter.Parser, language)


def _nodes(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _words(command: Node) -> tuple[str, ...]:
    """The program as written and its words, without quotes; empty when the program is not plain."""
    name = command.child_by_field_name("name")
    program = "" if name is None else _text(name)
    if not _NAME.fullmatch(program):
        return ()
    return (program, *map(_text, command.children_by_field_name("argument")))


def _listed(words: tuple[str, ...], table: Table) -> bool:
    first_words = table.get(posixpath.basename(words[0])) if words else None
    return first_words is not None and (not first_words or not set(first_words).isdisjoint(words[1:2]))


def _redirect_writes(redirect: Node) -> bool:
    operators = {child.type for child in redirect.children}
    target = redirect.child_by_field_name("destination")
    if operators.isdisjoint(_WRITE_OPERATORS) or target is None:
        return False
    to_descriptor = ">&" in operators and target.type == "number"
    return not to_descriptor and _text(target) not in _SAFE_TARGETS


def _in_place(words: tuple[str, ...]) -> bool:
    return (
        bool(words)
        and posixpath.basename(words[0]) in IN_PLACE
        and any(map(_IN_PLACE_OPTION.match, words[1:]))
    )


def _text(node: Node) -> str:
    return _QUOTES.sub("", (node.text or b"").decode("utf-8", "replace"))
