"""Puts the verdict on a whole command together from what its parts do."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hermes_acp.policy.commands import limits
from hermes_acp.policy.commands.files import Files, Findings
from hermes_acp.policy.commands.judge import Judge
from hermes_acp.policy.commands.programs import table
from hermes_acp.policy.commands.syntax import Call, Condition, Obstacle, Step
from hermes_acp.policy.commands.verdict import (
    Called,
    Consequence,
    Judgement,
    Kind,
    Part,
    Place,
    merged,
)
from hermes_acp.policy.paths import inside
from hermes_acp.policy.rules.rules import code

FOLDERS = 4
"""Folders in which a command may be running after several `cd`."""

PROGRAMS_SHOWN = 4
"""Programs, and files of one kind, that a sentence names; more are counted."""

SHELLS = frozenset({"ash", "bash", "dash", "eval", "fish", "ksh", "sh", "source", "zsh", "."})

_VERBS: dict[Kind, str] = {
    "writes": "writes",
    "deletes": "deletes",
    "network": "uses the network",
    "history": "changes the history of the repository",
}


def judged(found: Sequence[Step], place: Place) -> Judgement:
    """The verdict on the commands of one text, which would run in `place`."""
    return _Whole(place).judged(found)


@dataclass(slots=True)
class _Whole:
    """Puts the verdict on a command together from its parts."""

    place: Place
    programs: dict[str, None] = field(default_factory=dict[str, None])
    parts: list[Part] = field(default_factory=list[Part])
    problems: dict[str, None] = field(default_factory=dict[str, None])
    limit: str = ""
    divisible: bool = True

    def judged(self, found: Sequence[Step]) -> Judgement:
        files = Files(self.place, (self.place.cwd,))
        judge = Judge(table(), files)
        visited = dict.fromkeys(files.cwds)
        for step in found:
            if isinstance(step, Obstacle):
                self.problems[f"the command {step.why}"] = None
                self.divisible = False
                continue
            if step.join != "&&":
                # What came before may have failed, or was left out: any of the folders may be the one.
                files.cwds = tuple(visited)
            if isinstance(step, Condition):
                self._add(step.text, judge.condition(step), files.cwds)
            else:
                before = files.cwds
                self._call(step, judge)
                if step.join in ("||", "|"):
                    files.cwds = tuple(dict.fromkeys((*before, *files.cwds)))
            visited.update(dict.fromkeys(files.cwds))
            if len(visited) > FOLDERS:
                self.problems["the command goes to many folders"] = None
                self.divisible = False
                break
        return self._judgement()

    def _call(self, call: Call, judge: Judge) -> None:
        if call.words:
            self.programs[call.words[0].literal or call.words[0].source] = None
        words = [word.literal or word.source for word in call.words]
        targets = [item.target.source for item in call.redirects if item.target is not None]
        found = (limits.limit(words), *map(limits.target_limit, targets))
        self.limit = self.limit or next((limit for limit in found if limit), "")
        cwds = judge.files.cwds
        self._add(call.text, judge.call(call), cwds)

    def _add(self, text: str, findings: Findings, cwds: tuple[str, ...]) -> None:
        effects = tuple(Consequence(kind, tuple(names)) for kind, names in findings.effects.items())
        reason = "; ".join(findings.problems)
        cwd = cwds[0] if len(cwds) == 1 else ""
        called = Called(
            tuple(findings.runs),
            findings.meaning if findings.covered and cwd else (),
            known=findings.known,
            plain=not findings.loose and bool(cwd),
            cwd=cwd,
            rests=tuple(findings.rests),
        )
        self.parts.append(Part(text, "allow" if findings.harmless else "ask", effects, reason, called))
        self.problems.update(dict.fromkeys(findings.problems))

    def _judgement(self) -> Judgement:
        parts = tuple(self.parts)
        if self.limit:
            return Judgement("deny", self.limit, parts)
        if not inside(self.place.cwd, self.place.roots):
            self.problems[f"it runs in {code(self.place.cwd)}, outside the workspace"] = None
            self.divisible = False
        programs = _listed(self.programs)
        if parts and not self.problems and all(part.decision == "allow" for part in parts):
            return Judgement(
                "allow", f"Runs {programs}; it only reads." if programs else "It only reads.", parts
            )
        return Judgement("ask", self._question(programs, parts), parts, bool(parts) and self.divisible)

    def _question(self, programs: str, parts: tuple[Part, ...]) -> str:
        """The sentence for the person who has to decide."""
        said = [
            f"Runs {programs}" if programs else "Runs a command that cannot be summed up, so read it whole"
        ]
        effects = merged(effect for part in parts for effect in part.effects)
        for effect in effects:
            if verb := _VERBS.get(effect.kind):
                said.append(_done(effect.kind, verb, effect.targets))
        if any(effect.kind == "network" for effect in effects) and not SHELLS.isdisjoint(
            map(posixpath.basename, self.programs)
        ):
            said.append("may run what it downloads")
        said.extend(list(self.problems)[:1])
        return "; ".join(said) + "."


def _done(kind: Kind, verb: str, targets: tuple[str, ...]) -> str:
    if kind == "network":
        return f"{verb} ({_listed(targets)})" if targets else verb
    return f"{verb} {_listed(targets) or 'files'}" if kind != "history" else verb


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    shown = ", ".join(map(code, names[:PROGRAMS_SHOWN]))
    more = len(names) - PROGRAMS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
