"""Pieces to text for a terminal of a given width: pure."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, ImageItem, Markdown, MarkdownContext, MarkdownElement
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from hermes_acp.cli.attach import diffs
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.pieces import (
    AgentText,
    Asked,
    Card,
    CardStatus,
    Change,
    Content,
    Ended,
    Note,
    Piece,
    Plan,
    Shown,
    Thought,
    UserText,
)
from hermes_acp.cli.attach.received import text as safe_text

DIFF_LINES = 30
"""Lines of a change that are shown where it is folded."""
OUTPUT_LINES = 10
"""Lines of a command's output that are shown where it is folded: its end."""
FULL_LINES = 2_000
"""Lines that are shown of anything that is not folded."""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
LEFT_OUT = "/show prints all of it"
STYLES = {"info": "dim", "warning": "yellow", "error": "red"}
ENDS = {
    "cancelled": "Cancelled.",
    "max_tokens": "The answer was cut at the model's limit.",
    "max_turn_requests": "The turn was stopped: it made too many requests.",
    "refusal": "The model declined.",
}


class _Code(CodeBlock):
    """Code in the terminal's own colours, indented instead of boxed, so that it can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Padding(
            Syntax(code, self.lexer_name, theme="ansi_dark", word_wrap=True, background_color="default"),
            (0, 0, 0, 2),
        )


class _Heading(Heading):
    """A heading on the left, bold."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        self.text.stylize("bold underline" if self.tag == "h1" else "bold")
        yield self.text


class _Picture(ImageItem):
    """A picture as the text that it is written as: its address may carry something away."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from ()

    def on_leave(self, context: MarkdownContext) -> None:
        """Go into the paragraph around it, at its place there."""
        context.on_text(f"![{self.text.plain}]({self.destination})", "text")


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "image": _Picture,
    }


def paint(pieces: Sequence[Piece], look: Look, width: int, *, full: bool = False) -> str:
    """The pieces one below the other, each with the space before it that it needs.

    `full` folds nothing, up to `FULL_LINES` lines of each.
    """
    return "".join(_spaced(piece, look, width, full=full) for piece in pieces)


def _spaced(piece: Piece, look: Look, width: int, *, full: bool) -> str:
    """Rich surrounds some parts of a text with empty lines; around the whole of it ours are enough."""
    lines = rendered([part(piece, look, full=full)], look, width).splitlines()
    blank = [not _STYLE.sub("", line).strip() for line in lines]
    start = next((at for at, empty in enumerate(blank) if not empty), len(lines))
    end = next((at for at in range(len(lines), start, -1) if not blank[at - 1]), start)
    before = [] if isinstance(piece, Thought | Card) else [""]
    return "".join(f"{line}\n" for line in (*before, *lines[start:end]))


def rendered(parts: Iterable[RenderableType], look: Look, width: int) -> str:
    """Rich's renderables as text that ends with a line feed, or is empty."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=look.styles,
        color_system="standard" if look.styles else None,
        no_color=not look.colours,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        safe_box=not look.signs,
        # Nothing is read from the environment: the look was decided before.
        _environ={},
    )
    for part in parts:
        console.print(part)
    # Rich fills lines up to the width; a terminal that gets narrower would wrap them.
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def part(piece: Piece, look: Look, *, full: bool = False) -> RenderableType:
    """One piece as something that rich prints."""
    match piece:
        case UserText():
            return _user(piece)
        case AgentText():
            return _Markdown(piece.text, hyperlinks=False)
        case Thought():
            return Text(piece.text, "dim italic") if full else _thought(piece, look)
        case Card():
            return card(piece, look, FULL_LINES if full else None)
        case Plan():
            return plan(piece)
        case Note():
            return Text(piece.text, STYLES[piece.severity])
        case Asked():
            return _asked(piece)
        case Ended():
            return Text(_end(piece), "red")


def _end(piece: Ended) -> str:
    if piece.reason == "cancelled" and piece.window:
        return f"Cancelled by {piece.window}."
    return piece.error or ENDS.get(piece.reason, f"The turn ended: {piece.reason}.")


def _user(piece: UserText) -> Text:
    label = "" if piece.here else f"[{piece.window or 'another window'}] "
    label += "(meanwhile) " if piece.steered else ""
    return Text.assemble(("> ", "bold cyan"), (label, "cyan"), (piece.text, "bold"))


def _thought(piece: Thought, look: Look) -> Text:
    first, *more = [line for line in piece.text.splitlines() if line.strip()] or [""]
    rest = f" (+{len(more)} lines, Ctrl-T)" if more else ""
    line = Text(f"{look.dot} {first}{rest}", "dim italic", no_wrap=True, overflow="ellipsis")
    if rest:
        line = Text.assemble((f"{look.dot} {_cut(first)}{rest}", "dim italic"))
    return line


def _cut(line: str, length: int = 40) -> str:
    return line if len(line) <= length else f"{line[: length - 1]}…"


# --- tool calls ----------------------------------------------------------------------------------


def card(piece: Card, look: Look, lines: int | None = None) -> RenderableType:
    """A tool call: its title, and what it did as far as it concerns a person.

    `lines` bounds each part of it; None folds it as a conversation shows it.
    """
    parts: list[RenderableType] = [_headline(piece, look)]
    if piece.output:
        parts.append(_tail(safe_text(piece.output), look, lines or OUTPUT_LINES))
    for item in piece.content:
        if isinstance(item, Change):
            parts.append(_change(item, lines or DIFF_LINES))
        elif item.text.strip() and not piece.output and (lines or not _is_read(piece)):
            parts.append(_tail(item.text, look, lines or OUTPUT_LINES))
    return Group(*parts)


def _is_read(piece: Card) -> bool:
    """Whether what the call shows is for the model: a person sees how much it was."""
    return piece.kind in ("read", "search", "fetch") and piece.status != "failed"


def _headline(piece: Card, look: Look) -> Text:
    signs: dict[CardStatus, tuple[str, str]] = {
        "completed": (look.done, "green"),
        "failed": (look.failed, "red"),
        "in_progress": (">", "yellow"),
        "pending": (look.dot, "dim"),
    }
    sign, colour = signs[piece.status]
    style = colour
    how = "" if piece.outcome in ("", "completed") else f" ({piece.outcome})"
    if piece.exit_code:
        how = f" (exit code {piece.exit_code})"
    if _is_read(piece) and piece.content:
        count = sum(len(item.text.splitlines()) for item in piece.content if isinstance(item, Shown))
        how = f" ({count} line{'' if count == 1 else 's'})"
        style = "dim"
    return Text.assemble((f"{sign} ", colour), (piece.title or piece.kind, "bold"), (how, style))


def _change(change: Change, limit: int) -> RenderableType:
    found = diffs.lines(change)
    styles = {"added": "green", "removed": "red", "same": "", "gap": "dim"}
    signs = {"added": "+", "removed": "-", "same": " "}
    digits = max((len(str(line.number)) for line in found), default=1)
    body = Text(no_wrap=False)
    for line in found[:limit]:
        if line.kind == "gap":
            body.append(f"{'':{digits}}   … {line.text}\n", "dim")
            continue
        body.append(f"{line.number:>{digits}} ", "dim")
        body.append(f"{signs[line.kind]} {line.text.expandtabs(4)}\n", styles[line.kind])
    if (more := len(found) - limit) > 0:
        body.append(f"… {more} more lines; {LEFT_OUT}\n", "dim")
    added, removed = diffs.counts(change)
    verb = "new file" if change.before is None else f"+{added} -{removed}"
    head = Text.assemble((f"{change.path} ", ""), (f"({verb})", "dim"))
    body.rstrip()
    return Padding(Group(head, body) if body else head, (0, 0, 0, 2))


def _tail(text: str, look: Look, limit: int) -> RenderableType:
    lines = text.rstrip().splitlines()
    kept = lines[-limit:]
    head = [f"… {len(lines) - len(kept)} earlier lines; {LEFT_OUT}"] if len(lines) > len(kept) else []
    rows = [f"  {look.bar} {line.expandtabs()}" for line in (*head, *kept)]
    return Text("\n".join(rows), "dim", no_wrap=True, overflow="ellipsis")


def plan(piece: Plan) -> Text:
    """The plan as a checklist."""
    boxes: dict[CardStatus, tuple[str, str]] = {
        "completed": ("[x]", "green"),
        "failed": ("[!]", "red"),
        "in_progress": ("[>]", "yellow"),
        "pending": ("[ ]", "dim"),
    }
    styles: dict[CardStatus, str] = {"completed": "dim", "in_progress": "bold"}
    lines = Text()
    for step in piece.steps:
        box, style = boxes[step.status]
        lines.append(f"{box} ", style).append(f"{step.text}\n", styles.get(step.status, ""))
    lines.rstrip()
    return lines


def _asked(piece: Asked) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble(("? ", "bold yellow"), ("May the agent do this? ", "yellow"), (piece.title, "bold"))
    ]
    if piece.reason:
        parts.append(Text(f"  {piece.reason}", "dim"))
    parts += [_whole(item) for item in piece.content]
    return Group(*parts)


def _whole(item: Content) -> RenderableType:
    match item:
        case Change():
            return _change(item, FULL_LINES)
        case Shown():
            lines = item.text.rstrip().splitlines()
            rest = [f"… and {len(lines) - FULL_LINES} more lines that are NOT shown"]
            shown = [*lines[:FULL_LINES], *(rest if len(lines) > FULL_LINES else [])]
            # Wrapped, never cut: nobody can allow what they do not see.
            return Padding(Text("\n".join(line.expandtabs() for line in shown)), (0, 0, 0, 2))
