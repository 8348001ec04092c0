"""Where the files of a command lie: real paths, globs as the shell expands them, secrets.

Looks at the disk but reads no contents; call it in a thread.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermes_acp.policy.commands_verdict import Place
from hermes_acp.policy.paths import inside, protection

GLOB_ENTRIES = 1_000
"""Names that a glob may be compared with; a glob that needs more is not understood."""

GLOB_MATCHES = 256
"""Names that a glob may stand for."""

HARMLESS_FILES = frozenset({"/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"})
"""Files outside the workspace that anybody may name."""

_SECRET = re.compile(
    r"""
      \.env(?!\.(?:dist|example|sample|template|defaults?)$)(?:\..*|rc)? | .*\.env
    | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|ovpn|tfstate|tfvars)(?:\.\w+)?
    | id_(?:rsa|dsa|ecdsa|ed25519)(?:[._-].*)?(?<!\.pub)
    | \.(?:netrc|npmrc|pypirc|pgpass|my\.cnf|git-credentials|dockercfg|htpasswd)
    | \.?(?:credentials?|secrets?|passwords?|passwd|shadow|tokens?)
      (?:\.(?:json|ya?ml|txt|toml|ini|cfg|conf|csv|xml|properties|enc|bak))?
    | (?:service[-_]account|client[-_]secret|application_default_credentials).*\.json
    | kubeconfig | .*\.kubeconfig | \.(?:bash|zsh|python|node_repl|psql|mysql|sqlite)_history
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Names of files that usually hold keys and passwords."""

_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".password-store"})


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
    what = protection(real, place.protected) or ""
    if what.startswith("data of") or (contents and what == "credentials"):
        return f"is protected ({what})"
    if contents and (secret(logical) or secret(real)):
        return "may hold secrets"
    return ""


def secret(path: str) -> bool:
    """Whether the names in the path are those of files that hold keys and passwords."""
    *folders, name = path.split("/")
    return bool(_SECRET.fullmatch(name)) or not _SECRET_FOLDERS.isdisjoint(folders)


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


@dataclass(slots=True)
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
