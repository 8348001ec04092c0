"""What a command rests on: the files that decide what it does, as names and one digest of their contents.

Reads files, none of them large; call it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import cast

from hermes_acp.policy.commands.verdict import Rest
from hermes_acp.policy.paths import inside
from hermes_acp.policy.small_files import read
from hermes_acp.records import mutable, record

FILE_BYTES = 1024 * 1024
"""A larger file is not read, and nothing that rests on it is remembered for the like."""

FILES = 32
"""Files that one command may rest on; with more, nothing is remembered for the like."""

LEVELS = 64
"""Folders that are looked at, upwards, for a file."""

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_INCLUDE = re.compile(r"^[ \t]*(?:-include|sinclude|include)[ \t]+(.*)$", re.MULTILINE)
_UNSURE = re.compile(r"[$*?\[%~`]")
_IMPORTS = re.compile(r"^[ \t]*(?:import|mod|includes?|dotenv)\b", re.MULTILINE)
_SCRIPT_WORD = re.compile(r"[^\s'\"&|;()]+")
_SCRIPT_GROUPS = re.compile(r"[*{]|\brun-[sp]\b|\bnpm-run-all\b")
_MISSING = b"missing"


@record
class Basis:
    """What a command rests on: `names`, a line each, and the `digest` of their contents.

    Both are empty when it rests on nothing. `whole`: all that is known to decide was found and read; without
    that, a command may be remembered by its whole text only.
    """

    names: str = ""
    digest: str = ""
    whole: bool = True


def basis(rests: Sequence[Rest], roots: tuple[str, ...]) -> Basis:
    """What the parts of a command rest on now. Never raises; what cannot be read counts as such."""
    if not rests:
        return Basis()
    found = _Found(roots)
    for rest in dict.fromkeys(rests):
        match rest.how:
            case "scripts":
                found.scripts(rest.cwd, rest.names[0])
            case "makefile":
                found.makefile(rest.cwd)
            case "nearest":
                found.nearest(rest.cwd, rest.names)
            case "file":
                found.file(os.path.normpath(Path(rest.cwd, rest.names[0])))
    digest = hashlib.sha256()
    for name, content in found.contents.items():
        for part in (name.encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return Basis("\n".join(found.contents), digest.hexdigest(), found.whole)


@mutable
class _Found:
    """Contents by the names under which they are remembered, in the order in which they were found."""

    roots: tuple[str, ...]
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    whole: bool = True

    def scripts(self, cwd: str, script: str) -> None:
        """A script of the nearest package.json, and those that its text names."""
        path = self._nearest(cwd, ("package.json",))
        scripts = _scripts(read(path, FILE_BYTES)) if path else None
        name = f"{self._name(path or str(Path(cwd, 'package.json')))}#{script}"
        if scripts is None or script not in scripts:
            self._add(name, None)
            return
        text = json.dumps(_closure(scripts, script), sort_keys=True)
        self._add(name, text.encode("utf-8", "surrogatepass"))

    def makefile(self, cwd: str) -> None:
        """The makefile of a folder, and what it includes."""
        paths = [str(Path(cwd, name)) for name in _MAKEFILES]
        waiting = [next(filter(os.path.lexists, paths), paths[-1])]
        while waiting:
            path = waiting.pop(0)
            if self._name(path) in self.contents:
                continue
            content = read(path, FILE_BYTES)
            optional = bool(self.contents) and not os.path.lexists(path)
            self._add(self._name(path), content, optional=optional)
            if not self.whole:
                return
            waiting.extend(str(Path(cwd, name)) for name in self._included(content or b""))

    def nearest(self, cwd: str, names: tuple[str, ...]) -> None:
        """The files of these names in the nearest folder that has one."""
        path = self._nearest(cwd, names)
        if path is None:
            self._add(self._name(str(Path(cwd, names[0]))), None)
            return
        for name in names:
            beside = str(Path(path).parent / name)
            if os.path.lexists(beside):
                content = read(beside, FILE_BYTES)
                self._add(self._name(beside), content)
                if content is not None and _IMPORTS.search(content.decode("utf-8", "replace")):
                    self.whole = self.whole and name.endswith((".ini", ".cfg", ".py", "pyproject.toml"))

    def file(self, path: str) -> None:
        """One file."""
        self._add(self._name(path), read(path, FILE_BYTES))

    def _add(self, name: str, content: bytes | None, *, optional: bool = False) -> None:
        """Keep contents, None for those that cannot be read, which only `optional` ones need not be."""
        if (content is None and not optional) or len(self.contents) >= FILES or "\n" in name:
            self.whole = False
        if len(self.contents) < FILES:
            self.contents[name.replace("\n", " ")] = _MISSING if content is None else b"=" + content

    def _included(self, content: bytes) -> Iterator[str]:
        """The names of files that a makefile includes."""
        text = content.decode("utf-8", "surrogateescape").replace("\\\n", " ")
        for names in _INCLUDE.findall(text):
            if _UNSURE.search(names):
                self.whole = False
                return
            yield from names.split("#", 1)[0].split()

    def _nearest(self, cwd: str, names: tuple[str, ...]) -> str | None:
        for folder in (Path(cwd), *Path(cwd).parents)[:LEVELS]:
            if not inside(str(folder), self.roots):
                return None
            for name in names:
                if os.path.lexists(folder / name):
                    return str(folder / name)
        return None

    def _name(self, path: str) -> str:
        """The path as seen from the workspace, so that a rule holds in all worktrees."""
        root = next((root for root in self.roots if inside(path, (root,))), None)
        return path if root is None else os.path.relpath(path, root)


def _scripts(content: bytes | None) -> Mapping[str, str] | None:
    """The scripts of a package.json; None for what is none."""
    try:
        package = cast("object", json.loads(content or b""))
    except (ValueError, RecursionError):
        return None
    scripts = cast("Mapping[str, object]", package).get("scripts") if isinstance(package, dict) else None
    if not isinstance(scripts, dict):
        return None
    named = cast("Mapping[str, object]", scripts)
    return {name: text for name, text in named.items() if isinstance(text, str)}


def _closure(scripts: Mapping[str, str], script: str) -> Mapping[str, str]:
    """The script, what runs before and after it, and all scripts that those name in turn."""
    found: dict[str, str] = {}
    waiting = [script]
    while waiting:
        name = waiting.pop()
        if name in found or name not in scripts:
            continue
        found[name] = text = scripts[name]
        if _SCRIPT_GROUPS.search(text):
            return scripts
        waiting.extend((f"pre{name}", f"post{name}", *_SCRIPT_WORD.findall(text)))
    return found
