"""Glob patterns as regular expressions that cannot run away; pure."""

from __future__ import annotations

import re

PATTERN_CHARS = 1000
"""Longer patterns are refused."""

ALTERNATIVES = 64
"""Most patterns that the braces of one may stand for."""

DEEP = 4
"""Most `**` of one pattern: each of them multiplies the ways to match a path."""

_CLASS = re.compile(r"\[(!|\^)?(\]?[^\]]*)\]")
_BRACES = re.compile(r"\{([^{}]*)\}")


class GlobError(ValueError):
    """A pattern cannot be used; `str()` says why."""


def compile_glob(pattern: str) -> re.Pattern[str]:
    """An expression whose `fullmatch` takes paths relative to the folder of the search.

    `*` and `?` stay within one name, `**` crosses folders, `[…]` and `{…,…}` as usual. A pattern
    without `/` matches the last name at any depth. Raises `GlobError`.
    """
    if len(pattern) > PATTERN_CHARS:
        raise GlobError(f"The glob is longer than {PATTERN_CHARS} characters.")
    try:
        return re.compile("|".join(map(_translate, _expand(pattern))), re.DOTALL)
    except re.error as error:
        raise GlobError(f"The glob {pattern!r} is wrong: {error.msg}.") from error


def _expand(pattern: str) -> list[str]:
    """The patterns without braces that one with braces stands for."""
    waiting, found = [pattern], list[str]()
    while waiting:
        one = waiting.pop()
        if match := _BRACES.search(one):
            waiting += [one[: match.start()] + part + one[match.end() :] for part in match[1].split(",")]
        else:
            found.append(one)
        if len(waiting) + len(found) > ALTERNATIVES:
            raise GlobError(f"The braces of the glob stand for more than {ALTERNATIVES} patterns.")
    return found


def _translate(pattern: str) -> str:
    segments = pattern.removeprefix("./").lstrip("/").split("/")
    if "/" not in pattern.removeprefix("./"):
        segments.insert(0, "**")
    segments = [name for at, name in enumerate(segments) if name != "**" or segments[at - 1 : at] != ["**"]]
    if segments.count("**") > DEEP:
        raise GlobError(f"The glob {pattern!r} has more than {DEEP} `**`.")
    *folders, last = segments
    return "".join("(?:[^/]+/)*" if name == "**" else f"{_segment(name)}/" for name in folders) + (
        ".+" if last == "**" else _segment(last)
    )


def _segment(name: str) -> str:
    """One name. All but the last `*` take the first fit and never reconsider: that is enough."""
    first, *rest = map(_fixed, re.split(r"\*+", name))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + f"[^/]*{last}"


def _fixed(part: str) -> str:
    """A part without `*`."""
    out: list[str] = []
    at = 0
    while at < len(part):
        if match := _CLASS.match(part, at):
            body = re.sub(r"([\\\[\]&~|^])", r"\\\1", match[2])
            out.append(f"(?!/)[{'^' if match[1] else ''}{body}]")
            at = match.end()
            continue
        if part[at] == "\\" and at + 1 < len(part):
            at += 1
            out.append(re.escape(part[at]))
        else:
            out.append("[^/]" if part[at] == "?" else re.escape(part[at]))
        at += 1
    return "".join(out)
