"""`@path` in a prompt: finding the files of a folder, and making links of what was mentioned."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hermes_acp.server.messages import Json
from hermes_acp.workspace import git

FILES = 20_000
"""Files of a folder that are offered."""
OFFERED = 30
"""Files that are offered at once."""
MENTIONS = 64
"""Mentions in one prompt that become links; further ones stay text."""
_LISTING = ("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
_MENTION = re.compile(r'(?<![^\s(\[{"\'])@(?:"(?P<quoted>[^"\n]+)"|(?P<plain>[^\s"]+))')
_TYPED = re.compile(r'(?:^|[\s(\[{])@(?P<typed>"[^"\n]*|[^\s"]*)$')
_PUNCTUATION = ".,;:!?)]}'"


async def files(folder: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The files below a folder, relative to it: those git does not ignore, else all but hidden ones."""
    try:
        (output,) = await git.ask(folder, env, _LISTING)
    except git.GitError:
        output = ""
    if output:
        return tuple(sorted(filter(None, output.split("\0")))[:FILES])
    return await asyncio.to_thread(lambda: tuple(sorted(_walk(folder))))


def _walk(folder: str) -> Iterator[str]:
    left = FILES
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if left == 0:
                return
            if not name.startswith("."):
                left -= 1
                yield os.path.relpath(str(Path(parent, name)), folder)


def typed(text: str) -> str | None:
    """The path that is being typed at the end of a text, behind its `@`; None where there is none."""
    found = _TYPED.search(text)
    return found["typed"] if found else None


def offered(paths: Sequence[str], word: str) -> tuple[str, ...]:
    """The files that fit best: whose name begins so, then whose path does, then that contain it."""
    wanted = word.lstrip('"').casefold()
    ranked: list[tuple[int, int, str]] = []
    for path in paths:
        folded = path.casefold()
        if folded.rpartition("/")[2].startswith(wanted):
            ranked.append((0, len(path), path))
        elif folded.startswith(wanted):
            ranked.append((1, len(path), path))
        elif wanted in folded:
            ranked.append((2, len(path), path))
    return tuple(path for _, _, path in sorted(ranked)[:OFFERED])


def quoted(path: str) -> str:
    """A path as it is mentioned."""
    return f'@"{path}"' if re.search(r"\s", path) else f"@{path}"


async def blocks(text: str, folder: str) -> list[Json]:
    """A prompt as content: text, with a link for every mentioned file that is there."""
    return await asyncio.to_thread(_blocks, text, folder)


def _blocks(text: str, folder: str) -> list[Json]:
    found: list[Json] = []
    start = 0
    for mention, _ in zip(_MENTION.finditer(text), range(MENTIONS), strict=False):
        named = _existing(mention["quoted"] or mention["plain"], folder)
        if named is None:
            continue
        name, path = named
        end = mention.end() if mention["quoted"] else mention.start() + 1 + len(name)
        found += _text(text[start : mention.start()])
        found.append({"type": "resource_link", "uri": path.as_uri(), "name": name})
        start = end
    return [*found, *_text(text[start:])]


def _existing(name: str, folder: str) -> tuple[str, Path] | None:
    """The longest beginning of `name` that is there, without the punctuation behind it."""
    while name:
        path = Path(os.path.normpath(Path(folder, name)))
        try:
            if path.exists():
                return name, path
        except (OSError, ValueError):
            return None
        if name[-1] not in _PUNCTUATION:
            return None
        name = name[:-1]
    return None


def _text(text: str) -> list[Json]:
    return [{"type": "text", "text": text}] if text.strip() else []
