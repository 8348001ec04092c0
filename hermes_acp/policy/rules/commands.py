"""What rules say about a command, part by part, and what an answer about it can teach.

Looks at files that commands rest on; call it in a thread.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Sequence
from dataclasses import field

from hermes_acp.policy.commands import places
from hermes_acp.policy.commands.rests import Basis, basis
from hermes_acp.policy.commands.verdict import Part, Rest
from hermes_acp.policy.paths import inside
from hermes_acp.policy.rules.match import Subject
from hermes_acp.policy.rules.rules import MATCH_CHARS, Lesson, Rule, RuleDraft, code, fits, meaning
from hermes_acp.records import mutable, record

PARTS_OFFERED = 4
"""Parts of a command that one answer can teach; with more, it is remembered by its whole text."""


@record
class Allowance:
    """What the rules say: allowed by `rules`, or why not.

    `missing` are the parts that no rule allows; None when the command cannot be allowed in parts. `changed`
    are the rules that would allow, had what they rest on not changed.
    """

    rules: tuple[Rule, ...] = ()
    missing: tuple[Part, ...] | None = None
    changed: tuple[Rule, ...] = ()


def allowance(rules: Iterable[Rule], subject: Subject) -> Allowance:
    """What the allowing rules among `rules` say about a command that is `rememberable`."""
    return _Allowing(subject, [rule for rule in rules if _allows_commands(rule)]).allowance()


def part_rules(rules: Iterable[Rule], subject: Subject) -> tuple[Rule | None, ...]:
    """The rule that allows each part of a command, None where none does or none is needed."""
    allowing = _Allowing(subject, [rule for rule in rules if _allows_commands(rule)])
    return tuple(None if part.decision == "allow" else allowing.by(part) for part in subject.parts)


def rememberable(subject: Subject) -> bool:
    """Whether an answer about the command can be kept; else it has to be asked for every time."""
    effect = subject.effect
    if not (keepable(effect.command) and keepable(effect.cwd) and inside(effect.cwd, subject.place.roots)):
        return False
    # A rule knows the text alone, and behind an alias or a function the text means something else.
    return not any(fact.startswith(("alias ", "function ")) for fact in effect.altered)


def lesson(subject: Subject, missing: tuple[Part, ...] | None) -> Lesson:
    """What an answer about a command that is `rememberable` can teach; `missing` as in `Allowance`."""
    roots = subject.place.roots
    exact = _exact(subject)
    drafts = dict.fromkeys(_meant(part, roots) for part in missing or ())
    if not drafts or None in drafts or len(drafts) > PARTS_OFFERED:
        return Lesson((exact,), exact)
    allowed = tuple(draft for draft in drafts if draft is not None)
    # Of several parts nobody knows which one a no is about, so it is about the whole.
    alone = sum(part.decision != "allow" for part in subject.parts) == 1
    return Lesson(allowed, allowed[0] if alone else exact)


def changed(rule: Rule) -> str:
    """The sentence about a rule that does not hold any more; to follow another sentence."""
    names = ", ".join(map(code, rule.rests_on.split("\n")[:2]))
    return f" The rule {rule.rule_id} allowed {meaning(rule)}, but {names} changed since then."


def keepable(text: str) -> bool:
    """Whether a rule can hold the text: not empty, not huge, and storable as UTF-8."""
    return 0 < len(text) <= MATCH_CHARS and not any(
        char == "\0" or "\ud800" <= char <= "\udfff" for char in text
    )


@mutable
class _Allowing:
    subject: Subject
    rules: Sequence[Rule]
    changed: dict[str, Rule] = field(default_factory=dict[str, Rule])

    def allowance(self) -> Allowance:
        if exact := self._exact():
            return Allowance((exact,))
        judgement = self.subject.judgement
        if judgement is None or not judgement.divisible or self.subject.effect.altered:
            return Allowance(changed=tuple(self.changed.values()))
        by = {part: self.by(part) for part in judgement.parts if part.decision != "allow"}
        missing = tuple(part for part, rule in by.items() if rule is None)
        found = {rule.rule_id: rule for rule in by.values() if rule is not None}
        return Allowance(() if missing else tuple(found.values()), missing, tuple(self.changed.values()))

    def _exact(self) -> Rule | None:
        """The rule for exactly this command in exactly this folder."""
        effect = self.subject.effect
        for rule in self.rules:
            same = (rule.form, rule.match, rule.cwd) == ("exact", effect.command, effect.cwd)
            if same and (not rule.digest or self._holds(rule, _basis(self.subject))):
                return rule
        return None

    def by(self, part: Part) -> Rule | None:
        """The rule that allows a part."""
        called, roots = part.called, self.subject.place.roots
        if not called.runs or not inside(called.cwd, roots):
            return None
        meant = _text(called.meaning)
        for rule in self.rules:
            if rule.form == "meaning" and rule.match == meant:
                if self._holds(rule, basis(called.rests, roots)):
                    return rule
            elif rule.form == "pattern" and self._fits(rule, part):
                return rule
        return None

    def _holds(self, rule: Rule, now: Basis) -> bool:
        """Whether what the rule rests on is as it was."""
        if (rule.rests_on, rule.digest) == (now.names, now.digest):
            return True
        if rule.rests_on.split("\n")[0] == now.names.split("\n")[0]:
            self.changed[rule.rule_id] = rule
        return False

    def _fits(self, rule: Rule, part: Part) -> bool:
        """Whether a pattern allows a part: by its meaning, or by its words where no meaning is known."""
        called, words = part.called, tuple(rule.match.split())
        if words not in (called.meaning[: len(words)], called.runs[0][: len(words)]):
            return False
        if called.meaning:
            return True
        if called.known or not called.plain:
            return False
        given = called.runs[0][1:]
        return not any(map(self._refused, [called.cwd] * len(given), given))

    def _refused(self, cwd: str, word: str) -> bool:
        """Whether a word may name a file that no rule opens; options may hold one as well."""
        names = {word, word.partition("=")[2], word[2:] if word.startswith("-") else word}
        return any(places.refusal(self.subject.place, cwd, name) for name in names if name)


def _allows_commands(rule: Rule) -> bool:
    return rule.decision == "allow" and rule.effect == "execute"


def _basis(subject: Subject) -> Basis:
    rests: list[Rest] = [rest for part in subject.parts for rest in part.called.rests]
    return basis(rests, subject.place.roots)


def _exact(subject: Subject) -> RuleDraft:
    effect, roots = subject.effect, subject.place.roots
    rests = _basis(subject)
    folder = next(root for root in roots if inside(effect.cwd, (root,)))
    where = os.path.relpath(effect.cwd, folder) if folder == roots[0] else effect.cwd
    place = "" if effect.cwd == roots[0] else f" in {code(where)}"
    return RuleDraft("execute", effect.command, effect.cwd, place, rests_on=rests.names, digest=rests.digest)


def _meant(part: Part, roots: tuple[str, ...]) -> RuleDraft | None:
    """What a rule for all commands like a part would be; None when there is none."""
    called = part.called
    match = _text(called.meaning)
    if not match or not fits(match) or not inside(called.cwd, roots):
        return None
    rests = basis(called.rests, roots)
    if not rests.whole:
        return None
    return RuleDraft("execute", match, form="meaning", rests_on=rests.names, digest=rests.digest)


def _text(words: tuple[str, ...]) -> str:
    """The words as a rule keeps them; empty for words that would not come back from it."""
    text = " ".join(words)
    return text if tuple(text.split()) == words else ""
