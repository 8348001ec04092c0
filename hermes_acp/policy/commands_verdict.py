"""What is said about a command: the verdict, its parts and what each of them does. Pure data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Decision: TypeAlias = Literal["allow", "ask", "deny"]

Kind: TypeAlias = Literal["reads", "writes", "deletes", "network", "executes", "history"]
"""What a command does; `history`: it changes the history of a repository."""

CHANGES: tuple[Kind, ...] = ("writes", "deletes", "network", "executes", "history")
"""All kinds that need a question."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs and what it may look at: real paths; `roots` are those of the workspace.

    `protected` are the folders of this program.
    """

    cwd: str
    roots: tuple[str, ...]
    protected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consequence:
    """One thing that a command does, and the paths or hosts concerned, as far as they are known."""

    kind: Kind
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A simple command of the whole, judged by itself; `reason` is empty for a harmless one."""

    text: str
    decision: Decision
    effects: tuple[Consequence, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a command: `reason` is a sentence for the person, or for the model with `deny`."""

    decision: Decision
    reason: str
    parts: tuple[Part, ...] = ()

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
