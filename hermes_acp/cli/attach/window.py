"""A session on a terminal: what is finished scrolls by, below it the rest, the prompt and the state."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO, TypeAlias

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output

from hermes_acp.cli.acp_client import Agent
from hermes_acp.cli.attach import live, look, mentions, paint
from hermes_acp.cli.attach.completion import PromptCompleter
from hermes_acp.cli.attach.desk import Desk, Leaving
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.pending import NOTHING_CHOSEN, Pending
from hermes_acp.cli.attach.pieces import Piece
from hermes_acp.cli.attach.screen import Screen, layout
from hermes_acp.records import record

SETTLE_SECONDS = 0.4
"""A question takes the keyboard when nothing was typed for so long, so that nobody answers by accident."""
TICK_SECONDS = 0.1
"""How often the spinner turns and waiting questions are looked at."""
PRINT_SECONDS = 0.03
"""Least time between two prints; what comes meanwhile is printed together."""
HINT_SECONDS = 4.0
"""How long a hint stays."""
RESERVED_ROWS = 5
"""Rows of the screen that what still grows leaves to the prompt and the state."""
UNKNOWN_SIZE = (80, 24)
DETACH_HINT = "Ctrl-D detaches; the session goes on."

Mode: TypeAlias = Literal["draft", "choose", "fill"]


@record
class Terminal:
    """The terminal: what it can show, and both its directions."""

    look: Look
    input: Input
    output: Output


def terminal(out: TextIO, env: Mapping[str, str], source: Input, shown: Look) -> Terminal:
    """The terminal behind standard input and output."""
    depth = ColorDepth.DEPTH_4_BIT if shown.colours else ColorDepth.DEPTH_1_BIT

    def size() -> Size:
        columns, rows = shutil.get_terminal_size(UNKNOWN_SIZE)
        return Size(rows=rows, columns=columns)

    # The cursor is never asked for its position: we know where we are, and some terminals do not answer.
    output = Vt100_Output(
        out,
        size,
        term=env.get("TERM"),
        default_color_depth=depth,
        enable_bell=False,
        enable_cpr=False,
    )
    return Terminal(shown, source, output)


class Window:
    """The terminal as the view of a desk."""

    def __init__(self, terminal: Terminal, history: Sequence[str], env: Mapping[str, str]) -> None:
        self.desk = Desk(self)
        self.mode: Mode = "draft"
        self.marked: int | None = None
        self.entered: asyncio.Queue[str] = asyncio.Queue()
        """The prompts, for whoever keeps the history."""
        self._terminal = terminal
        self._waiting: list[tuple[Sequence[Piece], bool]] = []
        self._wake = asyncio.Event()
        self._typed_at = self._asked_at = self._began = 0.0
        self._hint, self._hint_until = "", 0.0
        self._typing_first = False
        mentionable = mentions.Mentionable(lambda: self.desk.session.cwd, env)
        completer = PromptCompleter(lambda: self.desk.state, mentionable)
        self.draft = Buffer(
            history=InMemoryHistory(history),
            completer=completer,
            complete_while_typing=True,
            multiline=True,
            on_text_changed=self._on_typed,
        )
        self.reply = Buffer(multiline=False)
        self.app: Application[Leaving | None] = Application(
            layout=layout(self._screen()),
            input=terminal.input,
            output=terminal.output,
            min_redraw_interval=PRINT_SECONDS,
            erase_when_done=True,
            enable_page_navigation_bindings=False,
        )

    # --- the view of the desk --------------------------------------------------------------------

    def print(self, pieces: Sequence[Piece], *, full: bool = False) -> None:
        """Print above the prompt, soon."""
        self._waiting.append((pieces, full))
        self._wake.set()

    def changed(self) -> None:
        """Draw again, soon."""
        if not self.desk.state.busy:
            self._began = 0.0
        elif not self._began:
            self._began = time.monotonic()
        self._look_at_questions()
        self._wake.set()
        self.app.invalidate()

    def leave(self, how: Leaving) -> None:
        """End the window."""
        if self.app.is_running:
            self.app.exit(result=how)

    # --- the window's life -----------------------------------------------------------------------

    async def run(self, agent: Agent) -> Leaving | None:
        """Show the session until the user leaves; None when the agent has gone."""
        async with asyncio.TaskGroup() as tasks:
            jobs = [
                tasks.create_task(job)
                for job in (self.desk.work(), self._print(), self._tick(), self._until_gone(agent))
            ]
            how = await self.app.run_async()
            for job in jobs:
                job.cancel()
        self._print_now()
        return how

    async def _until_gone(self, agent: Agent) -> None:
        await agent.gone()
        if self.app.is_running:
            self.app.exit(result=None)

    async def _print(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._print_now()
            await asyncio.sleep(PRINT_SECONDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            expired = bool(self._hint) and now > self._hint_until
            self._hint = "" if expired else self._hint
            if self.desk.state.busy or self.desk.questions or expired:
                self._look_at_questions()
                self.app.invalidate()

    def _print_now(self) -> None:
        waiting, self._waiting = self._waiting, []
        width = self._width()
        text = "".join(paint.paint(pieces, self._terminal.look, width, full=full) for pieces, full in waiting)
        if not text:
            return
        if self.app.is_running:
            self.app.renderer.erase(leave_alternate_screen=False)
        output = self._terminal.output
        output.write_raw(text.replace("\n", "\r\n"))
        output.flush()
        self.app.invalidate()

    # --- questions -------------------------------------------------------------------------------

    @property
    def pending(self) -> Pending | None:
        """The question that is asked now."""
        return self.desk.questions[0] if self.desk.questions else None

    def _look_at_questions(self) -> None:
        """Give the keyboard to a question when the user is not typing, and back after it."""
        pending, now = self.pending, time.monotonic()
        if pending is None:
            self._asked_at, self._typing_first = 0.0, False
            self._turn_to("draft")
        elif self.mode == "draft" and not self._typing_first:
            self._asked_at = self._asked_at or now
            if now - max(self._asked_at, self._typed_at) >= SETTLE_SECONDS:
                self._turn_to("fill" if pending.field else "choose")

    def _turn_to(self, mode: Mode) -> None:
        if mode == self.mode:
            return
        self.mode, self.marked, self._hint = mode, None, ""
        self.app.layout.focus(self.reply if mode == "fill" else self.draft)
        self.app.invalidate()

    def take(self, typed: str) -> None:
        """The user answers the question that is asked."""
        if self.pending is not None:
            self._taken(self.pending.take(typed))

    def choose_marked(self) -> None:
        """Enter in a list of choices: only what was marked before counts."""
        pending = self.pending
        if pending is None or self.marked is None:
            self.hint(NOTHING_CHOSEN)
        else:
            self._taken(pending.choose(pending.choices[self.marked]))

    def _taken(self, problem: str) -> None:
        if problem:
            self.hint(problem)
            return
        self.marked = None
        pending = self.pending
        if pending is not None and pending.future.done():
            # The next question has to be looked at before it can be answered.
            self._asked_at = time.monotonic()
            self._turn_to("draft")

    def mark(self, step: int) -> None:
        """Move the mark in a list of choices."""
        count = len(self.pending.choices) if self.pending else 0
        if count:
            start = -1 if step > 0 else 0
            self.marked = ((start if self.marked is None else self.marked) + step) % count

    def fill(self) -> None:
        """Enter in a form: what is typed is the answer to its field."""
        typed = self.reply.text
        self.reply.reset()
        self.take(typed)

    def decline(self) -> None:
        """Refuse to fill in the form."""
        self.reply.reset()
        if self.pending is not None and self.pending.decline():
            self._taken("")

    def type_first(self, *, first: bool) -> None:
        """Let the question wait while the user types a prompt, or go back to it."""
        self._typing_first = first
        self._typed_at = 0.0 if not first else self._typed_at
        if first:
            self._turn_to("draft")
        self._look_at_questions()

    # --- the prompt ------------------------------------------------------------------------------

    def send(self, *, steering: bool = False) -> None:
        """Send what is typed."""
        text = self.draft.text
        if not text.strip():
            return
        self.draft.reset(append_to_history=True)
        self.entered.put_nowait(text)
        self._typing_first = False
        if steering:
            self.desk.steer(text)
        else:
            self.desk.enter(text)

    def interrupt(self) -> None:
        """Ctrl-C: stop the turn, else clear what is typed, else say how to leave."""
        if self.desk.state.busy or self.desk.questions:
            self.desk.cancel()
            self.hint("Stopping.")
        elif self.draft.text:
            self.draft.reset()
        else:
            self.hint(DETACH_HINT)

    def hint(self, text: str) -> None:
        """Say something for a moment in place of the state."""
        self._hint, self._hint_until = text, time.monotonic() + HINT_SECONDS
        self.app.invalidate()

    def _on_typed(self, _: Buffer) -> None:
        self._typed_at = time.monotonic()

    # --- what is drawn ---------------------------------------------------------------------------

    def _screen(self) -> Screen:
        return Screen(self.draft, self.reply, self._live, self._below, self._mode)

    def _mode(self) -> Mode:
        return self.mode

    def _width(self) -> int:
        return look.width(self._terminal.output.get_size().columns - 1)

    def _live(self) -> str:
        size = self._terminal.output.get_size()
        shown, width = self._terminal.look, self._width()
        parts: list[str] = []
        pending, rows = self.pending, size.rows - RESERVED_ROWS
        if pending is not None and self.mode != "draft":
            parts.append(live.asking(pending, self.marked, len(self.desk.questions) - 1, shown, width))
            rows -= parts[0].count("\n") + 1
        seconds = time.monotonic() - self._began if self._began else 0.0
        # While a question has the keyboard it is the user who is waited for.
        if not parts and (text := live.status(self.desk.state, shown, seconds)):
            parts.append(text)
            rows -= 1
        if text := live.live(self.desk.state, shown, width, rows):
            parts.insert(0, text)
        return "\n".join(parts)

    def _below(self) -> str:
        columns = self._terminal.output.get_size().columns
        waits = "A question waits." if self.pending is not None and self.mode == "draft" else ""
        return self._hint or waits or live.toolbar(self.desk.state, self._terminal.look, columns)
