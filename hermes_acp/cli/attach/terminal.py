"""The way of `attach` on a terminal: connect, choose a session, show it, and again for another one."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from prompt_toolkit.input import create_input

from hermes_acp.cli.acp_client import Agent, AgentGone, start
from hermes_acp.cli.attach import history, keys, sessions
from hermes_acp.cli.attach.desk import Leaving
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.opening import Request, Surroundings, introduce, open_named
from hermes_acp.cli.attach.picker import Picker
from hermes_acp.cli.attach.sessions import Listed
from hermes_acp.cli.attach.window import Terminal, Window, terminal


async def attach(request: Request, around: Surroundings, shown: Look) -> Listed | None:
    """Show sessions until the user leaves; the one that was left.

    Raises `AgentError`, `AgentGone` and `NoSession`.
    """
    screen = terminal(sys.stdout, around.env, create_input(sys.stdin), shown)
    while True:
        typed = await asyncio.to_thread(history.read, around.history)
        window = Window(screen, typed, around.env)
        window.app.key_bindings = keys.bindings(window)
        async with start(window.desk, around.env, errors=around.errors) as agent:
            await introduce(agent)
            how = await _show(agent, window, request, screen, around)
        if how != "sessions":
            return window.desk.session if how else None
        request = Request("", new=False, cwd=request.cwd)


async def _show(
    agent: Agent, window: Window, request: Request, screen: Terminal, around: Surroundings
) -> Leaving | None:
    if not request.new and not request.session:
        picked = await _picked(agent, request, screen)
        if picked is None:
            return None
        request = replace(request, new=picked == "new", session=picked if picked != "new" else "")
    await open_named(agent, window.desk, request)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(_keep(window, around.history))
        how = await window.run(agent)
        keeping.cancel()
    if how is None:
        raise AgentGone
    return how


async def _picked(agent: Agent, request: Request, screen: Terminal) -> str | None:
    listed = await sessions.listing(agent)
    picker = Picker(screen, listed, request.cwd)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_leave_when_gone(agent, picker))
        picked = await picker.run()
        watching.cancel()
    if picked == "gone":
        raise AgentGone
    return picked.session_id if isinstance(picked, Listed) else picked


async def _leave_when_gone(agent: Agent, picker: Picker) -> None:
    await agent.gone()
    if picker.app.is_running:
        picker.app.exit(result="gone")


async def _keep(window: Window, file: Path) -> None:
    while True:
        prompt = await window.entered.get()
        # A prompt that is not remembered is no reason to stop.
        with suppress(OSError):
            await asyncio.to_thread(history.append, file, prompt)
