"""What fast-import of git reads: commits on several branches, or a history without some files. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hermes_acp.storage.fact_commits import FactCommit

IDENTITY = "hermes-editor <hermes-editor@localhost>"
HEADS = "refs/heads/"
NAME_BYTES = 180
"""A longer name of a branch is cut, because its file could not be made; a digest keeps it apart."""
_NOTHING = "0" * 40

# What a branch of git may hold, and `%`, with which the others are spelled.
_SPELLED = re.compile(r"[%/~^:?*\[\\\x00-\x20\x7f]")


def branch_of(scope: str) -> str:
    """The branch of a scope: `overlay/feature%2Flogin`, for no branch may be a folder of another one."""
    kind, slash, name = scope.partition("/")
    spelled = _SPELLED.sub(lambda found: f"%{ord(found[0]):02X}", name)
    if len(spelled.encode()) > NAME_BYTES:
        short = spelled.encode()[:NAME_BYTES].decode("utf-8", "ignore")
        spelled = f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{kind}{slash}{spelled}"


def losing(commits: Iterable[FactCommit]) -> set[str]:
    """The scopes that lose files."""
    return {scope for commit in commits for scope, files in commit.files.items() if not all(files.values())}


@dataclass(slots=True)
class Stream:
    """A stream in the making: `tips` of the branches that are there, `paths` of those that lose files."""

    tips: Mapping[str, str]
    paths: Mapping[str, Collection[str]]
    landed: Collection[tuple[str, str]] = ()
    """Branches with ids of changes that they have already."""
    touched: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The branches that the stream has come to, with their files at its end."""
    _parts: list[bytes] = field(default_factory=list[bytes])
    _begun: set[str] = field(default_factory=set[str])

    def add(self, commit: FactCommit) -> None:
        """One more change: a commit on each of its branches."""
        for scope, files in commit.files.items():
            branch = branch_of(scope)
            if (branch, commit.change_id) in self.landed:
                self._settle(branch, files)
                continue
            if branch not in self.tips and branch not in self.touched and not any(files.values()):
                continue
            sources = [branch_of(source) for source, target in commit.merges.items() if target == scope]
            self._commit(branch, commit, sources, files)

    def finished(self) -> bytes:
        """The whole stream; a branch without a file left is removed."""
        for branch in self.gone:
            self._say(f"reset {HEADS}{branch}\nfrom {_NOTHING}\n\n")
        self._say("done\n")
        return b"".join(self._parts)

    @property
    def gone(self) -> list[str]:
        """The branches that lose their last file."""
        return [branch for branch, paths in self.touched.items() if not paths]

    def _commit(
        self, branch: str, commit: FactCommit, sources: Sequence[str], files: Mapping[str, str | None]
    ) -> None:
        at = f"{IDENTITY} {int(commit.at)} +0000"
        self._say(f"commit {HEADS}{branch}\nauthor {at}\ncommitter {at}\n")
        self._data(commit.message)
        if branch in self.tips and branch not in self._begun:
            self._say(f"from {self.tips[branch]}\n")
        self._begun.add(branch)
        for source in sources:
            if source in self.tips or source in self.touched:
                self._say(f"merge {HEADS}{source}\n")
        for path, text in files.items():
            if text is None:
                self._say(f"D {path}\n")
            else:
                self._say(f"M 100644 inline {path}\n")
                self._data(text)
        self._say("\n")
        self._settle(branch, files)

    def _settle(self, branch: str, files: Mapping[str, str | None]) -> None:
        paths = self.touched.setdefault(branch, set(self.paths.get(branch, ())))
        paths |= {path for path, text in files.items() if text is not None}
        paths -= {path for path, text in files.items() if text is None}

    def _data(self, text: str) -> None:
        data = text.encode()
        self._say(f"data {len(data)}\n")
        self._parts += (data, b"\n")

    def _say(self, text: str) -> None:
        self._parts.append(text.encode())


def without(stream: bytes, paths: Collection[str]) -> bytes:
    """What fast-export has said, without these files in any commit."""
    gone = {path.encode() for path in paths}
    kept: list[tuple[bytes, bytes]] = []
    dropped: set[bytes] = set()
    used: set[bytes] = set()
    for mark, part in _sections(stream):
        lines: list[bytes] = []
        for line, data in part:
            command, *words = line.split(b" ", 3)
            if command in (b"M", b"D") and words and words[-1] in gone:
                dropped |= {words[1]} if command == b"M" else set()
                continue
            if command == b"M":
                used.add(words[1])
            lines += (line, b"\n", data)
        kept.append((mark, b"".join(lines)))
    return b"".join(text for mark, text in kept if not (mark in dropped and mark not in used))


def _sections(stream: bytes) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """The blobs, each with its mark, and what is between them without one: lines and their data."""
    part: list[tuple[bytes, bytes]] = []
    mark = b""
    in_blob = has_data = False
    for line, data in _lines(stream):
        # Behind the data of a blob there may be an empty line, which goes with it.
        if line == b"blob" or (in_blob and has_data and line):
            yield mark, part
            part, mark, in_blob, has_data = [], b"", line == b"blob", False
        elif in_blob and line.startswith(b"mark "):
            mark = line.removeprefix(b"mark ")
        has_data = has_data or bool(data)
        part.append((line, data))
    yield mark, part


def _lines(stream: bytes) -> Iterable[tuple[bytes, bytes]]:
    """The lines of a stream, and of those that announce data, these."""
    at = 0
    while at < len(stream):
        end = stream.index(b"\n", at)
        line, at = stream[at:end], end + 1
        size = int(line.removeprefix(b"data ")) if line.startswith(b"data ") else 0
        yield line, stream[at : at + size]
        at += size
