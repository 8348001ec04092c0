"""MEMORY.md and USER.md: what is known on one page, which people may edit; an edit is read back as changes.

A view has a budget of characters and takes the facts of most value; what does not fit is counted in
its last line. The same facts give the same bytes. Each line ends with a mark, `^k3f9a1`, by which it is
recognised when it comes back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from hermes_acp.memory.facts.changes import Amend, Change, Remember, Retract
from hermes_acp.memory.facts.fact import Fact, Kind
from hermes_acp.records import record

PROJECT_CHARS = 2_200
"""Characters of the view of a project, unless another number is asked for."""
USER_CHARS = 1_375
"""Characters of the view of the user."""
LINE_CHARS = 400
"""A longer fact is cut: its beginning says what it is about."""
MARK_CHARS = 6
EDITED_CHARS = 200_000
"""A longer file is no view that somebody has edited."""
ALIKE = 0.7
"""From this likeness on a line without its mark is the one that it resembles most."""
USES_COUNTED = 20

Subject: TypeAlias = Literal["project", "user"]

TITLES: Mapping[Subject, str] = {
    "project": "# What is known of this project",
    "user": "# What is known of the user",
}
SECTIONS: Mapping[Kind, str] = {
    "preference": "## Preferences",
    "environment": "## Environment",
    "decision": "## Decisions",
    "procedure": "## Procedures",
    "pitfall": "## Pitfalls",
    "code-fact": "## Code",
}
WORTH: Mapping[Kind, float] = {
    "preference": 1.0,
    "decision": 0.9,
    "pitfall": 0.85,
    "procedure": 0.8,
    "environment": 0.75,
    "code-fact": 0.6,
}
STALE = " (the code has changed since)"

_LEFT_OUT = "({count:,} more did not fit: `hermes-editor memory list` shows all.)"
_LEFT_OUT_LINE = re.compile(r"\([\d,]+ more did not fit: .*\)")
_LEFT_OUT_CHARS = 80
_MARK = re.compile(r"\s\^([0-9a-z]{4,26})(?:\s*\(the code has changed since\))?$")


@record
class Line:
    """A fact and the line that stands for it."""

    fact: Fact
    mark: str
    text: str


@record
class View:
    """A page; `left_out` counts the facts that it has no room for."""

    subject: Subject
    text: str
    lines: tuple[Line, ...]
    left_out: int


@record
class Conflict:
    """An edit that cannot simply be made: the line as the user wrote it, and why, for somebody to decide.

    `fact_id` is the fact that it is about, empty when it is about the whole page.
    """

    fact_id: str
    wanted: str
    why: str


@record
class ReadBack:
    """What an edited view means."""

    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def render(
    subject: Subject,
    facts: Iterable[Fact],
    budget: int,
    uses: Mapping[str, int] = {},
    stale: Collection[str] = (),
) -> View:
    """The page of these facts, which hold; empty when there are none, or when none fits."""
    ranked = sorted(facts, key=lambda fact: (-_value(fact, uses, stale), -fact.updated, fact.id))
    marks = _marks(ranked)
    room = budget - len(TITLES[subject]) - 1 - _LEFT_OUT_CHARS
    chosen: dict[Kind, list[Line]] = {}
    for fact in ranked:
        text = f"- {_said(fact)} ^{marks[fact.id]}{STALE if fact.id in stale else ''}"
        line = Line(fact, marks[fact.id], text)
        heading = 0 if fact.kind in chosen else len(SECTIONS[fact.kind]) + 2
        if len(line.text) + 1 + heading <= room:
            chosen.setdefault(fact.kind, []).append(line)
            room -= len(line.text) + 1 + heading
    lines = tuple(line for kind in SECTIONS for line in chosen.get(kind, ()))
    left_out = len(ranked) - len(lines)
    return View(subject, _page(subject, chosen, left_out) if lines else "", lines, left_out)


def read_back(view: View, edited: str, now: Mapping[str, Fact]) -> ReadBack:
    """The changes that turn what was shown into what somebody made of it; `now` are the facts as they are.

    A page without a line takes nothing back: it is more often an accident than a wish.
    """
    if len(edited) > EDITED_CHARS:
        return ReadBack(
            conflicts=(Conflict("", "", f"The file is longer than {EDITED_CHARS:,} characters."),)
        )
    written = list(_written(edited))
    if view.lines and not written:
        why = "The page is empty. Nothing was retracted: delete single lines, or use `memory retract`."
        return ReadBack(conflicts=(Conflict("", "", why),))
    matches = _matched(view.lines, written)
    edits = _Edits(now)
    for line in view.lines:
        edits.take(line, matches.get(line.fact.id))
    kept = {id(item) for item in matches.values()}
    new = [_remember(view.subject, item) for item in written if id(item) not in kept]
    return ReadBack((*edits.changes, *new), tuple(edits.conflicts))


# --- rendering -----------------------------------------------------------------------------------


def _value(fact: Fact, uses: Mapping[str, int], stale: Collection[str]) -> float:
    """How much a fact is worth its room; when it was learned does not matter."""
    used = min(uses.get(fact.id, 0), USES_COUNTED) / USES_COUNTED
    said = 0.3 if fact.author == "user" else 0.0
    old = 0.5 if fact.id in stale else 0.0
    return round(WORTH[fact.kind] + said + fact.confidence / 2 + used / 2 - old, 6)


def _marks(facts: Sequence[Fact]) -> dict[str, str]:
    """A mark for each fact: the end of its id, as long as it takes to tell them apart."""
    marks: dict[str, str] = {}
    taken: set[str] = set()
    for fact in sorted(facts, key=lambda fact: fact.id):
        whole = fact.id.lower()
        mark = whole[-MARK_CHARS:]
        if mark in taken:
            ends = (whole[-size:] for size in range(MARK_CHARS + 1, len(whole) + 1))
            mark = next(end for end in ends if end not in taken)
        marks[fact.id] = mark
        taken.add(mark)
    return marks


def _said(fact: Fact) -> str:
    """The text in one line."""
    text = " ".join(fact.text.split())
    return text if len(text) <= LINE_CHARS else f"{text[: LINE_CHARS - 1]}…"


def _page(subject: Subject, chosen: Mapping[Kind, Sequence[Line]], left_out: int) -> str:
    parts = [TITLES[subject]]
    for kind, heading in SECTIONS.items():
        if kind in chosen:
            parts += ["", heading, *(line.text for line in chosen[kind])]
    if left_out:
        parts += ["", _LEFT_OUT.format(count=left_out)]
    return "\n".join((*parts, ""))


# --- reading back --------------------------------------------------------------------------------


@record
class _Item:
    """A line as somebody left it; `kind` says under which heading, None under none of ours."""

    kind: Kind | None
    mark: str
    text: str


@dataclass(slots=True)
class _Edits:
    """What becomes of the facts that were shown."""

    now: Mapping[str, Fact]
    changes: list[Change] = field(default_factory=list[Change])
    conflicts: list[Conflict] = field(default_factory=list[Conflict])

    def take(self, line: Line, item: _Item | None) -> None:
        fact = line.fact
        same = item is not None and (item.text, item.kind or fact.kind) == (_said(fact), fact.kind)
        if same:
            return
        wanted = item.text if item is not None else ""
        current = self.now.get(fact.id)
        if current is None or current.status != "active" or current.text != fact.text:
            if current is not None and current.status == "active":
                self.conflicts.append(
                    Conflict(fact.id, wanted, f"It was changed meanwhile: {_said(current)}")
                )
            elif item is not None:
                self.conflicts.append(Conflict(fact.id, wanted, "It was replaced or retracted meanwhile."))
        elif item is None:
            self.changes.append(Retract(fact.id))
        elif wanted.endswith("…") and wanted != _said(fact):
            why = "Only its beginning was shown: use `memory edit` to change a fact that long."
            self.conflicts.append(Conflict(fact.id, wanted, why))
        else:
            text = None if wanted == _said(fact) else wanted
            self.changes.append(Amend(fact.id, text=text, kind=item.kind, author="user"))


def _remember(subject: Subject, item: _Item) -> Remember:
    """The fact in a line that nobody has shown."""
    if subject == "user":
        return Remember(item.kind or "preference", item.text, author="user", reach="user")
    return Remember(item.kind or "decision", item.text, author="user")


def _written(edited: str) -> Iterator[_Item]:
    """The lines of an edited page that say something."""
    kinds: dict[str, Kind] = {
        heading.removeprefix("## ").casefold(): kind for kind, heading in SECTIONS.items()
    }
    kind: Kind | None = None
    for line in edited.splitlines():
        text = line.strip()
        if text.startswith("#"):
            kind = kinds.get(text.lstrip("#").strip().casefold())
            continue
        found = _MARK.search(text)
        said = text[: found.start()] if found else text
        said = " ".join(re.sub(r"^[-*+]\s+", "", said).split())
        if said and not _LEFT_OUT_LINE.fullmatch(text):
            yield _Item(kind, found[1] if found else "", said)


def _matched(lines: Sequence[Line], written: Sequence[_Item]) -> dict[str, _Item]:
    """Which written line stands for which fact: by its mark, else by what it says."""
    matches: dict[str, _Item] = {}
    free = list(written)

    def match(line: Line, candidates: Sequence[_Item]) -> None:
        # Of several, such as a line and its copy, the one that says what was shown.
        best = max(candidates, key=lambda item: _likeness(item.text, _said(line.fact)))
        matches[line.fact.id] = best
        free[:] = [item for item in free if item is not best]

    for line in lines:
        if marked := [item for item in free if item.mark == line.mark]:
            match(line, marked)
    for line in lines:
        said = _said(line.fact)
        alike = [item for item in free if not item.mark and _likeness(item.text, said) >= ALIKE]
        if line.fact.id not in matches and alike:
            match(line, alike)
    return matches


def _likeness(one: str, other: str) -> float:
    return 1.0 if one == other else SequenceMatcher(None, one, other, autojunk=False).ratio()
