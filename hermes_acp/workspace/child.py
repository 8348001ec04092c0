"""Short-lived programs of ours (git, ripgrep): started in their own group, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

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
    Leaving the block, by cancellation too, kills it with all its children and waits for its end.
    Raises `OSError` when it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        pass_fds=tuple(inherited),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # Reads what is left, because asyncio keeps a pipe open until its end was seen.
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.communicate()
