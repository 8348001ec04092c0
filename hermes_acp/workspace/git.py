"""Running git in such a way that nothing the repository configures is run."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence

from hermes_acp.records import record
from hermes_acp.workspace.child import child

QUESTION_SECONDS = 2.0
"""How long all commands of one question may take together."""
COMMAND_SECONDS = 60.0
"""How long one command may take unless its caller knows better."""
OUTPUT_BYTES = 64 * 1024 * 1024
"""A longer answer of git is an error."""
READ_SIZE = 256 * 1024
ERROR_CHARS = 2_000
"""More of what git complains about is cut off."""

_SAFE = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.askPass=",
    "core.editor=true",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.alternateRefsCommand=false",
    "credential.helper=",
    "diff.external=",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "submodule.recurse=false",
    "protocol.allow=never",
)
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_KEPT = frozenset({"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"})
_PROGRAMS = r"^(filter\..*\.(clean|smudge|process|required)|diff\..*\.(command|textconv)|merge\..*\.driver)$"
_NONE_FOUND = 1


class GitError(Exception):
    """git is missing, too slow or unwilling; `str()` says which, in git's words where it has some."""


@record
class Answer:
    """What a command printed and how it ended."""

    status: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """The output as text, without the line end at its end."""
        return self.output.decode("utf-8", "replace").rstrip("\n")


class Repository:
    """The repository that `root` (a worktree, or a git folder) belongs to.

    Hooks, the file system monitor, external diffs and merges, text conversions, signatures, content
    filters, credential helpers and transports are off, because each of them is a program that a
    hostile `.git/config` can name. Cancelling a command kills it. Commands keep the `inherited`
    descriptors open to their end, even when we die before.
    """

    def __init__(self, root: str, env: Mapping[str, str], inherited: Sequence[int] = ()) -> None:
        self.root = root
        self._inherited = inherited
        self._env = _environment(env)
        self._settings: tuple[str, ...] | None = None

    async def ask(
        self,
        *command: str,
        data: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Answer:
        """Run a command with `data` as its input, whatever its status. Raises `GitError`.

        `variables` are added to the environment (`GIT_INDEX_FILE`, `GIT_AUTHOR_NAME`, …).
        """
        try:
            async with asyncio.timeout(seconds):
                if self._settings is None:
                    self._settings = (*_SAFE, *await self._no_programs())
                return await self._run(self._settings, command, data, variables or {})
        except TimeoutError as error:
            raise GitError(f"git {command[0]} took longer than {seconds:g} s.") from error
        except OSError as error:
            raise GitError(f"git cannot be started: {error.strerror}.") from error

    async def tell(
        self,
        *command: str,
        data: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Answer:
        """Run a command that has to succeed. Raises `GitError` with git's own complaint."""
        answer = await self.ask(*command, data=data, variables=variables, seconds=seconds)
        if answer.status:
            complaint = answer.errors.strip() or f"it ended with status {answer.status}"
            raise GitError(f"git {command[0]} failed: {complaint}")
        return answer

    async def _no_programs(self) -> list[str]:
        """Settings against programs that can only be turned off by name."""
        listing = ("config", "--includes", "--null", "--name-only", "--get-regexp", _PROGRAMS)
        found = await self._run(_SAFE, listing, None, {})
        if found.status not in (0, _NONE_FOUND):
            raise GitError(f"git config ended with status {found.status}: {found.errors.strip()}")
        names = {name for name in found.output.decode("utf-8", "surrogateescape").split("\0") if name}
        if any("=" in name for name in names):
            raise GitError("a content filter has a name that cannot be turned off.")
        return [f"{name}={_off(name)}" for name in sorted(names)]

    async def _run(
        self,
        settings: tuple[str, ...],
        command: tuple[str, ...],
        data: bytes | None,
        variables: Mapping[str, str],
    ) -> Answer:
        options = [part for setting in settings for part in ("-c", setting)]
        arguments = ("git", "--no-pager", "--no-optional-locks", "-C", self.root, *options, *command)
        stdin = DEVNULL if data is None else PIPE
        environment = {**self._env, **variables}
        async with child(arguments, env=environment, stdin=stdin, inherited=self._inherited) as process:
            async with asyncio.TaskGroup() as group:
                output = group.create_task(_read(process))
                errors = group.create_task(_read_errors(process))
                if data is not None:
                    group.create_task(_feed(process, data))
            status = await process.wait()
        if len(output.result()) > OUTPUT_BYTES:
            raise GitError(f"git {command[0]} printed more than {OUTPUT_BYTES:,} bytes.")
        return Answer(status, output.result(), errors.result())


async def ask(root: str, env: Mapping[str, str], *commands: tuple[str, ...]) -> tuple[str, ...]:
    """The output of read-only git commands in `root`, in order; empty for one that git refused.

    Raises `GitError` when there is no git, when it is too slow, or when it cannot be made safe.
    """
    repository = Repository(root, env)
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            answers = [await repository.ask(*command) for command in commands]
    except TimeoutError as error:
        raise GitError(f"git took longer than {QUESTION_SECONDS:g} s.") from error
    return tuple("" if answer.status else answer.output.decode("utf-8", "replace") for answer in answers)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """Without variables that point git elsewhere or name programs for it."""
    kept = {name: value for name, value in env.items() if not name.startswith("GIT_") or name in _KEPT}
    return kept | _VARIABLES


def _off(name: str) -> str:
    """The value that switches a program off.

    A merge driver must start and fail, which is a conflict: an empty one is an error of the whole merge. The
    others are simply not there.
    """
    if name.endswith(".required"):
        return "false"
    return "false" if name.endswith(".driver") else ""


async def _read(process: Process) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    while part := await process.stdout.read(READ_SIZE):
        output += part
        if len(output) > OUTPUT_BYTES:
            process.kill()
            break
    return bytes(output)


async def _read_errors(process: Process) -> str:
    assert process.stderr is not None
    kept = b""
    while part := await process.stderr.read(READ_SIZE):
        kept = (kept + part)[:ERROR_CHARS]
    return kept.decode("utf-8", "replace")


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
    except ConnectionError:
        # It ended without reading everything; its status says why.
        return
