"""Where facts hold: with the user, in a project, or only on a branch of its code; the narrowest wins.

`user` holds in all projects, `project` in all worktrees and clones of one, `overlay/<branch>` on one
branch until that is merged, `session/<id>` for the work of a session without a branch. What a branch
left behind lies in `archive/<branch>` and holds nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from hermes_acp.memory.facts.fact import Fact, Kind
from hermes_acp.records import record

USER = "user"
"""The scope of the user's facts, and the name of their store; other stores have the id of a project."""
PROJECT = "project"
OVERLAY = "overlay/"
SESSION = "session/"
ARCHIVE = "archive/"

OF_BRANCHES: frozenset[Kind] = frozenset({"code-fact", "decision", "procedure", "pitfall"})
"""What depends on the code; preferences and facts about the environment hold on all branches."""


@record
class Place:
    """Where somebody works: a project (empty: none), the scope of its branch, projects around it.

    `parents` have the project as a submodule, the nearest one first: their facts are read there,
    never written.
    """

    project: str
    scope: str = PROJECT
    parents: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of the project that hold here, the narrowest first."""
        return (self.scope,) if self.scope == PROJECT else (self.scope, PROJECT)

    def scope_for(self, kind: Kind) -> str:
        """Where a new fact of a kind goes, unless it is the user's."""
        return self.scope if kind in OF_BRANCHES else PROJECT


def scope_at(branch: str, default: str, session: str) -> str:
    """The narrowest scope on a branch; an empty `branch` is a detached HEAD, an empty `default` no git."""
    if not default or branch == default:
        return PROJECT
    return f"{OVERLAY}{branch}" if branch else f"{SESSION}{session}"


def store_of(scope: str, project: str) -> str:
    """The store that facts of a scope are kept in."""
    return USER if scope == USER else project


def visible(layers: Sequence[Iterable[Fact]]) -> list[Fact]:
    """The facts that hold where these layers lie on each other, the narrowest layer first.

    A fact is hidden by one of a narrower layer that replaces it, and by one with its key that is in a
    narrower layer, or newer in its own.
    """
    hidden: set[str] = set()
    keys: set[str] = set()
    found: list[Fact] = []
    for layer in layers:
        facts = sorted(layer, key=lambda fact: (fact.updated, fact.id), reverse=True)
        for fact in facts:
            if fact.status == "active" and fact.id not in hidden and not (fact.key and fact.key in keys):
                found.append(fact)
                keys.add(fact.key)
        hidden.update(other for fact in facts if fact.stands for other in fact.supersedes)
    return found


# --- what becomes of a branch ----------------------------------------------------------------------


@record
class Known:
    """A branch at a look: its last commit, and whether there was work on it that no other had."""

    tip: str
    worked: bool


@record
class Move:
    """All facts of the scope `source` belong to the scope `target` from now on."""

    why: Literal["merged", "renamed", "deleted", "recovered"]
    source: str
    target: str


class Branches(Protocol):
    """What a repository says about its branches now; commits by their names."""

    @property
    def default(self) -> str:
        """The branch that others are merged into."""
        ...

    @property
    def head(self) -> str:
        """The commit of a detached HEAD; empty on a branch."""
        ...

    @property
    def tips(self) -> Mapping[str, str]:
        """The last commit of each local branch."""
        ...

    @property
    def landed(self) -> Collection[str]:
        """Commits that are in the default branch: themselves, or by the changes that they make."""
        ...

    @property
    def worked(self) -> Collection[str]:
        """Branches that got commits of their own since the last look."""
        ...

    @property
    def merged(self) -> Collection[str]:
        """Branches of which somebody said here that they merge them, since the last look."""
        ...

    @property
    def renamed(self) -> Mapping[str, str]:
        """Former names of branches, with the new ones."""
        ...


def reconcile(scopes: Iterable[str], known: Mapping[str, Known], now: Branches) -> tuple[Move, ...]:
    """What becomes of these scopes, after what was known of their branches at the last look.

    A branch that nobody has looked at before stays as it is: nothing is known of its past.
    """
    moves: list[Move] = []
    for scope in sorted(scopes):
        if (then := known.get(scope)) is None:
            continue
        move = (_of_branch if _is_branch(scope) else _of_session)(scope, then, known, now)
        if move is not None:
            moves.append(move)
    return tuple(moves)


@record
class Asked:
    """What a look has to find out: `before` has the last commit of each branch at the last look, `wanted`
    names those with facts, `commits` are where sessions stood that have some."""

    before: Mapping[str, str]
    wanted: tuple[str, ...]
    commits: tuple[str, ...]


def asked(known: Mapping[str, Known], used: Collection[str]) -> Asked:
    """What to find out about the scopes that are in use."""
    branches = {scope.removeprefix(OVERLAY): item.tip for scope, item in known.items() if _is_branch(scope)}
    wanted = tuple(sorted(name for name in branches if f"{OVERLAY}{name}" in used))
    sessions = {item.tip for scope, item in known.items() if scope in used and not _is_branch(scope)}
    return Asked(branches, wanted, tuple(sorted(sessions)))


def look(
    known: Mapping[str, Known], now: Branches, used: Collection[str], session: str = ""
) -> dict[str, Known]:
    """What to know at the next look, of branches and of `used` scopes; `session` has a detached HEAD."""
    found = {f"{OVERLAY}{branch}": Known(tip, tip not in now.landed) for branch, tip in now.tips.items()}
    found |= {scope: then for scope, then in known.items() if scope in used and not _is_branch(scope)}
    if session and now.head:
        found[f"{SESSION}{session}"] = Known(now.head, now.head not in now.landed)
    return found


def _is_branch(scope: str) -> bool:
    return scope.startswith(OVERLAY)


def _of_branch(scope: str, then: Known, known: Mapping[str, Known], now: Branches) -> Move | None:
    branch = scope.removeprefix(OVERLAY)
    if branch == now.default:
        return Move("merged", scope, PROJECT)
    tip = now.tips.get(branch)
    if tip is None and (renamed := now.renamed.get(branch, "")) in now.tips:
        return Move("renamed", scope, _scope_of(renamed, now))
    if _is_merged(branch, tip or then.tip, then, now):
        return Move("merged", scope, PROJECT)
    if tip is not None:
        return None
    if heir := _heir(then, known, now):
        return Move("renamed", scope, _scope_of(heir, now))
    return Move("deleted", scope, f"{ARCHIVE}{branch}")


def _of_session(scope: str, then: Known, known: Mapping[str, Known], now: Branches) -> Move | None:
    if not then.worked:
        return None
    if then.tip in now.landed:
        return Move("merged", scope, PROJECT)
    heir = _heir(then, known, now)
    return Move("renamed", scope, _scope_of(heir, now)) if heir else None


def _is_merged(branch: str, tip: str, then: Known, now: Branches) -> bool:
    # A branch that was only just made is in the default branch, too, but nothing of it was merged.
    return tip in now.landed and (then.worked or branch in now.worked or branch in now.merged)


def _heir(then: Known, known: Mapping[str, Known], now: Branches) -> str:
    """A branch that nobody knew before, at the very commit where this one was."""
    new = (name for name in now.tips if f"{OVERLAY}{name}" not in known)
    return min((name for name in new if now.tips[name] == then.tip), default="")


def _scope_of(branch: str, now: Branches) -> str:
    return PROJECT if branch == now.default else f"{OVERLAY}{branch}"
