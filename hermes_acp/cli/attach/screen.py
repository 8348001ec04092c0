"""How the changing part of the screen is laid out, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput

from hermes_acp.records import record

INPUT_ROWS = 8
"""Rows of a prompt that are seen at once; a longer one scrolls."""
MENU_ROWS = 6
"""Completions that are seen at once."""


@record
class Screen:
    """The two inputs, and where the rest comes from."""

    draft: Buffer
    reply: Buffer
    live: Callable[[], str]
    below: Callable[[], str]
    mode: Callable[[], str]


def layout(screen: Screen) -> Layout:
    """What grows, the prompt or the answer, the completions, the state."""
    draft = _input(screen.draft, "> ")
    drafting = Condition(lambda: screen.mode() == "draft")
    filling = Condition(lambda: screen.mode() == "fill")
    live = Window(
        FormattedTextControl(lambda: ANSI(screen.live())), dont_extend_height=True, wrap_lines=False
    )
    below = Window(FormattedTextControl(screen.below), height=1, style="class:state", wrap_lines=False)
    parts = [
        ConditionalContainer(live, Condition(lambda: bool(screen.live()))),
        ConditionalContainer(draft, drafting),
        ConditionalContainer(_input(screen.reply, "= "), filling),
        ConditionalContainer(CompletionsMenu(max_height=MENU_ROWS), drafting),
        below,
    ]
    return Layout(HSplit(parts, align=VerticalAlign.TOP), focused_element=draft)


def _input(buffer: Buffer, mark: str) -> Window:
    control = BufferControl(buffer, input_processors=[BeforeInput(mark)])
    return Window(
        control,
        height=Dimension(min=1, max=INPUT_ROWS),
        dont_extend_height=True,
        wrap_lines=True,
        get_line_prefix=lambda line, wrapped: "" if line == 0 and not wrapped else "  ",
    )
