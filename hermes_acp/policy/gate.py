"""The gate that every effect passes: allowed, asked for, or refused.

The order is the policy: what the user forbade, then plan mode, then the hard limits and the commands
that only read, then what must be asked every time, then what a mode or a rule allows, then what the
sandbox can hold where the mode has one, and a question for all the rest.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from hermes_acp.policy.commands.classify import classify
from hermes_acp.policy.commands.verdict import Place
from hermes_acp.policy.effects import Effect, Mode
from hermes_acp.policy.paths import inside, protection, reserve, resolved
from hermes_acp.policy.rules import commands as command_rules
from hermes_acp.policy.rules.commands import keepable
from hermes_acp.policy.rules.match import Subject, allows, allows_writing, concerns
from hermes_acp.policy.rules.rules import (
    Decision,
    Lesson,
    Rule,
    RuleDraft,
    Verdict,
    code,
    host_name,
    meaning,
)
from hermes_acp.policy.sandbox import IN_THE_SANDBOX

__all__ = ["Verdict", "changes_files", "free", "judge"]

PLANNING = (
    "The session is in plan mode, in which nothing may be changed, run or fetched, so this was not done. "
    "Go on reading and present the plan to the user; they can switch the mode when they agree with it."
)

TAINTED = (
    "You allowed it before, but the agent has read suspicious text in this turn, and this could carry data "
    "away: look whether you want it."
)

LEAKING = ("network", "executes")
"""What a command does that can send something, as far as anybody knows."""


def judge(
    effect: Effect,
    mode: Mode,
    rules: Sequence[Rule],
    roots: tuple[str, ...],
    protected: tuple[str, ...] = (),
    *,
    tainted: bool = False,
) -> Verdict:
    """Decide about one effect; safe in any thread, and for a thread: a command leads to a look at the disk.

    `roots` are the real paths of the workspace, the session's folder first; `protected` the folders
    of this program; `rules` those of the session and its project, in any order. `tainted`: strangers' text
    may have told the model what to do, so no rule and no mode allows what could carry data away.

    The first command loads the parser and the table of programs, which takes some 100 ms.
    """
    place = Place(effect.cwd, roots, protected)
    judgement = classify(effect.command, place) if effect.kind == "execute" else None
    subject = Subject(effect, place, judgement)
    verdict = _judged(subject, mode, rules)
    unasked = verdict.decision == "allow" and not verdict.harmless and not verdict.confined
    if tainted and unasked and _leaks(subject):
        return Verdict("ask", TAINTED)
    return verdict


def _judged(subject: Subject, mode: Mode, rules: Sequence[Rule]) -> Verdict:
    """The same, whoever told the model to do it."""
    effect = subject.effect
    if forbidding := _about(rules, "deny", subject):
        return Verdict("deny", _forbidden(forbidding))
    if mode == "plan" and _changes(effect):
        return Verdict("deny", PLANNING)
    said = _said(subject)
    if said.decision == "deny":
        return said
    if asking := _about(rules, "ask", subject):
        return Verdict("ask", _wanted(asking, said))
    if mode == "auto" and effect.outside:
        said = Verdict("ask", f"To run outside the sandbox, because {effect.outside}. {said.reason}")
    if said.decision == "allow":
        return replace(said, harmless=True)
    granted = _by_mode(subject, mode)
    # A rule takes a command out of the sandbox, unless something was changed in the shell, perhaps unasked.
    if granted is not None and (not granted.confined or effect.altered):
        return granted
    ruled = _ruled(subject, rules, said)
    return ruled if ruled.decision == "allow" or granted is None else granted


def _about(rules: Sequence[Rule], decision: Decision, subject: Subject) -> Rule | None:
    """The first rule with this decision that concerns the effect."""
    return next((rule for rule in rules if rule.decision == decision and concerns(rule, subject)), None)


def _ruled(subject: Subject, rules: Sequence[Rule], said: Verdict) -> Verdict:
    """What the allowing rules say; where they say nothing, the question and what an answer can teach."""
    effect, roots = subject.effect, subject.place.roots
    if effect.kind == "execute":
        return _ruled_command(subject, rules, said)
    draft = _draft(subject)
    if draft is None:
        return said
    if effect.kind == "write":
        allowing = allows_writing(rules, effect.paths, roots)
    else:
        allowing = tuple(rule for rule in rules if allows(rule, draft, roots))[:1]
    return _allowed(allowing) if allowing else Verdict("ask", said.reason, Lesson((draft,), draft))


def _ruled_command(subject: Subject, rules: Sequence[Rule], said: Verdict) -> Verdict:
    if not command_rules.rememberable(subject):
        return said
    found = command_rules.allowance(rules, subject)
    if found.rules:
        return _allowed(found.rules)
    changed = "".join(map(command_rules.changed, found.changed[:1]))
    return Verdict("ask", said.reason + changed, command_rules.lesson(subject, found.missing))


def _allowed(rules: Sequence[Rule]) -> Verdict:
    if len(rules) == 1:
        return Verdict("allow", f"The rule {rules[0].rule_id} allows {meaning(rules[0])}.")
    named = " and ".join(f"{rule.rule_id} ({meaning(rule)})" for rule in rules)
    return Verdict("allow", f"The rules {named} allow it.")


def _by_mode(subject: Subject, mode: Mode) -> Verdict | None:
    """What the mode allows without a rule; None for what it says nothing about."""
    if mode == "full" and not _touches_us(subject.effect, subject.place.protected):
        return Verdict("allow", "The session runs everything unasked.")
    if mode in ("accept_edits", "auto") and subject.effect.kind == "write" and _draft(subject):
        return Verdict("allow", "The session accepts edits inside the workspace.")
    if mode == "auto" and _confinable(subject):
        return Verdict("allow", IN_THE_SANDBOX, confined=True)
    return None


def _confinable(subject: Subject) -> bool:
    """Whether it is a command for the sandbox: not one that says that it changes protected files."""
    effect, place = subject.effect, subject.place
    if effect.kind != "execute" or effect.outside or not inside(effect.cwd, place.roots):
        return False
    done = subject.judgement.effects if subject.judgement else ()
    changed = [name for item in done if item.kind in ("writes", "deletes") for name in item.targets]
    return not any(protection(_absolute(name, effect.cwd), place.protected) for name in changed)


def _absolute(name: str, cwd: str) -> str:
    return os.path.normpath(name if name.startswith("/") else f"{cwd}/{name}")


def _touches_us(effect: Effect, protected: tuple[str, ...]) -> bool:
    """Whether a tool wants our own files, which say what the agent may do."""
    return any(inside(path, protected) and protection(path, protected) for path in effect.paths)


def _leaks(subject: Subject) -> bool:
    """Whether the effect could carry data away; a command that is not understood could."""
    effect, parts = subject.effect, subject.parts
    match effect.kind:
        case "fetch":
            return True
        case "mcp":
            return not effect.read_only
        case "execute":
            kinds = {done.kind for part in parts for done in part.effects}
            known = bool(parts) and all(part.effects or part.decision == "allow" for part in parts)
            return not known or not kinds.isdisjoint(LEAKING) or "remote" in effect.command
        case "write":
            return not all(inside(path, subject.place.roots) for path in effect.paths)
        case "read":
            return False
        case _ as unknown:
            assert_never(unknown)


def free(effect: Effect, roots: tuple[str, ...], protected: tuple[str, ...]) -> bool:
    """Whether the effect reads ordinary files of the workspace, for which nobody is asked; pure and quick."""
    if effect.kind != "read" or not effect.paths:
        return False
    return all(inside(path, roots) and not reserve(path, protected) for path in effect.paths)


def changes_files(effect: Effect, verdict: Verdict) -> bool:
    """Whether an effect that was judged so may change files; pure."""
    return _changes(effect) and effect.kind != "fetch" and not verdict.harmless


def _changes(effect: Effect) -> bool:
    """Whether the effect is more than looking at something."""
    return effect.kind != "read" and not (effect.kind == "mcp" and effect.read_only)


# --- what can be remembered ----------------------------------------------------------------------


def _draft(subject: Subject) -> RuleDraft | None:
    """What a rule for anything but a command would mean; None when it has to be asked for every time."""
    effect, roots, protected = subject.effect, subject.place.roots, subject.place.protected
    if any(protection(path, protected) for path in effect.paths):
        return None
    match effect.kind:
        case "write":
            usual = bool(effect.paths) and all(inside(path, roots) for path in effect.paths)
            return RuleDraft("write", "") if usual else None
        case "read":
            return _reading(effect.paths, roots)
        case "execute":
            return None
        case "fetch":
            host = host_name(effect.host)
            return RuleDraft("fetch", host) if keepable(host) else None
        case "mcp":
            return RuleDraft("mcp", effect.tool, effect.server) if keepable(effect.tool) else None
        case _ as unknown:
            assert_never(unknown)


def _reading(paths: tuple[str, ...], roots: tuple[str, ...]) -> RuleDraft | None:
    if len(paths) != 1 or not keepable(paths[0]) or not resolved(paths[0]):
        return None
    # A folder around the workspace is the home folder or the whole disk: too much for one answer.
    around = any(inside(root, paths) for root in roots)
    return None if around else RuleDraft("read", paths[0])


# --- what the person reads -----------------------------------------------------------------------


def _forbidden(rule: Rule) -> str:
    return (
        f"A rule {_whose(rule)} says: never allow {meaning(rule)}{_where(rule)}. "
        f"So this was not done; do not try it another way. The user can take the rule back {_back(rule)}."
    )


def _wanted(rule: Rule, said: Verdict) -> str:
    """Why somebody is asked whom nobody else would ask."""
    if rule.origin.file and not rule.match.strip("*/"):
        return f"{said.reason} {rule.origin.request}"
    return f"{said.reason} A rule {_whose(rule)} asks for {meaning(rule)} every time."


def _whose(rule: Rule) -> str:
    return f"in {rule.origin.file} ({rule.rule_id})" if rule.origin.file else "of the user"


def _where(rule: Rule) -> str:
    return " in this project" if rule.scope == "project" and not rule.origin.file else ""


def _back(rule: Rule) -> str:
    return "in that file" if rule.origin.file else f"with `hermes-editor policy revoke {rule.rule_id}`"


def _said(subject: Subject) -> Verdict:
    """What can be said without rules: mostly a question, and the sentence that goes with it."""
    effect, roots, protected = subject.effect, subject.place.roots, subject.place.protected
    match effect.kind:
        case "write":
            return Verdict("ask", _about_paths("Changes", effect.paths, roots, protected))
        case "read":
            if free(effect, roots, protected):
                return Verdict("allow", "Reads inside the workspace need no permission.")
            return Verdict("ask", _about_paths("Reads", effect.paths, roots, protected))
        case "execute":
            judgement = subject.judgement or classify(effect.command, subject.place)
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
    for path in paths if verb == "Reads" else ():
        if why := reserve(path, protected):
            return f"{verb} {code(_relative(path, *roots))}, which {why}."
    if not paths:
        return f"{verb} files that were not named."
    first, *others = paths
    more = f" and {len(others)} more" if others else ""
    return f"{verb} {code(_relative(first, *roots))}{more}."


def _relative(path: str, *roots: str) -> str:
    """The path as seen from the first of the roots that holds it."""
    root = next((root for root in roots if inside(path, (root,))), None)
    return path if root is None else os.path.relpath(path, root)
