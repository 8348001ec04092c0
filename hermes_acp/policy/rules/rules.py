"""Rules: what the user answered for longer than once, or wrote down, exactly as far as that went."""

from __future__ import annotations

import secrets
import time
from typing import Literal, TypeAlias, assert_never

from hermes_acp.events import Choice
from hermes_acp.policy.effects import EffectKind
from hermes_acp.records import record

LABEL_CHARS = 60
"""Longer texts are not repeated in the name of a choice."""

MATCH_CHARS = 4_096
"""Longer texts are not remembered."""

Scope: TypeAlias = Literal["session", "project", "everywhere"]
Decision: TypeAlias = Literal["allow", "ask", "deny"]

Form: TypeAlias = Literal["exact", "meaning", "pattern"]
"""How far a rule goes.

- `exact`: what `match` names and no more: the text of a command, a folder to read, a host, a tool.
- `meaning`: commands that do what the words of `match` say, with whatever does not change that.
- `pattern`: written by a person: the first words of commands, or a glob for paths, hosts and tools.
"""


@record
class RuleDraft:
    """What a rule would mean, before anybody agreed to it.

    - `write`: edits of every file in the workspace that is not protected; `match` is empty.
    - `execute`: the command text `match`, run in the folder `cwd`; with the form `meaning`, all commands
      with that meaning, anywhere in the workspace.
    - `read`: the file or folder `match`, and what is below it but for files that may hold secrets.
    - `fetch`: connections to exactly the host `match`.
    - `mcp`: calls of the tool `match`, with any arguments; `cwd` is the `Effect.server` that answers them.

    `rests_on` names what decides what the command does, a line each (`package.json#build`), and `digest` is
    that of their contents: the rule ends when they change. `place` is only wording: where the command runs,
    when that is not the session's own folder.
    """

    effect: EffectKind
    match: str
    cwd: str = ""
    place: str = ""
    form: Form = "exact"
    rests_on: str = ""
    digest: str = ""


@record
class Lesson:
    """What a lasting answer teaches: what a yes allows from then on, and what a no forbids."""

    allowed: tuple[RuleDraft, ...]
    forbidden: RuleDraft


@record
class Origin:
    """Where a rule came from: its project and session, the window that answered, the question.

    `file` is the path of the file that it stands in, empty for one that was learned.
    """

    project: str
    session_id: str
    client: str
    request: str
    file: str = ""


@record
class Rule:
    """A lasting answer, or one that was written down. Members mean what `RuleDraft` says.

    It holds for the session or the whole project of its origin, or everywhere. `created_at` is seconds since
    the epoch. The `rule_id` of one from a file names its entry there.
    """

    rule_id: str
    decision: Decision
    effect: EffectKind
    match: str
    cwd: str
    scope: Scope
    created_at: float
    origin: Origin
    form: Form = "exact"
    rests_on: str = ""
    digest: str = ""


@record
class Verdict:
    """What happens with an effect, and why.

    `reason` is for the person; with `deny` it is a sentence for the model. `remember` is what an
    answer of the user can teach, None when this has to be asked every time. `harmless`: by its
    nature, and not because somebody allowed it, nothing is changed. `confined`: allowed in the sandbox only.
    """

    decision: Decision
    reason: str
    remember: Lesson | None = None
    harmless: bool = False
    confined: bool = False


def choices(verdict: Verdict) -> tuple[Choice, ...]:
    """The answers to offer; the option ids are stable and each name says what is remembered.

    The protocol knows no "for this session", so that choice travels as another `allow_always`.
    """
    once = Choice("allow_once", "Allow once", "allow_once")
    refuse = Choice("reject_once", "Reject", "reject_once")
    lesson = verdict.remember
    if lesson is None:
        return (once, refuse)
    what = " and ".join(f"{meaning(draft)}{draft.place}" for draft in lesson.allowed)
    return (
        once,
        Choice("allow_session", f"Allow {what} for this session", "allow_always"),
        Choice("allow_always", f"Always allow {what} in this project", "allow_always"),
        refuse,
        Choice("reject_always", f"Never allow {meaning(lesson.forbidden)} in this project", "reject_always"),
    )


def learn(lesson: Lesson, option_id: str, origin: Origin) -> tuple[Rule, ...]:
    """The rules that a chosen option makes; none for those that decide this once."""
    match option_id:
        case "allow_session":
            return tuple(make(draft, "allow", "session", origin) for draft in lesson.allowed)
        case "allow_always":
            return tuple(make(draft, "allow", "project", origin) for draft in lesson.allowed)
        case "reject_always":
            return (make(lesson.forbidden, "deny", "project", origin),)
        case _:
            return ()


def make(draft: RuleDraft, decision: Decision, scope: Scope, origin: Origin) -> Rule:
    """A new rule, as of now."""
    return Rule(
        rule_id=secrets.token_hex(6),
        decision=decision,
        effect=draft.effect,
        match=draft.match,
        cwd=draft.cwd,
        scope=scope,
        created_at=time.time(),
        origin=origin,
        form=draft.form,
        rests_on=draft.rests_on,
        digest=draft.digest,
    )


def meaning(what: Rule | RuleDraft) -> str:
    """What a rule is about, to follow "allow" or "never allow"; with dots, more words may follow."""
    match what.effect:
        case "write":
            return f"edits of {code(what.match)}" if what.match else "edits"
        case "execute" if what.form != "exact":
            return code(f"{what.match} …") if what.match else "commands"
        case "execute":
            return code(what.match) if fits(what.match) else "exactly this command"
        case "read":
            return f"reading {code(what.match)}"
        case "fetch":
            return f"connections to {code(what.match)}"
        case "mcp":
            return f"the tool {code(what.match)}"
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


def fits(text: str) -> bool:
    """Whether a text can be shown as it is, in the name of a choice."""
    return len(text) <= LABEL_CHARS and all(map(_plain, text))


def _plain(char: str) -> bool:
    return char.isprintable() and char != "`"
