"""What a turn shows of its user: the words they use, what they allow and turn down, their files. Pure.

Only what the user did counts. What the agent ran unasked says something about the agent.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from hermes_acp.agent.memory import signals
from hermes_acp.content import LinkBlock, ResourceBlock
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Envelope,
    Steered,
    ToolCallFinished,
    ToolCallStarted,
    TurnStarted,
)
from hermes_acp.memory.user_model import questions
from hermes_acp.memory.user_model.questions import Answer
from hermes_acp.records import record

SEEN = 32
"""Answers of one turn, the first ones."""
PARTS = 50
"""Commands of one line that are looked at."""
WRAPPED = 4
"""Programs that one command may run by another one (`uv run python -m pytest`)."""
TOOLS_NAMED = 3
"""A sentence that names more tools compares them."""

_JOINED = re.compile(r"&&|\|\||[;|&\n]")
_SETS = re.compile(r"[A-Za-z_]\w*=\S*")
_RUNNERS = frozenset({"run", "exec", "x", "-m", "--"})
_WRAPPERS = frozenset({"npx", "uvx", "bunx", "pnpx", "sudo", "time", "env"})
_WORD = re.compile(r"[A-Za-z][\w.-]*[A-Za-z0-9]")
_AGAINST = re.compile(
    r"\b(?:no|not|never|don[’']?t|without|instead of|rather than|stop|remove|replace|why|avoid)\b",
    re.IGNORECASE,
)
_ALLOWED = ("allow_once", "allow_always")


@record
class Seen:
    """An answer that event `seq` speaks for. The quote is one word at most: all projects can read it."""

    answer: Answer
    seq: int
    at: float
    quote: str = ""


def seen(turn: Sequence[Envelope]) -> list[Seen]:
    """What the events of a turn speak for, each answer once."""
    every = [*_said(turn), *_allowed(turn), *_edited(turn)]
    return list({item.answer: item for item in reversed(every)}.values())[::-1][:SEEN]


# --- what the user says ----------------------------------------------------------------------------


def _said(turn: Iterable[Envelope]) -> Iterator[Seen]:
    for envelope in turn:
        event, seq = envelope.event, envelope.seq
        if not isinstance(event, TurnStarted | Steered) or seq is None:
            continue
        own = list(signals.sentences(signals.said(event.content)))
        if (answer := questions.of_text(" ".join(own))) is not None:
            yield Seen(answer, seq, envelope.at)
        for sentence in own:
            for answer, words in (*questions.of_sentence(sentence), *_tools(sentence)):
                yield Seen(answer, seq, envelope.at, words)
        for block in event.content:
            if isinstance(block, ResourceBlock | LinkBlock):
                yield from _file(block.uri, seq, envelope.at)


def _tools(sentence: str) -> list[tuple[Answer, str]]:
    """The tools that a sentence names as something to use."""
    if _AGAINST.search(sentence):
        return []
    named = [(answer, word) for word in _WORD.findall(sentence) if (answer := questions.of_word(word))]
    return named if len(named) <= TOOLS_NAMED else []


# --- what the user allows --------------------------------------------------------------------------


def _allowed(turn: Iterable[Envelope]) -> Iterator[Seen]:
    """Commands that the user allowed and that worked; edits that they accepted or turned down."""
    calls: dict[str, tuple[ToolCallStarted, int]] = {}
    asked: dict[str, ApprovalRequested] = {}
    agreed: set[str] = set()
    edits: list[tuple[bool, int, float]] = []
    for envelope in turn:
        match envelope.event:
            case ToolCallStarted() as call if envelope.seq is not None:
                calls[call.call_id] = call, envelope.seq
            case ApprovalRequested() as request:
                asked[request.request_id] = request
            case ApprovalResolved() as resolved if resolved.request_id in asked and resolved.call_id in calls:
                call, seq = calls[resolved.call_id]
                allowed = _allows(asked[resolved.request_id], resolved)
                if call.kind == "edit" and allowed is not None:
                    edits.append((allowed, seq, envelope.at))
                if allowed:
                    agreed.add(call.call_id)
            case ToolCallFinished(exit=ended) as done if done.call_id in agreed and ended is not None:
                call, seq = calls[done.call_id]
                if call.kind == "execute" and ended.code == 0:
                    yield from _commands(signals.command(call.arguments), seq, envelope.at)
            case _:
                pass
    if edits:
        refused = [item for item in edits if not item[0]]
        _, seq, at = (refused or edits)[0]
        yield Seen(questions.DECLINES if refused else questions.ACCEPTS, seq, at)


def _allows(request: ApprovalRequested, resolved: ApprovalResolved) -> bool | None:
    """Whether the user said yes; None when nobody answered."""
    kinds = [choice.kind for choice in request.choices if choice.option_id == resolved.option_id]
    return kinds[0] in _ALLOWED if kinds else None


def _commands(line: str, seq: int, at: float) -> Iterator[Seen]:
    for part in _JOINED.split(line)[:PARTS]:
        for program in _programs(part):
            if (answer := questions.of_command(program)) is not None:
                yield Seen(answer, seq, at, program)


def _programs(command: str) -> list[str]:
    """The program that a command runs, and those that it runs by it: `uv run pytest` are two."""
    words = [word for word in command.split() if not _SETS.fullmatch(word)]
    programs = words[:1]
    for before, word in itertools.pairwise(words):
        if before in _RUNNERS or before.rpartition("/")[2] in _WRAPPERS:
            programs.append(word)
    return programs[:WRAPPED]


# --- what the user works on ------------------------------------------------------------------------


def _edited(turn: Iterable[Envelope]) -> Iterator[Seen]:
    """The files that were changed in the turn."""
    started: dict[str, tuple[ToolCallStarted, int, float]] = {}
    for envelope in turn:
        event = envelope.event
        if isinstance(event, ToolCallStarted) and event.kind == "edit" and envelope.seq is not None:
            started[event.call_id] = event, envelope.seq, envelope.at
        elif (
            isinstance(event, ToolCallFinished) and event.outcome == "completed" and event.call_id in started
        ):
            call, seq, at = started[event.call_id]
            for location in (*call.locations, *event.locations):
                yield from _file(location.path, seq, at)


def _file(name: str, seq: int, at: float) -> Iterator[Seen]:
    suffix = PurePosixPath(name).suffix
    if (answer := questions.of_suffix(suffix)) is not None:
        yield Seen(answer, seq, at, suffix)
