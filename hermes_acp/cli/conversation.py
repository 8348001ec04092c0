"""A conversation as Markdown, made from its journal."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import datetime

from hermes_acp.agent.history import taken_back
from hermes_acp.cli.screen import safe
from hermes_acp.content import AudioBlock, Block, Diff, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import (
    ContextCompacted,
    Envelope,
    Event,
    MessageCompleted,
    PlanUpdated,
    QuestionAnswered,
    QuestionAsked,
    Steered,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.policy.rules.rules import visible
from hermes_acp.storage.sessions import SessionRow

RESULT_LINES = 20
"""Lines of a tool's result that are printed."""

_MARKS = {"pending": " ", "in_progress": "~", "completed": "x"}


def markdown(row: SessionRow, envelopes: Sequence[Envelope]) -> str:
    """The whole conversation; nothing in it can move the cursor of a terminal."""
    started = datetime.fromtimestamp(row.created_at).astimezone().isoformat(" ", "minutes")
    title = visible(row.title or "Untitled")
    head = (
        f"# {title}\n\n{row.session_id}, started {started} in {visible(row.cwd)}, model {visible(row.model)}"
    )
    titles = {
        event.call_id: event.title
        for event in (envelope.event for envelope in envelopes)
        if isinstance(event, ToolCallStarted)
    }
    gone = taken_back(envelopes)
    parts = [_part(item.event, titles, taken_back=item.turn_id in gone) for item in envelopes]
    return safe("\n\n".join([head, *filter(None, parts)])) + "\n"


def _part(event: Event, titles: dict[str, str], *, taken_back: bool) -> str:
    match event:
        case TurnStarted() | Steered():
            who = (isinstance(event, TurnStarted) and visible(event.speaker)) or "You"
            head = f"## {who} (taken back)" if taken_back else f"## {who}"
            return f"{head}\n\n" + "\n\n".join(map(_block, event.content))
        case MessageCompleted() if event.text:
            return f"## {visible(event.speaker) or 'Agent'}\n\n{event.text}"
        case ToolCallFinished():
            return _call(event, titles.get(event.call_id, event.call_id))
        case PlanUpdated():
            return "\n".join(f"- [{_MARKS[entry.status]}] {entry.content}" for entry in event.entries)
        case QuestionAsked():
            return f"**Question:** {event.message}"
        case QuestionAnswered():
            return f"**Answer:** {event.values or event.outcome}"
        case ContextCompacted() if event.summary:
            return f"_What was said so far was summarised for the model:_\n\n{event.summary}"
        case TurnEnded() if event.stop_reason != "end_turn":
            return f"_The turn ended: {(event.error or event.stop_reason).removesuffix('.')}._"
        case _:
            return ""


def _call(event: ToolCallFinished, title: str) -> str:
    head = f"**{visible(event.title or title)}** ({event.outcome})"
    diffs = [_fenced(_changes(item), "diff") for item in event.shown if isinstance(item, Diff)]
    return "\n\n".join([head, *(diffs or [_fenced(_shortened(event.result), "text")])])


def _changes(diff: Diff) -> str:
    before, after = (diff.old_text or "").splitlines(), diff.new_text.splitlines()
    source = diff.path if diff.old_text is not None else "/dev/null"
    return "\n".join(difflib.unified_diff(before, after, source, diff.path, lineterm=""))


def _shortened(text: str) -> str:
    lines = text.splitlines()
    more = len(lines) - RESULT_LINES
    return "\n".join([*lines[:RESULT_LINES], *([f"… {more} more lines"] if more > 0 else [])])


def _fenced(text: str, language: str) -> str:
    """Text in a code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _block(block: Block) -> str:
    match block:
        case TextBlock():
            return block.text
        case LinkBlock():
            return f"[{block.title or block.name}]({block.uri})"
        case ResourceBlock():
            return f"[{block.uri}]({block.uri})"
        case ImageBlock() | AudioBlock():
            return f"[{block.type}, {block.mime_type}]"
