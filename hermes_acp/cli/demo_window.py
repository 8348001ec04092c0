"""The window of the demonstration: what an editor would show of a conversation, in 80 columns."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TextIO, cast

from hermes_acp.cli.acp_client import Unanswered
from hermes_acp.cli.screen import safe
from hermes_acp.server.messages import Json

WIDTH = 80
LABEL = 10
OUTPUT_LINES = 16
"""Lines of a command's output that are shown: its end."""
CONTEXT_LINES = 2

Colour = Literal["bold", "dim", "red", "green", "yellow", "blue"]
CODES: dict[Colour, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
}
STATES: dict[object, tuple[str, Colour]] = {
    "completed": ("[x]", "green"),
    "in_progress": ("[>]", "yellow"),
    "pending": ("[ ]", "dim"),
}
LABELS = {"agent_thought_chunk": "thinks", "agent_message_chunk": "agent", "user_message_chunk": "you"}
ICONS: dict[object, str] = {"execute": "run", "edit": "edit", "read": "read", "search": "search"}


@dataclass(slots=True)
class Card:
    """A tool call as its updates add up."""

    title: str = ""
    kind: str = "other"
    status: str = "pending"
    content: list[Json] = field(default_factory=list[Json])


class Paper:
    """Writes labelled paragraphs, with colours on a terminal only."""

    def __init__(self, out: TextIO, env: Mapping[str, str]) -> None:
        self.muted = False
        self._out = out
        plain = "NO_COLOR" in env or env.get("TERM") == "dumb"
        self._colours = out.isatty() and not plain

    def heading(self, text: str) -> None:
        """A title with space around it."""
        self._write(f"\n{self._paint(text, 'bold')}\n{self._paint('-' * len(text), 'dim')}\n")

    def text(self, text: str) -> None:
        """Wrapped text across the whole width."""
        self._write(f"{textwrap.fill(text, WIDTH, replace_whitespace=False)}\n")

    def paragraph(self, label: str, text: str, colour: Colour | None = None) -> None:
        """Wrapped text behind a label."""
        lines = textwrap.wrap(safe(text), WIDTH - LABEL) or [""]
        self.lines(label, lines, colour)

    def lines(self, label: str, lines: list[str], colour: Colour | None = None) -> None:
        """Lines behind a label, cut at the width."""
        for line in lines:
            shown = safe(line.expandtabs())
            cut = shown if len(shown) <= WIDTH - LABEL else f"{shown[: WIDTH - LABEL - 1]}…"
            head = self._paint(f"{label:<{LABEL}}", "blue") if cut else label
            self._write(f"{head}{self._paint(cut, colour) if colour and cut else cut}\n")
            label = ""

    def _paint(self, text: str, colour: Colour) -> str:
        return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if self._colours else text

    def _write(self, text: str) -> None:
        if not self.muted:
            self._out.write(text)
            self._out.flush()


class Window:
    """Shows one conversation and decides about permissions (`acp_client.Host`)."""

    def __init__(self, paper: Paper, decide: Callable[[Json], str]) -> None:
        self.cards: dict[str, Card] = {}
        self.said = ""
        self.asked: list[Json] = []
        self.plan: list[Json] = []
        self.updates = 0
        self._paper = paper
        self._decide = decide
        self._label = ""
        self._text = ""

    def show(self, session_id: str, update: Json) -> None:  # noqa: ARG002 (one session a window)
        """Take in an update; text is printed when it is whole."""
        self.updates += 1
        match update["sessionUpdate"]:
            case str() as kind if kind in LABELS:
                self._collect(LABELS[kind], str(cast("Json", update["content"]).get("text", "")))
            case "tool_call" | "tool_call_update":
                self._call(str(update["toolCallId"]), update)
            case "plan":
                self._show_plan(cast("list[Json]", update["entries"]))
            case _:
                return

    async def answer(self, method: str, params: Json) -> Json:
        """Show a question and the choice that was made."""
        if method != "session/request_permission":
            raise Unanswered(f"{method} is not offered.")
        self.flush()
        call = cast("Json", params["toolCall"])
        chosen = self._decide(params)
        options = cast("list[Json]", params["options"])
        self.asked.append(params)
        self._paper.paragraph("asks", f"May the agent do this? {call['title']}", "yellow")
        self._content(cast("list[Json]", call.get("content") or []))
        for option in options:
            mark = "(*)" if option["optionId"] == chosen else "( )"
            self._paper.lines("", [f"{mark} {option['name']}"], "yellow" if mark == "(*)" else "dim")
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    def flush(self) -> None:
        """Print the text that was collected."""
        if not self._text:
            return
        colour: Colour | None = "dim" if self._label == "thinks" else None
        self._paper.paragraph(self._label, self._text, colour)
        self._text = ""

    def _collect(self, label: str, text: str) -> None:
        if label != self._label:
            self.flush()
        self._label = label
        self._text += text
        self.said += text if label == "agent" else ""

    def _call(self, call_id: str, update: Json) -> None:
        self.flush()
        card = self.cards.setdefault(call_id, Card())
        card.title = str(update.get("title") or card.title)
        card.kind = str(update.get("kind") or card.kind)
        card.status = str(update.get("status") or card.status)
        card.content = cast("list[Json]", update.get("content") or card.content)
        if card.status in ("completed", "failed") and card.kind != "think":
            colour: Colour = "green" if card.status == "completed" else "red"
            self._paper.paragraph(ICONS.get(card.kind, "tool"), f"{card.title}: {card.status}", colour)
            if card.kind == "execute":
                self._content(card.content)

    def _content(self, content: list[Json]) -> None:
        for item in content:
            match item:
                case {"type": "diff", "path": str() as path, "newText": str() as new}:
                    self._diff(path, str(item.get("oldText") or ""), new)
                case {"content": {"type": "text", "text": str() as text}}:
                    lines = [line for line in text.splitlines() if not line.startswith("```")]
                    self._paper.lines("", lines[-OUTPUT_LINES:])
                case _:
                    continue

    def _diff(self, path: str, old: str, new: str) -> None:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=CONTEXT_LINES, lineterm="")
        self._paper.lines("", [path.rpartition("/")[2]], "bold")
        for line in list(lines)[2:]:
            colours: dict[str, Colour] = {"+": "green", "-": "red", "@": "dim"}
            self._paper.lines("", [line], colours.get(line[:1]))

    def _show_plan(self, entries: list[Json]) -> None:
        self.flush()
        self.plan = entries
        label = "plan"
        for entry in entries:
            mark, colour = STATES[entry["status"]]
            self._paper.lines(label, [f"{mark} {entry['content']}"], colour)
            label = ""
