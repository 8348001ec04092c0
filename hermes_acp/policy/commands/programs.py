"""The table of programs: what is known about their options and words, read from `programs/*.toml`."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from hermes_acp.policy.commands.verdict import CHANGES, Kind
from hermes_acp.records import record

FOLDER = Path(__file__).parent / "programs"
"""The data files; the first of them explains the format."""

Argument: TypeAlias = Literal[
    "text", "path", "entry", "rev", "glob", "word", "out", "host", "command", "program"
]
"""What a word is for a program: see the table."""

Check: TypeAlias = Literal[
    "awk", "cd", "command", "echo", "find", "git", "jq", "plain", "printf", "sed", "tar", "test", "xargs"
]
"""What else is looked at, in code."""


Meaning: TypeAlias = Literal["name", "first", "words", "command", "module"]
"""Which words say what a program does: see the table."""


class TableError(Exception):
    """A data file is wrong; `str()` names the entry."""


@record
class Option:
    """An option: what its value is, None without a value; `attached` values cannot be the next word.

    `second`: it has two values, which are words of their own. `does`: what it makes the program do besides
    reading.
    """

    value: Argument | None = None
    second: Argument | None = None
    attached: bool = False
    does: Kind | None = None


@record
class Words:
    """What the words besides the options are: the first, any number of others, the last."""

    head: tuple[Argument, ...] = ()
    others: Argument | None = None
    tail: tuple[Argument, ...] = ()

    def kinds(self, count: int) -> tuple[Argument, ...] | None:
        """What each of `count` words is; None when there are too many."""
        if self.others is None:
            return self.head[:count] if count <= len(self.head) else None
        # With few words, the last ones are still the last.
        tail = self.tail[max(0, len(self.tail) - count) :]
        head = self.head[: count - len(tail)]
        others: tuple[Argument, ...] = (self.others,) * (count - len(head) - len(tail))
        return (*head, *others, *tail)


@record
class Program:
    """What is known about a program or a sub-command of one; the table explains the members.

    `name` is how it is called here, `entry` how it is called in the table.
    """

    name: str
    entry: str
    options: Mapping[str, Option]
    words: Words
    does: tuple[Kind, ...] = ()
    needs: tuple[str, ...] = ()
    instead: frozenset[str] = frozenset()
    only: re.Pattern[str] | None = None
    never: re.Pattern[str] | None = None
    unless: frozenset[str] = frozenset()
    check: Check = "plain"
    long_options: bool = False
    bundle: bool = False
    no_options: bool = False
    options_first: bool = False
    group: bool = False
    because: str = ""
    meaning: Meaning | None = None
    rests_on: tuple[str, ...] = ()


@record
class Table:
    """All programs.

    `questions`: words that are harmless as the only word, whatever else the program can do.
    `variables`: those that may be set for one command, and the values that they may have.
    """

    programs: Mapping[str, Program]
    questions: Mapping[str, frozenset[str]]
    variables: Mapping[str, re.Pattern[str]]


_KEYS = frozenset(
    {
        *("also", "flags", "words", "does", "needs", "instead", "only", "never", "unless", "check", "style"),
        *("with", "because", "meaning", "rests_on", *CHANGES),
    }
)
_STYLES = frozenset({"", "long", "bundle", "first", "plain"})


@functools.lru_cache(maxsize=1)
def table() -> Table:
    """The table that comes with the program; read once. Raises `TableError` for a broken file."""
    return load(FOLDER)


def load(folder: Path) -> Table:
    """The table in the files of a folder. Raises `TableError`."""
    entries: dict[str, dict[str, object]] = {}
    for file in sorted(folder.glob("*.toml")):
        for name, entry in cast("dict[str, object]", tomllib.loads(file.read_text("utf-8"))).items():
            if name in entries or not isinstance(entry, dict):
                raise TableError(f"{file.name}: {name!r} stands twice, or is no table")
            entries[name] = cast("dict[str, object]", entry)
    variables = entries.pop("variables", {})
    questions = entries.pop("questions", {})
    shared = {name: entries.pop(name) for name in list(entries) if name.startswith("@")}
    programs: dict[str, Program] = {}
    for name, entry in entries.items():
        group = name.rpartition(" ")[0]
        for alias in (name, *(f"{group} {other}".strip() for other in _list(name, entry, "also"))):
            if alias in programs:
                raise TableError(f"{alias!r} stands twice")
            programs[alias] = _program(alias, name, entry, shared)
    for name in programs:
        group = programs.get(name.rpartition(" ")[0])
        if " " in name and (group is None or not group.group):
            raise TableError(f"{name!r}: there is no group of that name")
    patterns = {key: re.compile(_string(key, value)) for key, value in variables.items()}
    return Table(programs, _questions(questions), patterns)


def _questions(entry: Mapping[str, object]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for word in entry:
        for name in _list(word, entry, word):
            found.setdefault(name, set()).add(word)
    return {name: frozenset(words) for name, words in found.items()}


def _program(
    alias: str, name: str, entry: Mapping[str, object], shared: Mapping[str, Mapping[str, object]]
) -> Program:
    if unknown := entry.keys() - _KEYS:
        raise TableError(f"{name!r}: unknown members {sorted(unknown)}")
    style = _string(name, entry.get("style", ""))
    check = _string(name, entry.get("check", "plain"))
    if style not in _STYLES or check not in get_args(Check):
        raise TableError(f"{name!r}: unknown style or check")
    meaning = _string(name, entry.get("meaning", ""))
    if meaning and meaning not in get_args(Meaning):
        raise TableError(f"{name!r}: {meaning!r} is no kind of meaning")
    options: dict[str, Option] = {}
    for part in _list(name, entry, "with"):
        if part not in shared:
            raise TableError(f"{name!r}: there are no shared options {part!r}")
        options.update(_options(part, shared[part]))
    options.update(_options(name, entry))
    words = _string(name, entry.get("words", ""))
    return Program(
        name=alias,
        entry=name,
        options=options,
        words=_words(name, words),
        does=_kinds(name, entry),
        needs=_list(name, entry, "needs"),
        instead=frozenset(_list(name, entry, "instead")),
        only=_pattern(name, entry, "only"),
        never=_pattern(name, entry, "never"),
        unless=frozenset(_list(name, entry, "unless")),
        check=cast("Check", check),
        long_options=style == "long",
        bundle=style == "bundle",
        no_options=style == "plain",
        options_first=style == "first",
        group=words == "group",
        because=_string(name, entry.get("because", "")),
        meaning=cast("Meaning", meaning) if meaning else None,
        rests_on=_list(name, entry, "rests_on"),
    )


def _options(name: str, entry: Mapping[str, object]) -> Iterator[tuple[str, Option]]:
    if not name.startswith("@"):
        yield "--help", Option()
        yield "--version", Option()
    for flag in _list(name, entry, "flags"):
        yield _option(name, flag, None)
    for kind in CHANGES:
        for flag in _list(name, entry, kind):
            yield _option(name, flag, kind)


def _option(name: str, text: str, does: Kind | None) -> tuple[str, Option]:
    flag, equals, value = text.partition("=")
    if not equals:
        return flag, Option(does=does)
    first, _, second = value.removeprefix("?").partition(",")
    return flag, Option(
        value=_argument(name, first or "text"),
        second=_argument(name, second) if second else None,
        attached=value.startswith("?"),
        does=does,
    )


def _words(name: str, text: str) -> Words:
    if text in ("", "group"):
        return Words()
    head: list[Argument] = []
    tail: list[Argument] = []
    others: Argument | None = None
    for part in text.split():
        argument = _argument(name, part.rstrip("*"))
        if part.endswith("*"):
            others = argument
        else:
            (head if others is None else tail).append(argument)
    return Words(tuple(head), others, tuple(tail))


def _argument(name: str, text: str) -> Argument:
    if text not in get_args(Argument):
        raise TableError(f"{name!r}: {text!r} is no kind of argument")
    return cast("Argument", text)


def _kinds(name: str, entry: Mapping[str, object]) -> tuple[Kind, ...]:
    kinds = _list(name, entry, "does")
    if not set(kinds) <= set(CHANGES):
        raise TableError(f"{name!r}: {' '.join(kinds)!r} are no effects")
    return cast("tuple[Kind, ...]", kinds)


def _list(name: str, entry: Mapping[str, object], key: str) -> tuple[str, ...]:
    return tuple(_string(name, entry.get(key, "")).split())


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TableError(f"{name!r}: {value!r} is no text")
    return value


def _pattern(name: str, entry: Mapping[str, object], key: str) -> re.Pattern[str] | None:
    text = _string(name, entry.get(key, ""))
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise TableError(f"{name!r}: {key} is no regular expression: {error}") from error
