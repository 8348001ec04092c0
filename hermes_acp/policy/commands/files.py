"""The words and files of the commands in one text: what globs stand for, and what may be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from hermes_acp.policy.commands import places
from hermes_acp.policy.commands.arguments import Given
from hermes_acp.policy.commands.verdict import CHANGES, Kind, Place, Rest
from hermes_acp.policy.commands.words import Field, Word
from hermes_acp.policy.rules.rules import code

PROBLEMS = 8
"""Problems of one command that are kept; the first ones tell enough."""

GLOBS = 12
"""Globs in one text that are compared with the names on the disk."""

FILES = 300
"""Files in one text whose places are looked at."""

TARGETS = 32
"""Targets of one kind of effect that are kept."""


@dataclass(slots=True)
class Findings:
    """What a command does and what about it is not understood.

    `runs`, `meaning`, `known` and `rests` are what `Called` says. `loose`: something besides the words of the
    programs takes part. `beyond`: it does something that its meaning does not say; `own` are the kinds of
    effects that its meaning says.
    """

    effects: dict[Kind, dict[str, None]] = field(default_factory=dict[Kind, dict[str, None]])
    problems: list[str] = field(default_factory=list[str])
    runs: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    meaning: tuple[str, ...] = ()
    known: bool = False
    loose: bool = False
    beyond: bool = False
    own: set[Kind] = field(default_factory=set[Kind])
    rests: list[Rest] = field(default_factory=list[Rest])

    def does(self, kind: Kind, target: str = "") -> None:
        """Note an effect, on a path or host where one is known."""
        targets = self.effects.setdefault(kind, {})
        if target and len(targets) < TARGETS:
            targets[target] = None

    def problem(self, text: str, *, own: bool = False) -> None:
        """Note why this needs a question; `own`: because of what its meaning says already."""
        self.beyond = self.beyond or bool(text and not own)
        if text and text not in self.problems and len(self.problems) < PROBLEMS:
            self.problems.append(text)

    @property
    def harmless(self) -> bool:
        """Whether it only reads what may be read."""
        return not self.problems and not any(kind in self.effects for kind in CHANGES)

    @property
    def covered(self) -> bool:
        """Whether its meaning says all that it does."""
        return not (self.beyond or self.loose) and self.effects.keys() <= {"reads", *self.own}


@dataclass(slots=True)
class Files:
    """What the commands of one text name, and what was found about the command that is being judged.

    `cwds` are the folders in which it may run.
    """

    place: Place
    cwds: tuple[str, ...]
    findings: Findings = field(default_factory=Findings)
    globs: int = 0
    files: int = 0

    def expanded(self, word: Word) -> list[Given]:
        """The word as the program gets it: one or several words."""
        if word.problem:
            self.findings.problem(f"{code(word.source)} is not understood: {word.problem}")
            return [Given(word.source, variable=True)]
        return [given for item in word.fields for given in self._given(item)]

    def _given(self, item: Field) -> list[Given]:
        if not item.pattern or item.variable or item.home:
            if item.pattern and item.variable:
                self.findings.problem("a glob holds a variable")
            return [Given(item.text, item.variable, item.split, item.home, item.stream)]
        names: dict[str, None] = {}
        self.globs += 1
        if self.globs > GLOBS:
            self.findings.problem("it holds many globs")
            return [Given(item.text)]
        for cwd in self.cwds:
            found = places.expand(cwd, item.pattern)
            if found is None:
                self.findings.problem(f"{code(item.text)} may stand for anything")
            names.update(dict.fromkeys(found or ()))
        if not names or "[" in item.pattern:
            names[item.text] = None
        return [Given(name) for name in names]

    def look(self, word: Given, *, contents: bool) -> None:
        """A file that is read, or only looked up."""
        if word.stream or word.text in ("-", ""):
            return
        self.findings.does("reads", word.text)
        if word.home:
            self.findings.problem(f"{code(word.text)} is in the home folder")
            return
        self.files += 1
        if self.files > FILES:
            self.findings.problem("it names very many files")
            return
        # Of a name that is not known yet, the folder tells most.
        name = "." if word.any_file else word.text
        for cwd in self.cwds:
            if why := places.objection(self.place, cwd, name, contents=contents):
                self.findings.problem(f"{code(name)} {why}")
                return

    def guard(self, word: Given) -> None:
        """A file that a remembered command may be told to use: none that is asked for every time."""
        path = word.text.partition("::")[0]
        for cwd in self.cwds:
            if why := places.refusal(self.place, cwd, path):
                self.findings.problem(f"{code(word.text)} {why}")

    def writes(self, word: Given, kind: Kind = "writes") -> None:
        """A file that is written or deleted; what bash takes for an address is the network."""
        if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
            self.findings.does("network", word.text.split("/")[3])
        elif word.text not in places.HARMLESS_FILES or kind == "deletes":
            self.findings.does(kind, word.text)
