"""Where the files of a command lie: real paths, globs as the shell expands them, secrets.

Looks at the disk but reads no contents; call it in a thread.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hermes_acp.policy.commands.verdict import Place
from hermes_acp.policy.paths import OWN_DATA, inside, protection, reserve, secret
from hermes_acp.policy.rules.rules import code
from hermes_acp.records import mutable

GLOB_ENTRIES = 1_000
"""Names that a glob may be compared with; a glob that needs more is not understood."""

GLOB_MATCHES = 256
"""Names that a glob may stand for."""

FOLDER_ENTRIES = 500
"""Names in a folder that is read as a whole that are looked at; further ones are taken for ordinary."""

HARMLESS_FILES = frozenset({"/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"})
"""Files outside the workspace that anybody may name."""


def objection(place: Place, cwd: str, path: str, *, contents: bool) -> str:
    """Why looking at `path` from `cwd` needs a question; empty for a file of the workspace.

    `contents`: the file is read, not only looked up. Says where the path leads now; whoever can
    change links meanwhile already writes in the workspace.
    """
    if path in HARMLESS_FILES:
        return ""
    try:
        logical = os.path.normpath(Path(cwd, path))
        real = os.path.realpath(Path(cwd, path))
        if ".." in path.split("/") and os.path.realpath(logical) != real:
            return "leads through a link"
    except (OSError, ValueError):
        return "is no name that a file can have"
    if not inside(real, place.roots):
        return "is outside the workspace"
    for name in (real, logical) if contents else ():
        if why := reserve(name, place.protected):
            return why
    if contents and (name := secret_in(real)):
        return f"holds {code(name)}, which may hold secrets"
    return f"is protected ({OWN_DATA})" if protection(real, place.protected) == OWN_DATA else ""


def secret_in(real: str) -> str:
    """The name of a file of this folder that may hold secrets; empty when none was seen."""
    try:
        with os.scandir(real) as entries:
            for entry in itertools.islice(entries, FOLDER_ENTRIES):
                if secret(entry.name) and entry.is_file(follow_symlinks=False):
                    return entry.name
    except OSError:
        pass
    return ""


def refusal(place: Place, cwd: str, path: str) -> str:
    """Why no rule lets a command use `path`: an objection, or a file that is protected; empty for others."""
    if why := objection(place, cwd, path, contents=True):
        return why
    what = protection(os.path.realpath(Path(cwd, path)), place.protected)
    return f"is protected ({what})" if what else ""


def folder(cwd: str, path: str) -> str:
    """The real path of a folder that a command goes to."""
    return os.path.realpath(Path(cwd, path))


def holds(cwd: str, names: frozenset[str], roots: tuple[str, ...]) -> str:
    """The first of the files in this folder or above it, as far as the workspace goes."""
    for at in (Path(cwd), *Path(cwd).parents):
        if not inside(str(at), roots):
            return ""
        for name in sorted(names):
            if os.path.lexists(at / name):
                return name
    return ""


def expand(cwd: str, pattern: str) -> tuple[str, ...] | None:
    """The names that a glob stands for in `cwd`; None when that cannot be said.

    A pattern without a match is empty here; the shell takes it as it is written.
    """
    head, *rest = re.split(r"/+", pattern)
    if head == "" or any(part.startswith(".") and _is_glob(part) for part in (head, *rest)):
        # An absolute glob leads out of the workspace, and `.*` may mean the folder above.
        return None
    budget = _Budget()
    found = [""]
    parts = [head, *rest]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        found = [name for base in found for name in budget.matches(cwd, base, part, last=last)]
        if budget.spent or len(found) > GLOB_MATCHES:
            return None
    return tuple(sorted(found))


def _is_glob(part: str) -> bool:
    return re.search(r"(?<!\\)[*?\[]", part) is not None


@mutable
class _Budget:
    left: int = GLOB_ENTRIES
    spent: bool = False

    def matches(self, cwd: str, base: str, part: str, *, last: bool) -> Iterator[str]:
        """The names in `cwd/base` that one part of a pattern stands for, with `base` before them."""
        if not _is_glob(part):
            name = base + re.sub(r"\\(.)", r"\1", part)
            if last and os.path.lexists(Path(cwd, name)):
                yield name
            elif not last:
                yield name + "/"
            return
        # Negation and classes mean other things in other places: a set is taken as any character.
        matcher = re.compile(fnmatch.translate(_widened(part)))
        try:
            with os.scandir(Path(cwd, base)) as entries:
                for entry in entries:
                    self.left -= 1
                    if self.left < 0:
                        self.spent = True
                        return
                    if not entry.name.startswith(".") and matcher.match(entry.name):
                        yield base + entry.name + ("" if last else "/")
        except OSError:
            return


def _widened(part: str) -> str:
    """The pattern for `fnmatch`, matching at least what the shell matches."""
    out: list[str] = []
    index = 0
    while index < len(part):
        char = part[index]
        if char == "\\" and index + 1 < len(part):
            index += 1
            out.append(f"[{part[index]}]")
        elif char == "[" and "]" in part[index + 2 :]:
            # The set may end at this bracket or, with a class in it, at a later one.
            out.append("*")
            break
        elif char == "[":
            out.append("[[]")
        else:
            out.append(char)
        index += 1
    return "".join(out)
