"""Short-lived programs of ours (git, ripgrep): started in their own group, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from hermes_acp.workspace.finish import to_the_end

BUFFER_BYTES = 64 * 1024
"""So much output waits to be read before the program has to wait."""
GRACE_SECONDS = 1.0
"""How long a program that is asked to end may take to remove its lock files and drafts."""
END_SECONDS = 2.0
"""How long a killed program may take to be gone; only one stuck in the kernel needs it."""


@asynccontextmanager
async def child(
    arguments: Sequence[str],
    *,
    cwd: str = "/",
    env: Mapping[str, str] | None = None,
    stdin: int = DEVNULL,
    inherited: Sequence[int] = (),
) -> AsyncGenerator[Process]:
    """Run a program with pipes for its output, and none for its input unless `stdin` is `PIPE`.

    It keeps the `inherited` descriptors open, such as that of a lock that is to be held to its end.
    Leaving the block, by cancellation too, ends it with all its children and waits for its end: git
    is asked first, because one that is killed leaves its locks behind, and nobody else gets past
    them. Raises `OSError` when it cannot be started.
    """
    async with AsyncExitStack() as ends:
        yield await to_the_end(_start(ends, arguments, cwd, env, stdin, inherited))


async def _start(
    ends: AsyncExitStack,
    arguments: Sequence[str],
    cwd: str,
    env: Mapping[str, str] | None,
    stdin: int,
    inherited: Sequence[int],
) -> Process:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=BUFFER_BYTES, loop=loop),
        *arguments,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        pass_fds=tuple(inherited),
    )
    process = Process(transport, protocol, loop)
    ends.push_async_callback(_end, transport, process)
    return process


async def _end(transport: asyncio.SubprocessTransport, process: Process) -> None:
    try:
        if process.returncode is None:
            await to_the_end(_stop(transport, process))
    finally:
        transport.close()


async def _stop(transport: asyncio.SubprocessTransport, process: Process) -> None:
    # Killed in any case: what the program has started may not listen though the program did.
    for sign, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, END_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        # asyncio keeps a pipe open until its end was seen, or until it is closed.
        for number in range(3):
            if (pipe := transport.get_pipe_transport(number)) is not None:
                pipe.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await process.wait()
