"""The private repository that holds the checkpoints of one project, and what is asked of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hermes_acp.workspace.checkpoints.records import NOTES, Checkpoint, CheckpointError, Difference, Note
from hermes_acp.workspace.git import OUTPUT_BYTES, Answer, GitError, Repository
from hermes_acp.workspace.places import Version

HASH_SECONDS = 900.0
"""How long git may take to read the files of a tree that it sees for the first time."""

BATCH_BYTES = OUTPUT_BYTES // 2
"""So much of many blobs is asked for at once; one alone may be larger."""

LOCK_SECONDS = 600.0
"""A lock on names that is older is nobody's."""

NUMBERS_TRIED = 10
"""How many numbers may have been taken by others since the session was last looked at."""

SESSION_REFS = "refs/checkpoints"
TREE_REFS = "refs/trees"

# Files are stored as they are: no filter, no line ends, no encodings, whatever the tree says.
_ATTRIBUTES = "* -text !eol !crlf -ident -filter !working-tree-encoding !diff !merge\n"

_SETTINGS = (
    ("core.autocrlf", "false"),
    ("core.compression", "1"),
    ("core.fileMode", "true"),
    ("core.ignoreCase", "false"),
    ("core.logAllRefUpdates", "false"),
    ("core.precomposeUnicode", "false"),
    ("core.protectHFS", "false"),
    ("core.protectNTFS", "false"),
    # A small change of a large tree then writes a small index.
    ("core.splitIndex", "true"),
    ("core.symlinks", "true"),
    ("core.trustctime", "true"),
    ("core.untrackedCache", "false"),
    ("index.sparse", "false"),
)
_IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "hermes-editor"), ("EMAIL", "hermes-editor@localhost"))
}
_NO_FILE = "000000"
_FORMAT = "%(refname)%00%(objectname)%00%(tree)%00%(committerdate:unix)%00%(contents)"
_PATCH = ("diff-tree", "-r", "-p", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv")
_DIFF_MEGABYTE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bigFileThreshold",
    "GIT_CONFIG_VALUE_0": "1m",
}
"""Larger files are compared by name only."""


class Store:
    """A bare repository at the absolute `folder`.

    Raises `GitError` and `OSError` where nothing else is said.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], private: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.private = (folder, *private)
        """Folders that no checkpoint may hold, itself among them."""
        # Not from within: a tree that holds the folder would make git speak of that folder alone.
        self._git = Repository("/", env)
        self._making = asyncio.Lock()
        self._env = env
        self._format = ""

    async def open(self, object_format: str) -> str:
        """Make the repository if there is none; gives the format of its objects."""
        async with self._making:
            if not await asyncio.to_thread(Path(self.folder, "HEAD").exists):
                await self._make(object_format)
                self._format = ""
            if not self._format:
                found = await self.tell("rev-parse", "--show-object-format")
                self._format = found.text
        return self._format

    async def exists(self) -> bool:
        """Whether it was made."""
        return await asyncio.to_thread(Path(self.folder, "HEAD").exists)

    async def _make(self, object_format: str) -> None:
        draft = self.folder.with_name(f"{self.folder.name}.{secrets.token_hex(6)}.tmp")
        try:
            await asyncio.to_thread(draft.mkdir, mode=0o700, parents=True)
            options = ("--quiet", "--bare", "--template=", f"--object-format={object_format}")
            await self._git.tell("init", *options, variables={"GIT_DIR": str(draft)})
            await asyncio.to_thread(_configure, draft)
            await asyncio.to_thread(_place, draft, self.folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    async def ask(
        self,
        *command: str,
        data: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        seconds: float = HASH_SECONDS,
    ) -> Answer:
        """Run a command in the repository, whatever its status."""
        return await self._git.ask(*command, data=data, variables=self._variables(variables), seconds=seconds)

    async def tell(
        self,
        *command: str,
        data: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        seconds: float = HASH_SECONDS,
    ) -> Answer:
        """Run a command in the repository that has to succeed."""
        return await self._git.tell(
            *command, data=data, variables=self._variables(variables), seconds=seconds
        )

    def _variables(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {"GIT_DIR": str(self.folder), "GIT_LITERAL_PATHSPECS": "1", **(more or {})}

    # --- checkpoints -----------------------------------------------------------------------------

    async def add(self, session: str, tree: str, note: Note, tree_ref: str, above: int) -> Checkpoint:
        """Write a checkpoint with the next free number of its session, and keep it as the tree's last.

        `above` is a number that the session has already, 0 where that is not known. Without a
        `tree_ref` the tree's last one stays.
        """
        message = NOTES.dump_json(note, ensure_ascii=True)
        at = int(time.time())
        dates = {"GIT_AUTHOR_DATE": f"@{at} +0000", "GIT_COMMITTER_DATE": f"@{at} +0000"}
        made = await self.tell("commit-tree", tree, data=message, variables=_IDENTITY | dates)
        number = (above or await self._last_number(session)) + 1
        complaint = ""
        for _ in range(NUMBERS_TRIED):
            own = f"{SESSION_REFS}/{session}/{number}"
            last = f"update {tree_ref}\0{made.text}\0\0" if tree_ref else ""
            refs = f"create {own}\0{made.text}\0{last}"
            answer = await self.ask("update-ref", "--stdin", "-z", data=refs.encode())
            if not answer.status:
                return Checkpoint(made.text, session, number, note.label, at, note.root, tree, note.beside)
            complaint = answer.errors.strip()
            number = max(number, await self._last_number(session)) + 1
        raise GitError(f"git update-ref failed: {complaint}")

    async def _last_number(self, session: str) -> int:
        listing = await self.tell("for-each-ref", "--format=%(refname)", f"{SESSION_REFS}/{session}/")
        return max((_number(line) for line in listing.text.splitlines()), default=0)

    async def list(self, session: str = "") -> list[Checkpoint]:
        """The checkpoints of a session, or of all, the oldest first."""
        where = f"{SESSION_REFS}/{session}/" if session else f"{SESSION_REFS}/"
        answer = await self.tell("for-each-ref", f"--format={_FORMAT}", where)
        found = [_checkpoint(line) for line in answer.output.split(b"\n") if line]
        return sorted(found, key=lambda each: (each.at, each.number))

    async def forget(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Remove checkpoints from their sessions; what they hold goes with the next collection."""
        await asyncio.to_thread(self._unlock)
        refs = "".join(f"delete {SESSION_REFS}/{each.session}/{each.number}\0\0" for each in checkpoints)
        await self.tell("update-ref", "--stdin", "-z", data=refs.encode())

    def _unlock(self) -> None:
        """Remove the locks of a git that has died with the machine; names are written in no time."""
        before = time.time() - LOCK_SECONDS
        for left in (self.folder / "packed-refs.lock", *(self.folder / SESSION_REFS).rglob("*.lock")):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < before:
                    left.unlink()

    # --- trees -----------------------------------------------------------------------------------

    async def differences(self, old: str, new: str) -> list[Difference]:
        """The files that differ between two trees or commits, sorted by path."""
        if old == new:
            return []
        answer = await self.tell("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
        # :<mode> <mode> <blob> <blob> <status>\0<path>\0
        fields = iter(answer.output.split(b"\0")[:-1])
        return [
            _difference(about.decode("ascii"), os.fsdecode(path))
            for about, path in zip(fields, fields, strict=True)
        ]

    async def patches(self, old: str, new: str, variables: Mapping[str, str]) -> list[str]:
        """A unified diff for each path that differs, in order; a change of type gives two."""
        answer = await self.tell(*_PATCH, old, new, variables={**variables, **_DIFF_MEGABYTE})
        text = answer.output.decode("utf-8", "replace")
        *parts, last = f"\n{text}".split("\ndiff --git ")
        return [f"diff --git {part}" for part in (*(f"{part}\n" for part in parts), last)][1:]

    # --- blobs -----------------------------------------------------------------------------------

    async def sizes(self, blobs: Iterable[str], variables: Mapping[str, str]) -> dict[str, int]:
        """The sizes of those blobs that are there."""
        wanted = "".join(f"{blob}\n" for blob in blobs)
        check = ("cat-file", "--batch-check=%(objectname) %(objectsize)")
        answer = await self.tell(*check, data=wanted.encode(), variables=variables)
        parts = (line.split(" ") for line in answer.text.splitlines())
        return {name: int(size) for name, size in parts if size != "missing"}

    async def contents(self, blobs: Sequence[str], variables: Mapping[str, str]) -> dict[str, bytes]:
        """Blobs that are there and fit into `BATCH_BYTES` together, or one alone."""
        wanted = "".join(f"{blob}\n" for blob in blobs)
        answer = await self.tell("cat-file", "--batch", data=wanted.encode(), variables=variables)
        return dict(_blobs(answer.output))

    async def write(self, content: bytes) -> str:
        """Store a blob and give its name."""
        written = await self.tell("hash-object", "-w", "--no-filters", "--stdin", data=content)
        return written.text

    async def keep(self, blobs: Iterable[str], variables: Mapping[str, str]) -> None:
        """Copy those borrowed blobs that the user's repository has, so that they outlast it."""
        unsure = await asyncio.to_thread(self._not_loose, set(blobs))
        if not unsure:
            return
        own = await self.sizes(unsure, {})
        borrowed = await self.sizes(unsure - own.keys(), variables)
        if borrowed:
            listing = "".join(f"{blob}\n" for blob in sorted(borrowed))
            await self.tell(
                "pack-objects", "-q", str(self.folder / "objects/pack/pack"),
                data=listing.encode(), variables=variables,
            )  # fmt: skip

    def _not_loose(self, blobs: set[str]) -> set[str]:
        objects = self.folder / "objects"
        return {blob for blob in blobs if not (objects / blob[:2] / blob[2:]).exists()}


def alternates(objects: str) -> dict[str, str]:
    """The variable with which a command sees the user's objects too."""
    if not objects:
        return {}
    quoted = objects.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'}


def batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The blobs in groups that `contents` can take."""
    group: list[str] = []
    weight = 0
    for blob, size in sizes.items():
        if group and weight + size > BATCH_BYTES:
            yield group
            group, weight = [], 0
        group.append(blob)
        weight += size
    if group:
        yield group


def _configure(folder: Path) -> None:
    lines = "".join(
        f"[{name.partition('.')[0]}]\n\t{name.partition('.')[2]} = {value}\n" for name, value in _SETTINGS
    )
    config = folder / "config"
    config.write_text(
        config.read_text("utf-8").replace("\tbare = true\n", "\tbare = false\n") + lines, "utf-8"
    )
    (folder / "info").mkdir(exist_ok=True)
    (folder / "info" / "attributes").write_text(_ATTRIBUTES, "utf-8")
    (folder / "trees").mkdir(mode=0o700)


def _place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError as error:
        # Another process was quicker, or something is in the way.
        if not (folder / "HEAD").exists():
            raise CheckpointError(
                f"{folder} is no repository of checkpoints: move it away, and a new one is made."
            ) from error


def _number(ref: str) -> int:
    last = ref.rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


def _checkpoint(line: bytes) -> Checkpoint:
    ref, name, tree, at, message = line.split(b"\0", 4)
    note = NOTES.validate_json(message)
    _, session, number = ref.decode().rsplit("/", 2)
    return Checkpoint(
        name.decode(), session, int(number), note.label, int(at), note.root, tree.decode(), note.beside
    )


def _difference(about: str, path: str) -> Difference:
    old_mode, new_mode, old, new, _ = about.removeprefix(":").split(" ")
    return Difference(path, _version(old_mode, old), _version(new_mode, new))


def _version(mode: str, blob: str) -> Version | None:
    return None if mode == _NO_FILE else Version(mode, blob)


def _blobs(output: bytes) -> Iterator[tuple[str, bytes]]:
    """The blobs in an answer of `cat-file --batch`: a line about each, then its bytes."""
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        name, *about = output[at:end].decode("ascii").split(" ")
        at = end + 1
        if about[-1] != "missing":
            size = int(about[-1])
            yield name, output[at : at + size]
            at += size + 1
