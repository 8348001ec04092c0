"""Which effects a rule is about: narrowly where it allows, widely where it asks or forbids."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import assert_never

from hermes_acp.policy.commands.verdict import Judgement, Kind, Part, Place
from hermes_acp.policy.effects import Effect
from hermes_acp.policy.paths import inside, secret
from hermes_acp.policy.rules.rules import Rule, RuleDraft, host_name

GLOBS = 4_096
"""Globs that are kept as regular expressions."""

PATHS = 256
"""Paths of which it is kept how the roots see them."""

_BETWEEN_WORDS = re.compile(r"[\s;&|()`'\"]+")


@dataclass(frozen=True)
class Subject:
    """An effect, the place it would happen in, and for a command what is known about it.

    What is worked out from these is kept, for all rules ask for it.
    """

    effect: Effect
    place: Place
    judgement: Judgement | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The simple commands of a command."""
        return self.judgement.parts if self.judgement is not None else ()

    @property
    def understood(self) -> bool:
        """Whether the parts of a command say all that it does."""
        judgement = self.judgement
        return judgement is not None and (judgement.decision == "allow" or judgement.divisible)

    @cached_property
    def read(self) -> tuple[str, ...]:
        """The real paths of files that are read."""
        return self.effect.paths if self.effect.kind == "read" else self._targets("reads")

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The real paths of files that are changed."""
        return self.effect.paths if self.effect.kind == "write" else self._targets("writes", "deletes")

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that are talked to."""
        if self.effect.kind == "fetch":
            return (host_name(self.effect.host),)
        named = (effect.targets for part in self.parts for effect in part.effects if effect.kind == "network")
        return tuple(host_name(host) for hosts in named for host in hosts)

    @cached_property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The words of what is not understood, which may be commands."""
        unclear = [part for part in self.parts if part.decision != "allow" and not part.called.meaning]
        texts = [" ".join((part.text, *map(" ".join, part.called.runs))) for part in unclear]
        if not self.understood:
            texts.append(self.effect.command)
        return tuple(tuple(filter(None, _BETWEEN_WORDS.split(text))) for text in texts)

    def _targets(self, *kinds: Kind) -> tuple[str, ...]:
        return tuple(
            os.path.realpath(Path(part.called.cwd or self.place.cwd, target))
            for part in self.parts
            for effect in part.effects
            if effect.kind in kinds
            for target in effect.targets
            if "\0" not in target
        )


def concerns(rule: Rule, subject: Subject) -> bool:
    """Whether a rule that forbids or asks is about the effect; wider than the same rule would allow.

    A command is meant in other folders, with other blanks and behind other programs, and by the files and
    hosts that it names; a host with its subdomains; and one path among many is enough.
    """
    effect, roots = subject.effect, subject.place.roots
    match rule.effect:
        case "write":
            if rule.form == "pattern":
                return any(_is_path(rule.match, path, roots, wide=True) for path in subject.changed)
            return effect.kind == "write" and any(inside(path, roots) for path in effect.paths)
        case "read":
            if rule.form == "pattern":
                return any(_is_path(rule.match, path, roots, wide=True) for path in subject.read)
            return any(inside(path, (rule.match,)) for path in subject.read)
        case "execute":
            return effect.kind == "execute" and _is_command(rule, subject)
        case "fetch":
            return any(_is_host(rule, host, wide=True) for host in subject.hosts)
        case "mcp":
            return effect.kind == "mcp" and _is_name(rule, effect.tool)
        case _ as unknown:
            assert_never(unknown)


def allows(rule: Rule, draft: RuleDraft, roots: tuple[str, ...]) -> bool:
    """Whether the rule was made for this: for nothing that merely resembles or extends it.

    What commands need is in `rules.commands`.
    """
    if rule.decision != "allow" or rule.effect != draft.effect:
        return False
    match draft.effect:
        case "read" if rule.form == "pattern":
            return _is_path(rule.match, draft.match, roots)
        case "read" if not secret(draft.match):
            return inside(draft.match, (rule.match,))
        case "fetch":
            return _is_host(rule, draft.match)
        case "mcp":
            return _is_name(rule, draft.match) and (rule.form == "pattern" or rule.cwd == draft.cwd)
        case _:
            return (rule.form, rule.match, rule.cwd) == (draft.form, draft.match, draft.cwd)


def allows_writing(rules: Iterable[Rule], paths: Sequence[str], roots: tuple[str, ...]) -> tuple[Rule, ...]:
    """The rules that together allow changing all of the files; none when one is left."""
    writing = [rule for rule in rules if (rule.decision, rule.effect) == ("allow", "write")]
    found: dict[str, Rule] = {}
    for path in paths:
        by = next((rule for rule in writing if not rule.match or _is_path(rule.match, path, roots)), None)
        if by is None:
            return ()
        found[by.rule_id] = by
    return tuple(found.values())


# --- commands ------------------------------------------------------------------------------------


def _is_command(rule: Rule, subject: Subject) -> bool:
    if rule.form == "exact":
        return subject.effect.command.split() == rule.match.split()
    words = tuple(rule.match.split())
    if not words or any(_says(words, part, whole=rule.form == "meaning") for part in subject.parts):
        return True
    return any(_mentions(words, text) for text in subject.texts)


def _says(words: tuple[str, ...], part: Part, *, whole: bool) -> bool:
    """Whether a part does what the words say."""
    called = part.called
    if whole and called.meaning:
        return called.meaning[-len(words) :] == words
    return any(_begins(words, run) for run in called.runs)


def _begins(words: tuple[str, ...], run: tuple[str, ...]) -> bool:
    """Whether a program is called with these words first, whatever options stand between them."""
    if posixpath.basename(run[0] if run else "") != words[0]:
        return False
    plain = [word for word in words[1:] if not word.startswith("-")]
    given = [word for word in run[1:] if not word.startswith("-")]
    options = {word for word in words[1:] if word.startswith("-")}
    return given[: len(plain)] == plain and options <= set(run)


def _mentions(words: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """Whether the words stand in a text in a row, whatever options are between them."""
    starts = [at for at, word in enumerate(text) if words[0] in (word, posixpath.basename(word))]
    for start in starts:
        rest = [word for word in text[start + 1 :] if not word.startswith("-") or word in words]
        if tuple(rest[: len(words) - 1]) == words[1:]:
            return True
    return False


# --- names and globs -----------------------------------------------------------------------------


def _is_host(rule: Rule, host: str, *, wide: bool = False) -> bool:
    match = host_name(rule.match)
    if rule.form == "pattern" and _glob(match).fullmatch(host):
        return True
    return f".{host}".endswith(f".{match}") if wide else host == match


def _is_name(rule: Rule, name: str) -> bool:
    return bool(_glob(rule.match).fullmatch(name)) if rule.form == "pattern" else name == rule.match


def _is_path(pattern: str, path: str, roots: tuple[str, ...], *, wide: bool = False) -> bool:
    """Whether a path, or a folder above it, is one that the glob means: a name anywhere, or a path.

    `wide`: in upper or lower case.
    """
    absolute, relatives = _seen_from(path, roots, fold=wide)
    pattern = pattern.casefold() if wide else pattern
    if pattern.startswith("/"):
        return bool(_below(pattern).fullmatch(absolute))
    anywhere = pattern if "/" in pattern.rstrip("/") else f"**/{pattern}"
    return any(_below(anywhere).fullmatch(relative) for relative in relatives)


@functools.lru_cache(maxsize=PATHS)
def _seen_from(path: str, roots: tuple[str, ...], *, fold: bool) -> tuple[str, tuple[str, ...]]:
    """A path, and the same as seen from each root that holds it; `fold`: all in lower case."""
    if fold:
        path, roots = path.casefold(), tuple(map(str.casefold, roots))
    return path, tuple(os.path.relpath(path, root) for root in roots if inside(path, (root,)))


def _below(pattern: str) -> re.Pattern[str]:
    """The glob for a path and all below it."""
    return _glob(f"{pattern.rstrip('/')}", below=True)


@functools.lru_cache(maxsize=GLOBS)
def _glob(pattern: str, *, below: bool = False) -> re.Pattern[str]:
    """`**` between slashes is any folders, `*` and `?` stay within a name, and all else is itself."""
    *names, last = pattern.split("/")
    out = "".join("(?:[^/]+/)*" if name == "**" else f"{_name(name)}/" for name in names)
    if last != "**":
        out += _name(last)
    else:
        out = f"{out[:-1]}(?:/.*)?" if out.endswith("/") else f"{out}.*"
    return re.compile(f"{out}(?:/.*)?" if below else out, re.DOTALL)


def _name(pattern: str) -> str:
    """A part of a glob without slashes; whatever it is, the time that it takes stays in proportion."""
    first, *others = ("[^/]".join(map(re.escape, text.split("?"))) for text in re.split(r"\*+", pattern))
    if not others:
        return first
    # The first place that fits is as good as any later one, but for the last part.
    return first + "".join(f"(?>[^/]*?{text})" for text in others[:-1]) + f"[^/]*{others[-1]}"
