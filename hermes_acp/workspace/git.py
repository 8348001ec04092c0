"""Reading a repository with git in such a way that nothing the repository configures is run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hermes_acp.workspace.child import child

SECONDS = 2.0
"""How long all commands of one question may take together."""

OUTPUT_BYTES = 4 * 1024 * 1024
"""A longer answer of git counts as none."""

_SAFE = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "diff.external=",
    "log.showSignature=false",
    "submodule.recurse=false",
)
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_KEPT = frozenset({"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"})
_FILTERS = r"^filter\..*\.(clean|smudge|process|required)$"
_NONE_FOUND = 1


class GitError(Exception):
    """git is missing, too slow or unwilling; `str()` says which."""


async def ask(root: str, env: Mapping[str, str], *commands: tuple[str, ...]) -> tuple[str, ...]:
    """The output of read-only git commands in `root`, in order; empty for one that git refused.

    Raises `GitError` when there is no git, when it is too slow, or when it cannot be made safe.

    Hooks, the file system monitor, external diffs, signature checks, content filters and
    transports are off, because each of them is a program that a hostile `.git/config` can name.
    """
    repository = _Repository(root, _environment(env))
    try:
        async with asyncio.timeout(SECONDS):
            settings = (*_SAFE, *await repository.no_filters())
            answers = [await repository.run(settings, command) for command in commands]
    except TimeoutError as error:
        raise GitError(f"git took longer than {SECONDS:g} s.") from error
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror}.") from error
    return tuple("" if status else output for status, output in answers)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """Without variables that point git elsewhere or name programs for it."""
    kept = {name: value for name, value in env.items() if not name.startswith("GIT_") or name in _KEPT}
    return kept | _VARIABLES


class _Repository:
    def __init__(self, root: str, env: dict[str, str]) -> None:
        self._root = root
        self._env = env

    async def no_filters(self) -> list[str]:
        """Settings against the content filters, which can only be turned off by name."""
        listing = ("config", "--includes", "--null", "--name-only", "--get-regexp", _FILTERS)
        status, found = await self.run(_SAFE, listing)
        if status not in (0, _NONE_FOUND):
            raise GitError(f"git config ended with status {status}.")
        names = {name for name in found.split("\0") if name}
        if any("=" in name for name in names):
            raise GitError("a content filter has a name that cannot be turned off.")
        return [f"{name}={'false' if name.endswith('.required') else ''}" for name in sorted(names)]

    async def run(self, settings: tuple[str, ...], command: tuple[str, ...]) -> tuple[int, str]:
        options = [part for setting in settings for part in ("-c", setting)]
        arguments = ("git", "--no-pager", "--no-optional-locks", "-C", self._root, *options, *command)
        async with child(arguments, env=self._env) as process:
            assert process.stdout is not None
            output = bytearray()
            while part := await process.stdout.read(65536):
                output += part
                if len(output) > OUTPUT_BYTES:
                    raise GitError(f"git {command[0]} printed more than {OUTPUT_BYTES:,} bytes.")
            status = await process.wait()
        return status, output.decode("utf-8", "replace")
