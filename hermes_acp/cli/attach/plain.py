"""`attach` without a terminal that can move its cursor: lines in, lines out."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TextIO

from hermes_acp.cli.acp_client import Agent, AgentGone, start
from hermes_acp.cli.attach import live, look, paint, sessions
from hermes_acp.cli.attach.desk import Desk, Leaving
from hermes_acp.cli.attach.lines import Lines
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.opening import Request, Surroundings, introduce, open_named
from hermes_acp.cli.attach.pending import Pending
from hermes_acp.cli.attach.picker import describe
from hermes_acp.cli.attach.pieces import Piece
from hermes_acp.cli.attach.sessions import Listed

LISTED = 20
"""Sessions that are offered."""
COLUMNS = 80
"""Columns of a terminal that does not say how many it has."""


class Plain:
    """The view of a desk that only prints."""

    def __init__(self, out: TextIO, shown: Look, columns: int) -> None:
        self.desk = Desk(self)
        self.left: asyncio.Future[Leaving] = asyncio.get_running_loop().create_future()
        self._out = out
        self._look = shown
        self._width = look.width(columns)
        self._asked: tuple[Pending, int] | None = None

    def print(self, pieces: Sequence[Piece], *, full: bool = False) -> None:
        """Print at once."""
        self.write(paint.paint(pieces, self._look, self._width, full=full))

    def write(self, text: str) -> None:
        """Print text that is safe."""
        self._out.write(text)
        self._out.flush()

    def changed(self) -> None:
        """Print what is asked, once."""
        pending = self.desk.questions[0] if self.desk.questions else None
        asked = (pending, len(pending.values)) if pending is not None else None
        if asked == self._asked:
            return
        self._asked = asked
        if pending is not None and not pending.future.done():
            self.write(f"{live.asking(pending, None, 0, self._look, self._width)}\n")

    def leave(self, how: Leaving) -> None:
        """End the window."""
        if not self.left.done():
            self.left.set_result(how)

    def take(self, line: str) -> None:
        """A line of the user: a command, an answer to the question that waits, or a prompt."""
        waiting = [pending for pending in self.desk.questions if not pending.future.done()]
        if not waiting or line.startswith("/"):
            self.desk.enter(line)
        elif problem := waiting[0].take(line):
            self.write(f"{problem}\n")
        else:
            self.changed()


async def attach(request: Request, around: Surroundings, shown: Look, columns: int) -> Listed | None:
    """Show sessions until the user leaves or the input ends; the session that was left.

    Raises `AgentError`, `AgentGone` and `NoSession`.
    """
    typed = Lines(sys.stdin.fileno())
    while True:
        view = Plain(sys.stdout, shown, columns)
        async with start(view.desk, around.env, errors=around.errors) as agent:
            await introduce(agent)
            if not request.new and not request.session:
                request = await _chosen(agent, request, view, typed)
            if not request.new and not request.session:
                return None
            await open_named(agent, view.desk, request)
            how = await _live(agent, view, typed)
        if how != "sessions":
            return view.desk.session
        request = Request("", new=False, cwd=request.cwd)


async def _live(agent: Agent, view: Plain, typed: Lines) -> Leaving:
    """Take lines until the user leaves or the input has ended and everything is answered."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, _interrupted, view)
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_take_lines(view, typed))
            others = [tasks.create_task(view.desk.work()), tasks.create_task(agent.gone()), reading]
            await asyncio.wait([view.left, others[1]], return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if agent.ended:
        raise AgentGone
    return view.left.result()


async def _take_lines(view: Plain, typed: Lines) -> None:
    while (line := await typed.next()) is not None:
        view.take(line)
    await view.desk.finish()
    view.leave("detach")


def _interrupted(view: Plain) -> None:
    if view.desk.state.busy or view.desk.questions:
        view.desk.cancel()
    else:
        view.leave("detach")


async def _chosen(agent: Agent, request: Request, view: Plain, typed: Lines) -> Request:
    """The session that is chosen by its number; the same request when the input ends."""
    listed = sessions.ordered(await sessions.listing(agent), request.cwd)[:LISTED]
    now = datetime.now(UTC)
    for number, item in enumerate(listed, 1):
        view.write(f"{number:>3} {describe(item, request.cwd, now, COLUMNS)}\n")
    view.write("Type a number, or `new`.\n")
    while (line := await typed.next()) is not None:
        word = line.strip()
        if word == "new":
            return replace(request, new=True)
        if word.isdecimal() and 1 <= int(word) <= len(listed):
            return replace(request, session=listed[int(word) - 1].session_id)
        view.write(f"Type a number from 1 to {len(listed)}, or `new`.\n")
    return request
