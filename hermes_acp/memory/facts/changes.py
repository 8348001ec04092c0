"""Changes of facts: what somebody wants."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.memory.facts.fact import Author, Evidence, Fact, Kind
from hermes_acp.records import record


@record
class Remember:
    """A new fact. With a `key` it replaces what holds here with that key.

    `reach` is how far it holds: on the `branch` (or in the project, for kinds that no branch has), in the
    `project`, or for the `user` in all of them. With `proposed` it waits to be confirmed, whatever proves it.
    """

    kind: Kind
    text: str
    key: str = ""
    author: Author = "agent"
    reach: Literal["branch", "project", "user"] = "branch"
    confidence: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    derived_from: tuple[str, ...] = ()
    proposed: bool = False


@record
class Supersede:
    """A new fact of the kind and key of another one that held until now, which it replaces.

    With `proposed` it waits to be confirmed.
    """

    fact_id: str
    text: str
    author: Author = "agent"
    confidence: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    derived_from: tuple[str, ...] = ()
    proposed: bool = False


@record
class Amend:
    """Another wording of the same fact; what is None stays.

    On a branch an agent cannot reword what holds beyond it: that becomes a `Supersede` there.
    """

    fact_id: str
    text: str | None = None
    key: str | None = None
    kind: Kind | None = None
    confidence: float | None = None
    author: Author = "agent"
    evidence: tuple[Evidence, ...] = ()


@record
class Retract:
    """A fact is wrong, everywhere: what it had replaced holds again."""

    fact_id: str


@record
class Confirm:
    """A proposal holds from now on, or what was taken back holds again."""

    fact_id: str


@record
class Take:
    """A fact from elsewhere as it is, unless this one is here already and not older."""

    fact: Fact


@record
class Observe:
    """Evidence for a claim about the user, which holds once enough sessions speak for it (see `claims`).

    What the user confirmed, wrote or took back themselves stays as it is.
    """

    key: str
    kind: Kind
    text: str
    evidence: tuple[Evidence, ...]


Change: TypeAlias = Remember | Supersede | Amend | Retract | Confirm | Take | Observe
