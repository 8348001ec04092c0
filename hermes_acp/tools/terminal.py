"""Tools that run commands: `run_command`, and `process` for those that stay in the background."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from hermes_acp.events import TerminalRef, TextBlock
from hermes_acp.policy.effects import Effect
from hermes_acp.tools import terminal_text
from hermes_acp.tools.background import BackgroundProcess, BackgroundProcesses
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool
from hermes_acp.workspace.execution.base import Launch, Process

DEFAULT_TIMEOUT = 120.0
"""Seconds a command may run when the model names no timeout."""

MAX_TIMEOUT = 3600.0
"""Seconds the model may name; whatever runs longer belongs into the background."""

MAX_POLL_WAIT = 60.0
"""Seconds that a poll may wait for the end of a process."""

LIVE_INTERVAL = 0.015
"""Seconds between two pieces of live output, which are collected meanwhile."""

LIVE_RATE = 1_000_000
"""Characters of live output in a second, on average; more than that is for nobody to read."""


class RunCommand(Params):
    """What to run, and where."""

    command: str = Field(min_length=1)
    cwd: str | None = Field(None, description="default: the session's directory")
    timeout: float | None = Field(None, gt=0, le=MAX_TIMEOUT, description="seconds")
    background: bool = False


class ProcessAction(Params):
    """What to do with the background processes."""

    action: Literal["list", "poll", "kill"]
    id: str | None = None
    wait: float = Field(0, ge=0, le=MAX_POLL_WAIT, description="poll: seconds to wait for its end")


def terminal_tools(background: BackgroundProcesses, default_timeout: float) -> tuple[Tool, ...]:
    """The tools of one session, whose background processes are `background`."""

    @tool(RunCommand, kind="execute", describe=_describe_command)
    async def run_command(params: RunCommand, context: ToolContext) -> ToolResult:
        """Run a bash command without input; gives output and exit code. Ended with all its
        children after `timeout` (normally 120 s). Use `background` for servers and watchers."""
        launch = await _launch(params, context.cwd)
        if params.background:
            return await _run_in_background(launch, background, context)
        return await _run(launch, params.timeout or default_timeout, context)

    @tool(ProcessAction, kind="execute", describe=_describe_action)
    async def process(params: ProcessAction, _context: ToolContext) -> ToolResult:
        """List background commands, poll the new output of one, or kill one."""
        if params.action == "list":
            return ToolResult("\n".join(map(_line, background.all())) or "There are no background processes.")
        if params.id is None:
            raise ToolError(f"{params.action} needs the id of a process, such as p1.")
        item = background.find(params.id)
        if params.action == "kill":
            await item.process.kill()
        elif params.wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(params.wait):
                    await item.process.wait()
        return await _news(item)

    return (run_command, process)


def _describe_command(params: RunCommand, _cwd: str) -> Description:
    return Description(terminal_text.title(params.command))


def _describe_action(params: ProcessAction, _cwd: str) -> Description:
    return Description(f"{params.action} {params.id}" if params.id else "background processes")


async def _launch(params: RunCommand, cwd: str) -> Launch:
    if params.cwd is not None:
        cwd = await asyncio.to_thread(_directory, cwd, params.cwd)
    return Launch(params.command, cwd, params.background)


def _directory(base: str, path: str) -> str:
    try:
        resolved = Path(base, path).resolve()
        if resolved.is_dir():
            return str(resolved)
    except (OSError, ValueError) as error:
        raise ToolError(f"cwd: {path!r} cannot be used: {error}.") from error
    raise ToolError(f"cwd: {resolved} is not a directory. Leave cwd out to run in {base}.")


async def _start(launch: Launch, context: ToolContext) -> Process:
    command = terminal_text.visible(launch.command)
    effect = Effect("execute", terminal_text.title(command), command=launch.command, cwd=launch.cwd)
    place = "" if launch.cwd == context.cwd else f"In `{launch.cwd}`:\n\n"
    permit = await context.permit(effect, (TextBlock(place + terminal_text.fenced(command, "sh")),))
    return await context.execution.start(permit, launch)


async def _run(launch: Launch, timeout: float, context: ToolContext) -> ToolResult:
    clock = asyncio.get_running_loop().time
    process = await _start(launch, context)
    started = clock()
    try:
        timed_out = not await _follow(process, timeout, context)
        status = await process.wait()
        text = terminal_text.readable(await process.output())
    finally:
        # Kills what still runs: this is the way out of a cancelled call.
        await process.release()
    how = f"{terminal_text.ending(status)} in {clock() - started:.1f} s"
    if timed_out:
        how = f"timed out after {timeout:g} s and was ended; set a longer timeout or background"
    shown = _terminal(process) or _printed(text)
    return ToolResult(_joined(text, how), status.code != 0, shown, exit=status)


async def _follow(process: Process, timeout: float, context: ToolContext) -> bool:
    """Show the output while the command runs; False when it had to be ended for its time."""
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            await _stream(process, context)
            await process.wait()
    except TimeoutError:
        if not deadline.expired():
            raise
        await process.kill()
        # What it printed since the last piece.
        await _stream(process, context)
        return False
    return True


async def _stream(process: Process, context: ToolContext) -> None:
    if process.terminal_id is not None:
        context.progress(shown=_terminal(process))
        return
    async for text in process.chunks():
        context.progress(output=text)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(LIVE_INTERVAL, len(text) / LIVE_RATE)):
                await process.wait()


async def _run_in_background(
    launch: Launch, background: BackgroundProcesses, context: ToolContext
) -> ToolResult:
    await background.make_room()
    process = await _start(launch, context)
    item = background.add(process, launch.command)
    text = f'Started in the background as {item.name}: process(action="poll", id="{item.name}") reads on.'
    return ToolResult(text, shown=_terminal(process))


async def _news(item: BackgroundProcess) -> ToolResult:
    status = item.process.exit()
    output = await item.process.output()
    # Of an editor's terminal only the last output is known, never how much came before it.
    whole = item.process.terminal_id is not None
    news = output if whole else terminal_text.since(output, item.position)
    item.position = terminal_text.length(output)
    how = (
        f"{item.name} is running" if status is None else f"{item.name} ended: {terminal_text.ending(status)}"
    )
    text = terminal_text.readable(news)
    return ToolResult(_joined(text, how), shown=_printed(text))


def _joined(text: str, how: str) -> str:
    return f"{text.rstrip()}\n{how}" if text.strip() else how


def _printed(text: str) -> tuple[TextBlock, ...]:
    return (TextBlock(terminal_text.fenced(text)),) if text.strip() else ()


def _terminal(process: Process) -> tuple[TerminalRef, ...]:
    return () if process.terminal_id is None else (TerminalRef(process.terminal_id),)


def _line(item: BackgroundProcess) -> str:
    status = item.process.exit()
    age = asyncio.get_running_loop().time() - item.started
    state = f"running, started {age:.0f} s ago" if status is None else terminal_text.ending(status)
    return f"{item.name} ({state}): {terminal_text.title(item.command)}"
