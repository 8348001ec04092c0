"""`@path` in a prompt: finding what a folder has to mention, and making links of what was mentioned."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hermes_acp.server.messages import Json
from hermes_acp.workspace import git, references, references_read

FILES = 20_000
"""Files of a folder that are offered."""
MENTIONS = 64
"""Mentions in one prompt that become links; further ones stay text."""
_LISTING = ("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
_MENTION = re.compile(r'(?<![^\s(\[{"\'])@(?:"(?P<quoted>[^"\n]+)"|(?P<plain>[^\s"]+))')
_TYPED = re.compile(r'(?:^|[\s(\[{])@(?P<typed>(?:file:|folder:)?"[^"\n]*|[^\s"]*)$')
_PUNCTUATION = ".,;:!?)]}'"


class Mentionable:
    """What a prompt can mention in the folder of a session."""

    def __init__(self, folder: Callable[[], str], env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._files: tuple[str, ...] | None = None

    async def files(self) -> tuple[str, ...]:
        """The files, as they were when they were asked for first."""
        if self._files is None:
            self._files = await files(self._folder(), self._env)
        return self._files

    async def references(self, typed: str) -> tuple[references.Completion, ...]:
        """What the word behind an `@` can become."""
        folder = self._folder()
        return await references_read.complete(typed, folder, (folder,))


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
    """The path or reference that is being typed at the end of a text, behind its `@`; None without one."""
    found = _TYPED.search(text)
    return found["typed"] if found else None


def offered(paths: Sequence[str], word: str) -> tuple[str, ...]:
    """The files that fit best: whose name begins so, then whose path does, then that contain it."""
    return references.ranked(word.lstrip('"').casefold(), paths)


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
        # What a reference stands for is read by the session.
        named = (
            None if references.find(mention[0]) else _existing(mention["quoted"] or mention["plain"], folder)
        )
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
