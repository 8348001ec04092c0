"""Tools that run commands: `run_command`, and `process` for those that stay in the background."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from hermes_acp.content import TerminalRef, TextBlock
from hermes_acp.policy.effects import Effect, Refused
from hermes_acp.policy.sandbox import blame
from hermes_acp.records import record
from hermes_acp.tools import terminal_text
from hermes_acp.tools.background import BackgroundProcesses
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.processes import process_tool
from hermes_acp.tools.typed import tool
from hermes_acp.workspace.execution.base import HeldProcess, Launch, Process, WindowSize
from hermes_acp.workspace.execution.session_shell import SessionShell
from hermes_acp.workspace.execution.shell_state import ShellState

DEFAULT_TIMEOUT = 120.0
"""Seconds a command may run when the model names no timeout."""

MAX_TIMEOUT = 3600.0
"""Seconds the model may name; whatever runs longer belongs into the background."""

LIVE_INTERVAL = 0.015
"""Seconds between two pieces of live output, which are collected meanwhile."""

LIVE_RATE = 1_000_000
"""Characters of live output in a second, on average; more than that is for nobody to read."""

LIVE_PIECE = 50_000
"""Characters of live output that are looked through at once; others have their turn between."""

TERMINAL = WindowSize(columns=120, rows=40)
"""The size of the terminal that `pty` gives."""

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"

Following = Literal["ended", "timed out", "asks"]


class RunCommand(Params):
    """What to run, and where."""

    command: str = Field(min_length=1)
    cwd: str | None = Field(None, description="for this command only; default: where the shell is")
    timeout: float | None = Field(None, gt=0, le=MAX_TIMEOUT, description="seconds")
    background: bool = False
    name: str | None = Field(None, pattern=NAME, description="of the background process")
    pty: bool = Field(False, description="give it a terminal")
    shell: Literal["session", "fresh", "reset"] = Field(
        "session", description="fresh: one-shot, apart from the session's shell; reset: begin that anew"
    )


@record
class Started:
    """A command that runs: since when, and what its shell was like before."""

    process: Process
    launch: Launch
    at: float
    confined: bool = False
    """Whether it runs in the sandbox."""


def terminal_tools(background: BackgroundProcesses, default_timeout: float) -> tuple[Tool, ...]:
    """The tools of one session, whose background processes are `background`."""
    commands = _Commands(background, default_timeout)

    @tool(RunCommand, kind="execute", describe=_describe_command)
    async def run_command(params: RunCommand, context: ToolContext) -> ToolResult:
        """Run a bash command; gives output and exit code. Directory, variables, aliases and functions last
        from one to the next. Without `pty` it reads no input. Ended with all its children after `timeout`
        (normally 120 s). Use `background` for servers and watchers."""
        return await commands.run(params, context)

    return (run_command, process_tool(background, commands.shell))


class _Commands:
    """The commands of one session."""

    def __init__(self, background: BackgroundProcesses, default_timeout: float) -> None:
        self.shell = SessionShell()
        self._background = background
        self._default_timeout = default_timeout

    async def run(self, params: RunCommand, context: ToolContext) -> ToolResult:
        launch, notice = await self._launch(params, context.cwd)
        if params.background:
            return await self._leave_running(launch, params.name, context)
        timeout = params.timeout or self._default_timeout
        result = await self._run_anywhere(launch, timeout, context)
        return replace(result, text=f"[shell: {notice}]\n{result.text}") if notice else result

    async def _launch(self, params: RunCommand, home: str) -> tuple[Launch, str]:
        if params.shell == "reset":
            self.shell.reset()
        state, notice = (None, "") if params.shell == "fresh" else await self.shell.enter(home)
        cwd = state.cwd if state is not None else home
        if params.cwd is not None:
            cwd = await asyncio.to_thread(_directory, cwd, params.cwd)
        terminal = TERMINAL if params.pty else None
        return Launch(params.command, cwd, params.background, _at(state, cwd), terminal), notice

    async def _leave_running(self, launch: Launch, name: str | None, context: ToolContext) -> ToolResult:
        await self._background.make_room(name)
        started = await _start(launch, context)
        item = self._background.add(started.process, launch, name)
        text = f'Started in the background as {item.name}: process(action="poll", id="{item.name}") reads on.'
        return ToolResult(text, shown=_terminal(started.process))

    async def _run_anywhere(self, launch: Launch, timeout: float, context: ToolContext) -> ToolResult:
        """Run it; where it ran in the sandbox and failed for it, ask once whether to run it outside."""
        started = await _start(launch, context)
        result, following = await self._run(started, timeout, context)
        if not (started.confined and following == "ended" and result.failed):
            return result
        output = await started.process.output()
        if not (why := blame(output.head + output.text)):
            return result
        try:
            started = await _start(launch, context, outside=why)
        except Refused as refusal:
            said = f"[sandbox: it failed there because {why}. Not run outside: {refusal}]"
            return replace(result, text=f"{result.text}\n{said}")
        result, _ = await self._run(started, timeout, context)
        return replace(
            result, text=f"[sandbox: it failed there because {why}; so it ran outside]\n{result.text}"
        )

    async def _run(
        self, started: Started, timeout: float, context: ToolContext
    ) -> tuple[ToolResult, Following]:
        process, handed_over = started.process, False
        try:
            following = await _follow(process, timeout, context)
            if following == "asks":
                await self._background.make_room()
                handed_over = True
                return await self._hand_over(started), following
            return await self._ended(started, timeout if following == "timed out" else None), following
        finally:
            # Kills what still runs: this is the way out of a cancelled call.
            if not handed_over:
                await process.release()

    async def _ended(self, started: Started, timed_out: float | None) -> ToolResult:
        process = started.process
        status = await process.wait()
        text = self._readable(process, terminal_text.shortened(await process.output()))
        where = " in the sandbox" if started.confined else ""
        how = f"{terminal_text.ending(status)} in {_clock() - started.at:.1f} s{where}"
        if timed_out is not None:
            how = f"timed out after {timed_out:g} s and was ended; set a longer timeout or background"
        news = await self._news(started) if timed_out is None else ""
        end = f"{how}\n[shell: {terminal_text.visible(news)}]" if news else how
        shown = _terminal(process) or terminal_text.printed(text, how)
        return ToolResult(terminal_text.joined(text, end), status.code != 0, shown, exit=status)

    async def _news(self, started: Started) -> str:
        launch = started.launch
        if launch.shell is None:
            return ""
        return await self.shell.leave(started.process, launch.command, launch.shell)

    async def _hand_over(self, started: Started) -> ToolResult:
        """Leave a command that waits for somebody to type to the model, as a background process."""
        launch = started.launch
        item = self._background.add(started.process, launch)
        output = await started.process.output()
        item.position = terminal_text.length(output)
        text = self._readable(started.process, terminal_text.shortened(output))
        how = (
            f"It waits for input, and goes on in the background as {item.name}: "
            f'process(action="send", id="{item.name}", text="…\\n") answers, action="kill" ends it.'
        )
        return ToolResult(terminal_text.joined(text, how), shown=terminal_text.printed(text))

    def _readable(self, process: Process, output: terminal_text.Shortened) -> str:
        if not output.dropped or not isinstance(process, HeldProcess) or (path := process.log) is None:
            return output.text()
        name = self._background.keep_log(path)
        problem = f" ({process.log_problem})" if process.log_problem else ""
        return output.text(f'process(action="read", id="{name}", line=…) reads {path}{problem}')


def _describe_command(params: RunCommand, _cwd: str) -> Description:
    return Description(terminal_text.title(params.command))


def _at(state: ShellState | None, cwd: str) -> ShellState | None:
    return None if state is None else replace(state, cwd=cwd)


def _directory(base: str, path: str) -> str:
    try:
        resolved = Path(base, path).resolve()
        if resolved.is_dir():
            return str(resolved)
    except (OSError, ValueError) as error:
        raise ToolError(f"cwd: {path!r} cannot be used: {error}.") from error
    raise ToolError(f"cwd: {resolved} is not a directory. Leave cwd out to run in {base}.")


async def _start(launch: Launch, context: ToolContext, outside: str = "") -> Started:
    command = terminal_text.visible(launch.command)
    effect = Effect(
        "execute",
        terminal_text.title(command),
        command=launch.command,
        cwd=launch.cwd,
        altered=terminal_text.all_visible(launch.altered),
        outside=outside,
    )
    place = "" if launch.cwd == context.cwd else f"In `{launch.cwd}`:\n\n"
    permit = await context.permit(effect, (TextBlock(place + terminal_text.fenced(command, "sh")),))
    process = await context.execution.start(permit, launch)
    return Started(process, launch, _clock(), permit.confinement is not None)


async def _follow(process: Process, timeout: float, context: ToolContext) -> Following:
    """Show the output while the command runs; ends it when its time is over."""
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            if isinstance(process, HeldProcess) and process.takes_input:
                return await _until_it_asks(process, context)
            await _stream(process, context)
            await process.wait()
    except TimeoutError:
        if not deadline.expired():
            raise
        await process.kill()
        # What it printed since the last piece.
        await _stream(process, context)
        return "timed out"
    return "ended"


async def _until_it_asks(process: HeldProcess, context: ToolContext) -> Following:
    async with asyncio.TaskGroup() as group:
        streaming = group.create_task(_stream(process, context))
        if await process.asked():
            streaming.cancel()
            return "asks"
    await process.wait()
    return "ended"


async def _stream(process: Process, context: ToolContext) -> None:
    if process.terminal_id is not None:
        context.progress(shown=_terminal(process))
        return
    async for text in process.chunks():
        for start in range(0, len(text), LIVE_PIECE):
            context.progress(output=text[start : start + LIVE_PIECE])
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(LIVE_INTERVAL, len(text) / LIVE_RATE)):
                await process.wait()


def _terminal(process: Process) -> tuple[TerminalRef, ...]:
    return () if process.terminal_id is None else (TerminalRef(process.terminal_id),)


def _clock() -> float:
    return asyncio.get_running_loop().time()
