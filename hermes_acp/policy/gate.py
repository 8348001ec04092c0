"""The gate that every effect passes: allowed, asked for, or refused.

The order is the policy: what the user forbade, then plan mode, then the hard limits and the commands
that only read, then what must be asked every time, then what a mode or a rule allows, and a question
for all the rest.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from hermes_acp.policy import commands
from hermes_acp.policy.commands_verdict import Place
from hermes_acp.policy.effects import Effect, Mode
from hermes_acp.policy.paths import inside, protection, resolved
from hermes_acp.policy.rules import (
    MATCH_CHARS,
    Rule,
    RuleDraft,
    Verdict,
    allows,
    code,
    denies,
    host_name,
    meaning,
)

__all__ = ["Verdict", "changes_files", "judge"]

PLANNING = (
    "The session is in plan mode, in which nothing may be changed, run or fetched, so this was not done. "
    "Go on reading and present the plan to the user; they can switch the mode when they agree with it."
)


def judge(
    effect: Effect,
    mode: Mode,
    rules: Sequence[Rule],
    roots: tuple[str, ...],
    protected: tuple[str, ...] = (),
) -> Verdict:
    """Decide about one effect; safe in any thread, and for a thread: a command leads to a look at the disk.

    `roots` are the real paths of the workspace, the session's folder first; `protected` the folders
    of this program; `rules` those of the session and its project, in any order.

    The first command loads the parser and the table of programs, which takes some 100 ms.
    """
    for rule in rules:
        if denies(rule, effect, roots):
            return Verdict("deny", _forbidden(rule))
    if mode == "plan" and _changes(effect):
        return Verdict("deny", PLANNING)
    said = _said(effect, roots, protected)
    if said.decision == "allow":
        return replace(said, harmless=True)
    if said.decision == "deny":
        return said
    draft = _draft(effect, roots, protected)
    if draft is None:
        return said
    if effect.kind == "write" and mode == "accept_edits":
        return Verdict("allow", "The session accepts edits inside the workspace.")
    for rule in rules:
        if allows(rule, draft):
            return Verdict("allow", f"The rule {rule.rule_id} allows {meaning(rule.effect, rule.match)}.")
    return Verdict("ask", said.reason, draft)


def changes_files(effect: Effect, verdict: Verdict) -> bool:
    """Whether an effect that was judged so may change files; pure."""
    return _changes(effect) and effect.kind != "fetch" and not verdict.harmless


def _changes(effect: Effect) -> bool:
    """Whether the effect is more than looking at something."""
    return effect.kind != "read" and not (effect.kind == "mcp" and effect.read_only)


# --- what can be remembered ----------------------------------------------------------------------


def _draft(effect: Effect, roots: tuple[str, ...], protected: tuple[str, ...]) -> RuleDraft | None:
    """What a rule for this would mean; None when it has to be asked for every time."""
    if any(protection(path, protected) for path in effect.paths):
        return None
    match effect.kind:
        case "write":
            usual = bool(effect.paths) and all(inside(path, roots) for path in effect.paths)
            return RuleDraft("write", "") if usual else None
        case "read":
            return _reading(effect.paths, roots)
        case "execute":
            return _running(effect, roots)
        case "fetch":
            host = host_name(effect.host)
            return RuleDraft("fetch", host) if _keepable(host) else None
        case "mcp":
            return RuleDraft("mcp", effect.tool) if _keepable(effect.tool) else None
        case _ as unknown:
            assert_never(unknown)


def _reading(paths: tuple[str, ...], roots: tuple[str, ...]) -> RuleDraft | None:
    if len(paths) != 1 or not _keepable(paths[0]) or not resolved(paths[0]):
        return None
    # A folder around the workspace is the home folder or the whole disk: too much for one answer.
    around = any(inside(root, paths) for root in roots)
    return None if around else RuleDraft("read", paths[0])


def _running(effect: Effect, roots: tuple[str, ...]) -> RuleDraft | None:
    if not (_keepable(effect.command) and _keepable(effect.cwd) and inside(effect.cwd, roots)):
        return None
    if any(fact.startswith(("alias ", "function ")) for fact in effect.altered):
        # A rule knows the text alone, and here the text means something else.
        return None
    place = "" if effect.cwd == roots[0] else f" in {code(_relative(effect.cwd, roots[0]))}"
    return RuleDraft("execute", effect.command, effect.cwd, place)


def _keepable(text: str) -> bool:
    """Whether a rule can hold the text: not empty, not huge, and storable as UTF-8."""
    return 0 < len(text) <= MATCH_CHARS and not any(
        char == "\0" or "\ud800" <= char <= "\udfff" for char in text
    )


# --- what the person reads -----------------------------------------------------------------------


def _forbidden(rule: Rule) -> str:
    return (
        f"A rule of the user says: never allow {meaning(rule.effect, rule.match)} in this project. "
        "So this was not done; do not try it another way. The user can take the rule back with "
        f"`hermes-editor policy revoke {rule.rule_id}`."
    )


def _said(effect: Effect, roots: tuple[str, ...], protected: tuple[str, ...]) -> Verdict:
    """What can be said without rules: mostly a question, and the sentence that goes with it."""
    match effect.kind:
        case "write":
            return Verdict("ask", _about_paths("Changes", effect.paths, roots, protected))
        case "read":
            if effect.paths and all(inside(path, roots) for path in effect.paths):
                return Verdict("allow", "Reads inside the workspace need no permission.")
            return Verdict("ask", _about_paths("Reads", effect.paths, roots, protected))
        case "execute":
            judgement = commands.classify(effect.command, Place(effect.cwd, roots, protected))
            if effect.altered and judgement.decision == "allow":
                return Verdict("ask", _about_the_shell(effect.altered))
            return Verdict(judgement.decision, judgement.reason)
        case "fetch":
            return Verdict("ask", f"Connects to {code(effect.host)}.")
        case "mcp":
            claim = "its server says that it only reads" if effect.read_only else "it may change things"
            return Verdict("ask", f"Calls {code(effect.tool)}; {claim}.")
        case _ as unknown:
            assert_never(unknown)


def _about_the_shell(altered: tuple[str, ...]) -> str:
    """What makes a command that looks harmless one that may not be."""
    first, *others = altered
    more = f" and {len(others)} more" if others else ""
    return f"Earlier commands changed what this may do in the session's shell: {code(first)}{more}."


def _about_paths(
    verb: str, paths: tuple[str, ...], roots: tuple[str, ...], protected: tuple[str, ...]
) -> str:
    """Name the first path that is special; the question itself shows them all."""
    for path in paths:
        if what := protection(path, protected):
            return f"{verb} {code(_relative(path, *roots))}, which is protected ({what})."
    for path in paths:
        if not inside(path, roots):
            return f"{verb} {code(path)}, which is outside the workspace."
    if not paths:
        return f"{verb} files that were not named."
    first, *others = paths
    more = f" and {len(others)} more" if others else ""
    return f"{verb} {code(_relative(first, *roots))}{more}."


def _relative(path: str, *roots: str) -> str:
    """The path as seen from the first of the roots that holds it."""
    root = next((root for root in roots if inside(path, (root,))), None)
    return path if root is None else os.path.relpath(path, root)
