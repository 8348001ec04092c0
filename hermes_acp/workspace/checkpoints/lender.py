"""What the user's own repository lends to the checkpoints of a tree; nothing in it is changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace.git import GitError, Repository

LIST_SECONDS = 20.0
"""How long git may take to list the files of a tree."""

_GITLINK = b"160000"


@record
class Lent:
    """What holds for a tree: where its objects and its index are, and which files git ignores there.

    All is empty without a repository, or when git refuses it (`refused`): then the checkpoints
    stand alone.
    """

    objects: str = ""
    object_format: str = "sha1"
    index: str = ""
    exclude: str = ""
    excludes_file: str | None = None
    refused: bool = False

    @property
    def options(self) -> list[str]:
        """For `ls-files`: the patterns that lie in the repository itself. Touches the disk."""
        return [f"--exclude-from={self.exclude}"] if self.exclude and os.access(self.exclude, os.R_OK) else []

    @property
    def variables(self) -> dict[str, str]:
        """For every git command that asks which files are ignored."""
        if self.excludes_file is None:
            return {}
        names = ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0")
        return dict(zip(names, ("1", "core.excludesFile", self.excludes_file), strict=True))

    @property
    def identity(self) -> str:
        """Changes when the objects are no longer the same folder. Touches the disk."""
        return f"{self.objects} {signature(self.objects, times=False)}" if self.objects else ""

    @property
    def index_state(self) -> str:
        """Changes when the user's index does. Touches the disk."""
        return signature(self.index, times=True) if self.index else ""


class Lender:
    """The repository that the tree at `root` belongs to, if it belongs to one."""

    def __init__(self, root: str, env: Mapping[str, str]) -> None:
        self._root = root
        self._env = env
        self._found: tuple[str, Lent] | None = None

    async def survey(self) -> Lent:
        """What is lent now; git is asked again only when the repository or its settings changed."""
        objects = self._found[1].objects if self._found else ""
        state = await asyncio.to_thread(_state, self._root, objects)
        if self._found is None or self._found[0] != state:
            try:
                lent = await self._ask()
            except GitError:
                # Settings that git cannot read, or that cannot be made safe.
                lent = await self._refused()
            self._found = (await asyncio.to_thread(_state, self._root, lent.objects), lent)
        return self._found[1]

    async def tracked_but_ignored(self) -> list[str]:
        """Files that the repository tracks although a pattern ignores them; none when it cannot tell."""
        listing = await self._list("--cached", "--ignored", "--exclude-standard", "--stage")
        # <mode> <object> <stage>\t<path>
        entries = (line.partition(b"\t") for line in listing)
        return [os.fsdecode(path) for about, _, path in entries if not about.startswith(_GITLINK)]

    async def tracked(self) -> set[str]:
        """All files that the repository tracks; none when it cannot tell."""
        return {os.fsdecode(line) for line in await self._list("--cached")}

    async def _list(self, *options: str) -> list[bytes]:
        try:
            answer = await self._repository().ask("ls-files", "-z", *options, seconds=LIST_SECONDS)
        except GitError:
            # A truncated index, or one that takes too long: the checkpoint does not depend on it.
            return []
        return [] if answer.status else answer.output.split(b"\0")[:-1]

    async def _ask(self) -> Lent:
        repository = self._repository()
        where = ("rev-parse", "--path-format=absolute")
        common = await repository.ask(*where, "--show-object-format", "--git-common-dir")
        if common.status:
            return await self._refused()
        object_format, _, folder = common.output.partition(b"\n")
        own = await repository.tell(*where, "--git-dir")
        excludes = await repository.ask("config", "--type=path", "--get", "core.excludesFile")
        home = os.fsdecode(folder.removesuffix(b"\n"))
        return Lent(
            objects=str(Path(home, "objects")),
            object_format=object_format.decode("ascii", "replace"),
            index=str(Path(os.fsdecode(own.output.removesuffix(b"\n")), "index")),
            exclude=str(Path(home, "info", "exclude")),
            excludes_file=None if excludes.status else os.fsdecode(excludes.output.removesuffix(b"\n")),
        )

    async def _refused(self) -> Lent:
        return Lent(refused=await asyncio.to_thread(os.path.lexists, Path(self._root, ".git")))

    def _repository(self) -> Repository:
        # A new one each time: which programs have to be turned off depends on its settings now.
        return Repository(self._root, self._env)


def _state(root: str, objects: str) -> str:
    """Changes when the answers of git about the tree may."""
    common = Path(objects).parent if objects else Path(root, ".git")
    places = (Path(root, ".git"), common / "config", common / "HEAD")
    marks = [signature(str(places[0]), times=False), signature(str(places[1]), times=True)]
    return " ".join([*marks, str(places[2].exists())])


def signature(path: str, *, times: bool) -> str:
    """Changes when another file is at the path, and with `times` when its contents do."""
    try:
        found = Path(path).lstat()
    except OSError:
        return "-"
    marks = [found.st_dev, found.st_ino]
    return ":".join(map(str, [*marks, found.st_size, found.st_mtime_ns] if times else marks))
