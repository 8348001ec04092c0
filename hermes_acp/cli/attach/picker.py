"""Choosing a session on a terminal: type to search, arrows to move, Enter to open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    FormattedTextControl,
    HSplit,
    Layout,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput
from rich.text import Text

from hermes_acp.cli.attach import look, paint, sessions
from hermes_acp.cli.attach.bindings import Bindings
from hermes_acp.cli.attach.sessions import Listed
from hermes_acp.cli.attach.window import Terminal
from hermes_acp.cli.screen import one_line
from hermes_acp.records import record

ROWS = 12
"""Sessions that are seen at once."""
OTHER_ROWS = 4
"""Rows of the screen that the list leaves to the rest."""
SHORTEST_PATH = 12
HELP = "Enter opens, type to search, Ctrl-D leaves"

Picked: TypeAlias = Listed | Literal["new", "gone"] | None


@record
class Row:
    """A line of the list; `session` is None for the new session."""

    session: Listed | None


class Picker:
    """The list of sessions; `run` gives the one that was chosen."""

    def __init__(self, terminal: Terminal, listed: Sequence[Listed], cwd: str) -> None:
        self._terminal = terminal
        self._cwd = cwd
        self._listed = sessions.ordered(listed, cwd)
        self._now = datetime.now(UTC)
        self._at = 0
        self._search = Buffer(multiline=False, on_text_changed=self._searched)
        search = Window(BufferControl(self._search, input_processors=[BeforeInput("search: ")]), height=1)
        rows = Window(FormattedTextControl(lambda: ANSI(self._drawn())), dont_extend_height=True)
        self.app: Application[Picked] = Application(
            layout=Layout(
                HSplit([rows, search, Window(FormattedTextControl(HELP), height=1)], align=VerticalAlign.TOP),
                focused_element=search,
            ),
            key_bindings=self._keys(),
            input=terminal.input,
            output=terminal.output,
            erase_when_done=True,
        )

    async def run(self) -> Picked:
        """Wait for the choice; None when the user leaves."""
        return await self.app.run_async()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that fit the search, the new session among them."""
        found = sessions.matching(self._listed, self._search.text)
        here = sum(sessions.same_folder(item.cwd, self._cwd) for item in found)
        rows = [Row(item) for item in found]
        return (*rows[:here], Row(None), *rows[here:])

    def _searched(self, _: Buffer) -> None:
        self._at = 0

    def _move(self, step: int) -> None:
        self._at = max(0, min(len(self.rows) - 1, self._at + step))

    def _leave(self, picked: Picked) -> None:
        self.app.exit(result=picked)

    def _drawn(self) -> str:
        size = self._terminal.output.get_size()
        height = max(1, min(ROWS, size.rows - OTHER_ROWS))
        first = max(0, min(self._at - height // 2, len(self.rows) - height))
        width = look.width(size.columns - 1)
        shown = self.rows[first : first + height]
        lines = [self._line(row, width, marked=first + at == self._at) for at, row in enumerate(shown)]
        return paint.rendered(lines, self._terminal.look, width).rstrip("\n")

    def _line(self, row: Row, width: int, *, marked: bool) -> Text:
        mark = "> " if marked else "  "
        style = "bold" if marked else ""
        if row.session is None:
            return Text(
                f"{mark}new session in {one_line(self._cwd)}", style, no_wrap=True, overflow="ellipsis"
            )
        return Text(describe(row.session, self._cwd, self._now, width, mark), style, no_wrap=True)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        bindings = Bindings(keys)
        bindings.on("enter", do=lambda: self._leave(self.rows[self._at].session or "new"))
        bindings.on("up", do=lambda: self._move(-1))
        bindings.on("down", do=lambda: self._move(1))
        for key in ("c-c", "c-d", Keys.SIGINT):
            bindings.on(key, do=lambda: self._leave(None))
        return keys


def describe(session: Listed, cwd: str, now: datetime, width: int, mark: str = "") -> str:
    """A session on one line of so many characters: age, state, title, and the folder if it is another."""
    age = sessions.age(session.updated, now)
    head = f"{mark}{age:>6}  {'running  ' if session.running else ''}"
    title = session.title or "(nothing said yet)"
    if sessions.same_folder(session.cwd, cwd):
        return _fit(f"{head}{title}", width)
    room = max(SHORTEST_PATH, width - len(head) - len(title) - 2)
    folder = one_line(session.cwd)
    folder = folder if len(folder) <= room else f"…{folder[-room + 1 :]}"
    return f"{_fit(f'{head}{title}', width - len(folder) - 2)}  {folder}"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
