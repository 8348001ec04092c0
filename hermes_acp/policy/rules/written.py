"""Rules that people write: `[[rules]]` in the user's configuration, and stricter ones in the project's.

A file is read anew when it changed. Call it in a thread.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from hermes_acp.policy.effects import EffectKind
from hermes_acp.policy.paths import inside
from hermes_acp.policy.rules.rules import Decision, Origin, Rule, Scope, fits
from hermes_acp.policy.small_files import read
from hermes_acp.records import record

FILE_BYTES = 256 * 1024
"""A larger file is not read; everything is asked for instead."""

ENTRIES = 1_000
"""Rules in one file; with more, everything is asked for."""

PARSED = 64
"""Files whose rules are kept."""

LEVELS = 64
"""Folders that are looked at, upwards, for the project's configuration."""

ANY_FOLDERS = 2
"""Times that a glob may leave open which folders there are; each makes a comparison slower."""

PROJECT_FILE = Path(".hermes", "config.toml")

KINDS: Mapping[str, tuple[EffectKind, ...]] = {
    "command": ("execute",),
    "path": ("read", "write"),
    "host": ("fetch",),
    "tool": ("mcp",),
}
"""What an entry can be about, and the effects that are meant by it."""

_EVERYTHING: Mapping[EffectKind, str] = {
    "execute": "",
    "read": "/**",
    "write": "/**",
    "fetch": "*",
    "mcp": "*",
}
_OPERATORS = frozenset("|&;<>()$`\\\"'*?[]{}~#\n")


@record
class Where:
    """Whose rules are looked for: the user's file, the home folder for `~`, the workspace and its project."""

    user_file: str
    home: str
    roots: tuple[str, ...]
    project: str


@record
class Written:
    """The rules of files, and a sentence about each entry that is wrong."""

    rules: tuple[Rule, ...] = ()
    complaints: tuple[str, ...] = ()


def written(where: Where) -> Written:
    """The rules that hold in a workspace: never raises; what cannot be read is asked for."""
    found = [_user_rules(where), *(_file(path, "", own=False) for path in _project_files(where.roots))]
    return Written(
        tuple(rule for one in found for rule in one.rules),
        tuple(text for one in found for text in one.complaints),
    )


def pattern_problem(target: str, text: str) -> str:
    """Why a text cannot be what a rule of this kind is about; empty for one that can."""
    if not text.strip() or text != text.strip():
        return f"`{target}` is empty, or has blanks around it"
    if not text.isprintable():
        return f"`{target}` holds a character that cannot be seen"
    if target == "command" and not (_OPERATORS.isdisjoint(text) and fits(text)):
        return "`command` has to be the first plain words of commands, without quotes and operators"
    if target != "path":
        return ""
    if ".." in text.split("/"):
        return "`path` must not hold `..`"
    if text.split("/").count("**") > ANY_FOLDERS:
        return f"`path` must not hold `**` more than {ANY_FOLDERS} times"
    return ""


def _user_rules(where: Where) -> Written:
    found = _file(where.user_file, where.home, own=True)
    rules = (rule for rule in found.rules if not rule.origin.project or _is_in(rule.origin.project, where))
    return Written(tuple(rules), found.complaints)


def _is_in(folder: str, where: Where) -> bool:
    """Whether the session works on the project in this folder, perhaps in a worktree elsewhere."""
    real = os.path.realpath(folder)
    return any(inside(path, (real,)) for path in (where.project, *where.roots[:1]))


def _project_files(roots: Sequence[str]) -> Iterator[str]:
    """The configurations in the roots, and in the folders around them that belong to the repository."""
    seen: set[Path] = set()
    for root in roots:
        folders: list[Path] = []
        for folder in (Path(root), *Path(root).parents)[:LEVELS]:
            folders.append(folder)
            if os.path.lexists(folder / ".git"):
                break
        else:
            folders = [Path(root)]
        for folder in folders:
            if folder not in seen:
                seen.add(folder)
                yield str(folder / PROJECT_FILE)


# --- one file ------------------------------------------------------------------------------------


def _file(path: str, home: str, *, own: bool) -> Written:
    try:
        at = os.stat(path)  # noqa: PTH116 - a text is all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return Written()
    except (OSError, ValueError):
        return _unusable(path, "cannot be read")
    return _parsed(path, home, (at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino), own=own)


@functools.lru_cache(maxsize=PARSED)
def _parsed(path: str, home: str, _state: tuple[int, ...], *, own: bool) -> Written:
    """The rules of a file that is in this state."""
    content = read(path, FILE_BYTES)
    if content is None:
        return _unusable(path, f"cannot be read, or has more than {FILE_BYTES // 1024} KiB")
    try:
        entries = tomllib.loads(content.decode("utf-8")).get("rules", [])
    except (ValueError, RecursionError) as error:
        return _unusable(path, f"is not valid TOML ({error})")
    if not isinstance(entries, list) or len(cast("list[object]", entries)) > ENTRIES:
        return _unusable(path, f"has `rules` that are no `[[rules]]`, or more than {ENTRIES:,} of them")
    found = [
        _Entry(path, number, home, own=own).read(entry)
        for number, entry in enumerate(cast("list[object]", entries), start=1)
    ]
    return Written(
        tuple(rule for one in found for rule in one.rules),
        tuple(text for one in found for text in one.complaints),
    )


def _unusable(path: str, why: str) -> Written:
    """A file whose rules nobody knows: all that they could be about is asked for."""
    complaint = f"{path} {why}, so everything is asked for until it is put right."
    return Written(tuple(_asking(path, "the file", complaint, _EVERYTHING)), (complaint,))


def _asking(path: str, name: str, complaint: str, kinds: Mapping[EffectKind, str]) -> Iterator[Rule]:
    for kind, match in kinds.items():
        origin = Origin("", "", "", complaint, path)
        yield Rule(name, "ask", kind, match, "", "everywhere", 0.0, origin, "pattern")


@record
class _Entry:
    """One entry of a file; `own`: the file is the user's own, which alone may allow."""

    path: str
    number: int
    home: str
    own: bool

    @property
    def name(self) -> str:
        return f"rule {self.number}"

    def read(self, entry: object) -> Written:
        if not isinstance(entry, dict):
            return self._wrong({}, "it is no table")
        values = cast("Mapping[str, object]", entry)
        if problem := self._problem(values):
            return self._wrong(values, problem)
        (target,) = values.keys() & KINDS.keys()
        project, match = self._full(values.get("project", "")), str(values[target])
        decision = cast("Decision", values["decision"])
        match = self._full(match) if target == "path" else match
        match = " ".join(match.split()) if target == "command" else match
        origin = Origin(project, "", "", "", self.path)
        scope: Scope = "project" if project or not self.own else "everywhere"
        return Written(
            tuple(
                Rule(self.name, decision, kind, match, "", scope, 0.0, origin, "pattern")
                for kind in KINDS[target]
            )
        )

    def _problem(self, values: Mapping[str, object]) -> str:
        """What is wrong with an entry; empty for a right one."""
        known = {"decision", *KINDS, *(("project",) if self.own else ())}
        if unknown := sorted(values.keys() - known):
            return f"`{unknown[0]}` is not known here"
        if values.get("decision") not in get_args(Decision):
            return '`decision` has to be "allow", "ask" or "deny"'
        if values["decision"] == "allow" and not self.own:
            return "a project may only ask and deny"
        targets = sorted(values.keys() & KINDS.keys())
        if len(targets) != 1:
            return "it needs one of `command`, `path`, `host` and `tool`"
        for name in (*targets, *(values.keys() & {"project"})):
            if not isinstance(values[name], str):
                return f"`{name}` has to be a text"
        if "project" in values and not self._full(values["project"]).startswith("/"):
            return "`project` has to be the path of a folder"
        return pattern_problem(targets[0], str(values[targets[0]]))

    def _wrong(self, values: Mapping[str, object], problem: str) -> Written:
        """A wrong entry allows nothing, and what it may be about is asked for."""
        if values.get("decision") == "allow":
            return Written((), (f"{self.path}, {self.name}: {problem}. It allows nothing.",))
        kinds: Mapping[EffectKind, str] = {
            kind: _EVERYTHING[kind] for target in KINDS if target in values for kind in KINDS[target]
        }
        complaint = f"{self.path}, {self.name}: {problem}. What it may be about is asked for."
        asking = _asking(self.path, self.name, complaint, kinds or _EVERYTHING)
        return Written(tuple(asking), (complaint,))

    def _full(self, path: object) -> str:
        """A path with the home folder in the place of `~`."""
        text = str(path)
        return self.home.rstrip("/") + text[1:] if self.home and text[:2] in ("~", "~/") else text
