"""The part of the screen that still changes: what grows, what runs, what is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from hermes_acp.cli.attach import paint
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.pending import Pending
from hermes_acp.cli.attach.pieces import AgentText, Plan, Usage, UserText
from hermes_acp.cli.attach.questions import Choice
from hermes_acp.cli.attach.state import Growing, State

LIVE_CHARS = 8 * 1024
"""A growing block longer than this shows its end alone, unformatted: it is rendered many times."""
LIVE_OUTPUT = 6
"""Lines of a running command's output: its end."""
LIVE_CARDS = 4
"""Open tool calls that are shown; further ones are counted."""
LIVE_STEPS = 8
"""Steps of the plan that are shown, from the one that is worked on."""
HOW_TO_CHOOSE = "Press a key. Enter alone chooses nothing; Tab: type something first."
HOW_TO_FILL = "Enter answers, Esc declines."


def live(state: State, look: Look, width: int, rows: int) -> str:
    """What is not finished, in at most so many rows: the end of it."""
    text = _growing(state.growing, look, width) if state.growing else ""
    text += paint.rendered(_parts(state, look), look, width)
    return "\n".join(text.rstrip("\n").split("\n")[-rows:]) if rows > 0 else ""


def _parts(state: State, look: Look) -> Iterator[RenderableType]:
    for card in state.cards[:LIVE_CARDS]:
        yield paint.card(card, look, LIVE_OUTPUT)
    if (more := len(state.cards) - LIVE_CARDS) > 0:
        yield Text(f"… and {more} more calls", "dim")
    if not state.plan_told and state.busy:
        yield ""
        yield paint.plan(_current(state.plan))
    for queued in state.queue:
        first = queued.said.text.partition("\n")[0]
        yield Text(f"> {first} (waits)", "dim", no_wrap=True, overflow="ellipsis")


def _growing(growing: Growing, look: Look, width: int) -> str:
    text = growing.text
    if not text.strip():
        return ""
    match growing.kind:
        case "thought":
            last = text.strip().rpartition("\n")[2]
            line = Text(f"{look.dot} {last[-LIVE_CHARS:]}", "dim italic", no_wrap=True, overflow="ellipsis")
            return paint.rendered([line], look, width)
        case "user":
            return paint.paint([UserText(text, here=False, window=growing.window)], look, width)
        case "agent" if len(text) > LIVE_CHARS:
            return paint.rendered(["", Text(text[-LIVE_CHARS:])], look, width)
        case "agent":
            return paint.paint([AgentText(text)], look, width)


def _current(plan: Plan) -> Plan:
    done = next((at for at, step in enumerate(plan.steps) if step.status != "completed"), 0)
    start = max(0, min(done - 1, len(plan.steps) - LIVE_STEPS))
    return Plan(plan.steps[start : start + LIVE_STEPS])


def asking(pending: Pending, marked: int | None, waiting: int, look: Look, width: int) -> str:
    """The question that waits: its choices, the marked one, and how to answer."""
    lines = Text()
    if pending.field is not None:
        lines.append(f"{pending.field.title}\n", "bold")
    for at, choice in enumerate(pending.choices):
        _choice(lines, choice, marked=at == marked)
    others = f" ({waiting} more wait)" if waiting else ""
    lines.append((HOW_TO_FILL if pending.field else HOW_TO_CHOOSE) + others, "dim")
    return paint.rendered([lines], look, width).rstrip("\n")


def _choice(lines: Text, choice: Choice, *, marked: bool) -> None:
    lines.append(f"{'>' if marked else ' '} ", "bold")
    lines.append(f"{' '.join(choice.keys):<4}", "bold cyan" if not choice.allows else "bold yellow")
    lines.append(f" {choice.name}\n", "bold" if marked else "")


def toolbar(state: State, look: Look, width: int) -> str:
    """Where the session stands, on one line: mode, model, context, cost, title."""
    mode, model = state.option("mode"), state.option("model")
    facts = [
        mode.current if mode else "",
        model.current.rpartition("/")[2] if model else "",
        _usage(state.usage) if state.usage else "",
        state.title,
    ]
    line = f" {look.dot} ".join(filter(None, facts))
    return line if len(line) < width else f"{line[: max(0, width - 2)]}…"


def _usage(usage: Usage) -> str:
    full = f"{100 * usage.used / usage.size:.0f} % of {usage.size // 1000}k" if usage.size else ""
    return full if usage.cost is None else f"{full}, ${usage.cost:.2f}"


def status(state: State, look: Look, seconds: float) -> str:
    """What runs and for how long; empty when nothing does."""
    if not state.busy:
        return ""
    wheel = look.spinner[int(seconds * 8) % len(look.spinner)]
    whole = int(seconds)
    time = f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
    queued = f", {len(state.queue)} waiting" if state.queue else ""
    return f"{wheel} working {time}{queued} {look.dot} Ctrl-C stops it"
