"""The tool `process`: what can be done with commands in the background, and with logs of long outputs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from pydantic import Field

from hermes_acp.content import TextBlock
from hermes_acp.policy.effects import Effect
from hermes_acp.tools import terminal_text
from hermes_acp.tools.background import BackgroundProcess, BackgroundProcesses, read_lines
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool
from hermes_acp.workspace.execution.base import HeldProcess, typed
from hermes_acp.workspace.execution.session_shell import SessionShell
from hermes_acp.workspace.execution.shell_state import ShellState, changes

MAX_WAIT = 60.0
"""Seconds that a call may wait for the end of a process, or for its question."""

ANSWER_WAIT = 0.5
"""Seconds that a process has to react to what was typed, when the model names none."""

MAX_INPUT = 4_000
"""Characters that are typed at once; a terminal takes no longer lines."""

MAX_LINES = 400
"""Lines of a log that are read at once."""


class ProcessAction(Params):
    """What to do with the background processes."""

    action: Literal["list", "poll", "read", "send", "kill"]
    id: str | None = None
    wait: float = Field(0, ge=0, le=MAX_WAIT, description="poll, send: seconds to wait for its end")
    text: str | None = Field(
        None,
        max_length=MAX_INPUT,
        description="send: exactly what to type; \\n is Enter, \\u0003 ^C",
    )
    line: int = Field(-100, description="read: first line, negative: from the end")
    lines: int = Field(100, ge=1, le=MAX_LINES, description="read: how many")


def process_tool(background: BackgroundProcesses, shell: SessionShell) -> Tool:
    """The tool of one session."""

    @tool(ProcessAction, kind="execute", describe=_describe)
    async def process(params: ProcessAction, context: ToolContext) -> ToolResult:
        """List background commands and the shell's state; poll new output of one, read its whole output (or a
        log) by lines, type into it, or kill it."""
        if params.action == "list":
            return ToolResult(_listing(background, shell, context.cwd))
        if params.id is None:
            raise ToolError(f"{params.action} needs the id of a process, such as p1.")
        if params.action == "read" and (path := background.log(params.id)) is not None:
            return await _read(path, params)
        item = background.find(params.id)
        match params.action:
            case "read":
                return await _read_process(item, params)
            case "send":
                await _send(item, params, context)
                await _wait(item, params.wait or ANSWER_WAIT)
            case "kill":
                await item.process.kill()
            case "poll":
                await _wait(item, params.wait)
        return await _news(item)

    return process


def _describe(params: ProcessAction, _cwd: str) -> Description:
    if params.action == "send" and params.text is not None:
        return Description(f"type {terminal_text.title(params.text)!r} into {params.id}")
    return Description(f"{params.action} {params.id}" if params.id else "background processes")


def _listing(background: BackgroundProcesses, shell: SessionShell, home: str) -> str:
    lines = [_line(item) for item in background.all()] or ["There are no background processes."]
    if state := changes(ShellState(home), shell.state(home)):
        lines.append(f"[shell: {terminal_text.visible(state)}]")
    return "\n".join(lines)


async def _send(item: BackgroundProcess, params: ProcessAction, context: ToolContext) -> None:
    if not params.text:
        raise ToolError("send needs the text to type.")
    process = item.process
    if not isinstance(process, HeldProcess) or not process.takes_input:
        raise ToolError(f"{item.name} takes no input: it has ended, or runs in the editor's own terminal.")
    shown = terminal_text.fenced(terminal_text.visible(params.text))
    question = TextBlock(
        f"Into {item.name}, which runs `{terminal_text.title(item.launch.command)}`:\n\n{shown}"
    )
    summary = f"type into {item.name}"
    effect = Effect(
        "execute",
        summary,
        command=typed(item.launch.command, params.text),
        cwd=item.launch.cwd,
        altered=terminal_text.all_visible(item.launch.altered),
        outside="" if process.confined else "that is where the command runs",
    )
    await process.send(await context.permit(effect, (question,)), params.text)


async def _wait(item: BackgroundProcess, seconds: float) -> None:
    """Wait for the end of a process, or for its question; one that can wait for neither is not waited for."""
    if not seconds:
        return
    process = item.process
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            if not (isinstance(process, HeldProcess) and await process.asked()):
                await process.wait()


async def _news(item: BackgroundProcess) -> ToolResult:
    process, status = item.process, item.process.exit()
    asks = isinstance(process, HeldProcess) and await process.asks()
    output = await process.output()
    # Of an editor's terminal only the last output is known, never how much came before it.
    whole = process.terminal_id is not None
    news = output if whole else terminal_text.since(output, item.position)
    item.position = terminal_text.length(output)
    how = (
        f"{item.name} is running" if status is None else f"{item.name} ended: {terminal_text.ending(status)}"
    )
    if asks:
        how += ", and waits for input"
    hint = terminal_text.TO_A_FILE
    if isinstance(process, HeldProcess) and process.log is not None:
        hint = f'process(action="read", id="{item.name}", line=…) reads them'
    text = terminal_text.shortened(news).text(hint)
    return ToolResult(terminal_text.joined(text, how), shown=terminal_text.printed(text))


async def _read_process(item: BackgroundProcess, params: ProcessAction) -> ToolResult:
    output = await item.process.output()
    if isinstance(item.process, HeldProcess) and item.process.log is not None:
        return await _read(item.process.log, params)
    lines = terminal_text.shortened(output).text().splitlines(keepends=True)
    first = max(len(lines) + params.line, 0) if params.line < 0 else max(params.line, 1) - 1
    return _lines(first + 1, "".join(lines[first : first + params.lines]))


async def _read(path: str, params: ProcessAction) -> ToolResult:
    return _lines(*await asyncio.to_thread(read_lines, path, params.line, params.lines))


def _lines(number: int, text: str) -> ToolResult:
    if not text:
        return ToolResult("There are no such lines.")
    text = terminal_text.plain(text)
    long = len(text) > terminal_text.MODEL_HEAD + terminal_text.MODEL_TAIL
    text = terminal_text.shortened(terminal_text.Output(text)).text("read fewer lines") if long else text
    return ToolResult(f"from line {number}:\n{text}", shown=terminal_text.printed(text))


def _line(item: BackgroundProcess) -> str:
    status = item.process.exit()
    age = asyncio.get_running_loop().time() - item.started
    state = f"running, started {age:.0f} s ago" if status is None else terminal_text.ending(status)
    return f"{item.name} ({state}): {terminal_text.title(item.launch.command)}"
