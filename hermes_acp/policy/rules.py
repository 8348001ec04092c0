"""Rules: what the user answered once and for longer, exactly as far as the answer went."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from hermes_acp.events import Choice
from hermes_acp.policy.effects import Effect, EffectKind
from hermes_acp.policy.paths import inside

LABEL_CHARS = 60
"""Longer texts are not repeated in the name of a choice."""

MATCH_CHARS = 4_096
"""Longer texts are not remembered."""

Scope: TypeAlias = Literal["session", "project"]
Answer: TypeAlias = Literal["allow", "deny"]
Decision: TypeAlias = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """What a rule would mean, before anybody agreed to it.

    - `write`: edits of every file in the workspace that is not protected; `match` is empty.
    - `execute`: exactly the command text `match`, run in exactly the folder `cwd`.
    - `read`: the file or folder `match` outside the workspace, and what is below it.
    - `fetch`: connections to exactly the host `match`.
    - `mcp`: calls of the tool `match`, with any arguments.

    `place` is only wording: where the command runs, when that is not the session's own folder.
    """

    effect: EffectKind
    match: str
    cwd: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule came from: its project and session, the window that answered, the question."""

    project: str
    session_id: str
    client: str
    request: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A lasting answer. `effect`, `match` and `cwd` mean what `RuleDraft` says.

    It holds for the session or for the whole project of its origin. `created_at` is seconds since
    the epoch.
    """

    rule_id: str
    decision: Answer
    effect: EffectKind
    match: str
    cwd: str
    scope: Scope
    created_at: float
    origin: Origin


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens with an effect, and why.

    `reason` is for the person; with `deny` it is a sentence for the model. `remember` is what an
    answer of the user can teach, None when this has to be asked every time. `harmless`: by its
    nature, and not because somebody allowed it, nothing is changed.
    """

    decision: Decision
    reason: str
    remember: RuleDraft | None = None
    harmless: bool = False


def choices(verdict: Verdict) -> tuple[Choice, ...]:
    """The answers to offer; the option ids are stable and each name says what is remembered.

    The protocol knows no "for this session", so that choice travels as another `allow_always`.
    """
    once = Choice("allow_once", "Allow once", "allow_once")
    refuse = Choice("reject_once", "Reject", "reject_once")
    draft = verdict.remember
    if draft is None:
        return (once, refuse)
    what = meaning(draft.effect, draft.match)
    return (
        once,
        Choice("allow_session", f"Allow {what}{draft.place} for this session", "allow_always"),
        Choice("allow_always", f"Always allow {what}{draft.place} in this project", "allow_always"),
        refuse,
        Choice("reject_always", f"Never allow {what} in this project", "reject_always"),
    )


def learn(draft: RuleDraft, option_id: str, origin: Origin) -> Rule | None:
    """The rule that a chosen option makes; None for those that decide this once."""
    decision: Answer
    scope: Scope
    match option_id:
        case "allow_session":
            decision, scope = "allow", "session"
        case "allow_always":
            decision, scope = "allow", "project"
        case "reject_always":
            decision, scope = "deny", "project"
        case _:
            return None
    return Rule(
        rule_id=secrets.token_hex(6),
        decision=decision,
        effect=draft.effect,
        match=draft.match,
        cwd=draft.cwd,
        scope=scope,
        created_at=time.time(),
        origin=origin,
    )


def allows(rule: Rule, draft: RuleDraft) -> bool:
    """Whether the rule was made for this: for nothing that merely resembles or extends it."""
    if rule.decision != "allow" or rule.effect != draft.effect:
        return False
    if rule.effect == "read":
        return inside(draft.match, (rule.match,))
    return (rule.match, rule.cwd) == (draft.match, draft.cwd)


def denies(rule: Rule, effect: Effect, roots: tuple[str, ...]) -> bool:
    """Whether the rule forbids the effect; wider than the same rule would allow.

    A forbidden command stays forbidden in other folders and with other blanks, a forbidden host
    with its subdomains, and one forbidden path among many is enough.
    """
    if rule.decision != "deny" or rule.effect != effect.kind:
        return False
    match effect.kind:
        case "write":
            return any(inside(path, roots) for path in effect.paths)
        case "read":
            return any(inside(path, (rule.match,)) for path in effect.paths)
        case "execute":
            return effect.command.split() == rule.match.split()
        case "fetch":
            return f".{host_name(effect.host)}".endswith(f".{rule.match}")
        case "mcp":
            return effect.tool == rule.match
        case _ as unknown:
            assert_never(unknown)


def meaning(effect: EffectKind, match: str) -> str:
    """What a rule is about, to follow "allow" or "never allow"."""
    match effect:
        case "write":
            return "edits"
        case "execute":
            return code(match) if _fits(match) else "exactly this command"
        case "read":
            return f"reading {code(match)}"
        case "fetch":
            return f"connections to {code(match)}"
        case "mcp":
            return f"the tool {code(match)}"
        case _ as unknown:
            assert_never(unknown)


def host_name(host: str) -> str:
    """A host in the one form in which hosts are compared."""
    return host.casefold().rstrip(".")


def visible(text: str) -> str:
    """Text for one line: cut in the middle, and nothing in it invisible or breaking out of code."""
    half = LABEL_CHARS // 2
    short = text if len(text) <= LABEL_CHARS else f"{text[: half - 1]}…{text[-half:]}"
    return "".join(char if _plain(char) else "\N{REPLACEMENT CHARACTER}" for char in short)


def code(text: str) -> str:
    """`visible` text as Markdown code."""
    return f"`{visible(text)}`"


def _fits(text: str) -> bool:
    return len(text) <= LABEL_CHARS and all(map(_plain, text))


def _plain(char: str) -> bool:
    return char.isprintable() and char != "`"
