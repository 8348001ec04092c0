"""What commands leave behind in a session's shell: directory, variables, aliases, functions. Pure data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from types import MappingProxyType

from hermes_acp.records import record

NAMES_TOLD = 12
"""Names of one kind that are told to the model; a script that is sourced may define hundreds."""

NOTHING: Mapping[str, str] = MappingProxyType({})

NOT_FOUND = "command_not_found_handle"
"""A function that the shell calls by itself, for every program that it does not find."""

PREVIOUS = "OLDPWD"
"""The variable that `cd -` reads: it changes with every `cd`, and says nothing more."""

_WORD = re.compile(r"[^\s;&|<>()\"'`$={}\\]+")


@record
class Functions:
    """The functions of a shell: `text` defines them all; `exported` ones reach child shells too."""

    text: str = ""
    names: frozenset[str] = frozenset()
    exported: frozenset[str] = frozenset()


@record
class ShellState:
    """A shell between two commands, as the difference to the shell that a session begins with.

    `cwd` is a real path. `exported` and `removed` change the environment that the execution gives to
    every command. `variables` are all others, by name, each as the `declare` command of bash that makes
    it; `aliases` in the same way. `options` are commands that set what differs (`set`, `shopt`, `umask`).
    """

    cwd: str
    exported: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    removed: frozenset[str] = frozenset()
    variables: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    aliases: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    functions: Functions = Functions()
    options: tuple[str, ...] = ()

    def altered(self, command: str) -> tuple[str, ...]:
        """What makes `command` mean something else here than in a new shell, in words.

        The environment, exported functions and options may concern any command, and so may variables in
        capitals, which the shell itself reads; all else concerns commands that hold its name. For the
        policy: when this is not empty, a command that is known to be harmless is known no longer.
        """
        words = frozenset(_WORD.findall(command))

        def named(name: str) -> bool:
            return name in words or (name in command and not _WORD.fullmatch(name))

        everywhere = self.functions.exported | {NOT_FOUND}
        variables = {name for name in self.variables if name.isupper() or named(name)}
        variables |= {*self.exported, *self.removed} - {PREVIOUS}
        functions = {name for name in self.functions.names if name in everywhere or named(name)}
        return (
            *(f"variable {name}" for name in sorted(variables)),
            *(f"alias {name}" for name in sorted(filter(named, self.aliases))),
            *(f"function {name}" for name in sorted(functions)),
            *(f"option {option}" for option in self.options),
        )

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of the next command, made from that of a new shell."""
        kept = {name: value for name, value in base.items() if name not in self.removed}
        return kept | dict(self.exported)


def merged(now: ShellState, before: ShellState, after: ShellState) -> ShellState:
    """What a command changed (from `before` to `after`), applied to the shell as it is `now`.

    Commands may run at the same time: each keeps what it did, the last one wins where they meet.
    """
    if now == before:
        return after
    return replace(
        now,
        cwd=after.cwd if after.cwd != before.cwd else now.cwd,
        exported=_merged(now.exported, before.exported, after.exported),
        removed=(now.removed - (before.removed - after.removed)) | (after.removed - before.removed),
        variables=_merged(now.variables, before.variables, after.variables),
        aliases=_merged(now.aliases, before.aliases, after.aliases),
        functions=after.functions if after.functions != before.functions else now.functions,
        options=after.options if after.options != before.options else now.options,
    )


def changes(before: ShellState, after: ShellState) -> str:
    """What differs, in words for the model: names only, because values may be secrets. Empty: nothing."""
    exported = _changed(before.exported, after.exported) - {PREVIOUS}
    gone = (before.exported.keys() - after.exported.keys()) | (after.removed - before.removed)
    back = before.removed - after.removed
    variables = _changed(before.variables, after.variables)
    unset = (before.variables.keys() - after.variables.keys()) | gone
    functions = after.functions.names - before.functions.names
    rewritten = before.functions.text != after.functions.text and not functions
    aliases = _changed(before.aliases, after.aliases)
    parts = (
        f"now in {after.cwd}" if before.cwd != after.cwd else "",
        _list("exported", exported | back),
        _list("set", variables - exported),
        _list("unset", unset - exported - back - variables - {PREVIOUS}),
        _list("aliases", aliases),
        _list("aliases removed", before.aliases.keys() - after.aliases.keys()),
        _list("functions", functions),
        "functions changed" if rewritten else "",
        _list("options", set(after.options).difference(before.options)),
        _list("options ended", set(before.options).difference(after.options)),
    )
    return "; ".join(part for part in parts if part)


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name, value in after.items() if before.get(name) != value}


def _merged(now: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> Mapping[str, str]:
    kept = {name: value for name, value in now.items() if name in after or name not in before}
    return kept | {name: after[name] for name in _changed(before, after)}


def _list(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return ""
    more = f" and {len(ordered) - NAMES_TOLD} more" if len(ordered) > NAMES_TOLD else ""
    return f"{what} {', '.join(ordered[:NAMES_TOLD])}{more}"
