"""What is said about a command: the verdict, its parts and what each of them does. Pure data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from hermes_acp.records import record

Decision: TypeAlias = Literal["allow", "ask", "deny"]

Kind: TypeAlias = Literal["reads", "writes", "deletes", "network", "executes", "history"]
"""What a command does; `history`: it changes the history of a repository."""

CHANGES: tuple[Kind, ...] = ("writes", "deletes", "network", "executes", "history")
"""All kinds that need a question."""


@record
class Place:
    """Where a command runs and what it may look at: real paths; `roots` are those of the workspace.

    `protected` are the folders of this program.
    """

    cwd: str
    roots: tuple[str, ...]
    protected: tuple[str, ...] = ()


@record
class Consequence:
    """One thing that a command does, and the paths or hosts concerned, as far as they are known."""

    kind: Kind
    targets: tuple[str, ...] = ()


@record
class Rest:
    """What decides what a command does, looked for from `cwd`: `how` it is found, by which `names`.

    - `scripts`: the named script of the nearest `package.json`, with those that it starts.
    - `makefile`: the makefile that `make` takes, with what it includes.
    - `nearest`: the files of these names in the nearest folder that has one of them.
    - `file`: the file of this name.
    """

    how: Literal["scripts", "makefile", "nearest", "file"]
    names: tuple[str, ...]
    cwd: str


@record
class Called:
    """How rules know a simple command.

    `runs` are the words of each program that it runs, its own first; a sub-command stands right behind its
    program where the options before it are understood. `meaning` are the words that say what it does, empty
    when something in the command goes beyond them, or when only its whole text can say it. `known`: the table
    says how such a command is remembered. `plain`: nothing but words that are what they seem. `cwd` is empty
    when it may run in several folders.
    """

    runs: tuple[tuple[str, ...], ...]
    meaning: tuple[str, ...] = ()
    known: bool = False
    plain: bool = False
    cwd: str = ""
    rests: tuple[Rest, ...] = ()


@record
class Part:
    """A simple command of the whole, judged by itself; `reason` is empty for a harmless one."""

    text: str
    decision: Decision
    effects: tuple[Consequence, ...] = ()
    reason: str = ""
    called: Called = Called(())


@record
class Judgement:
    """The verdict on a command: `reason` is a sentence for the person, or for the model with `deny`.

    `divisible`: what the parts do is all that it does, so that each may be allowed by itself.
    """

    decision: Decision
    reason: str
    parts: tuple[Part, ...] = ()
    divisible: bool = False

    @property
    def effects(self) -> tuple[Consequence, ...]:
        """What all parts do together."""
        return merged(effect for part in self.parts for effect in part.effects)


def merged(effects: Iterable[Consequence]) -> tuple[Consequence, ...]:
    """Effects of several parts as those of one, in a stable order."""
    kinds: dict[Kind, dict[str, None]] = {}
    for effect in effects:
        kinds.setdefault(effect.kind, {}).update(dict.fromkeys(effect.targets))
    order: tuple[Kind, ...] = ("reads", *CHANGES)
    return tuple(Consequence(kind, tuple(kinds[kind])) for kind in order if kind in kinds)
