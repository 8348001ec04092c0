"""What in a turn may be worth remembering: found by its words and events, without a model. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import orjson

from hermes_acp.content import Block, TextBlock
from hermes_acp.events import Envelope, Steered, ToolCallFinished, ToolCallStarted, TurnStarted
from hermes_acp.memory.facts.fact import Kind
from hermes_acp.records import record

SENTENCE_CHARS = 300
"""A longer sentence is a text of another sort."""
SENTENCE_WORDS = 3
"""A shorter one says nothing by itself."""
MESSAGE_CHARS = 20_000
"""Of a longer message only the beginning is looked at: people paste logs."""
FOUND = 8
"""Signals of one turn, the first ones."""
COMMAND_CHARS = 300

Sort: TypeAlias = Literal["preference", "correction", "decision", "fix"]

_FENCED = re.compile(r"```.*?(?:```|\Z)|^>.*$|^(?: {4}|\t).*$", re.DOTALL | re.MULTILINE)
_ENDS = re.compile(r"(?<=[.!?;])\s+|\n+")
_PREFERENCE = re.compile(
    r"\b(?:always|never|from now on|in (?:the )?future|every time|by default|"
    r"i(?:'d| would)? (?:really )?(?:prefer|like (?:it|to|my|our|your)|hate|dislike|want you to)|"
    r"(?:please )?(?:don't|do not) ever|"
    r"(?:in|for) (?:this|our|all|my) (?:project|repo|repository|team|code)s?\b.*\b(?:use|do|write|keep))\b",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"^(?:no|nope|wrong|actually|not (?:that|like that|quite)|that(?:'s| is) (?:wrong|not right)|stop)"
    r"\b[,.:;! ]|^(?:please )?(?:don't|do not|stop) us(?:e|ing)\b|\binstead of\b|"
    r"\b(?:use|run|call|take)\b[^.]* instead\b|\buse\b[^.,]+,? not\b",
    re.IGNORECASE,
)
_DECISION = re.compile(
    r"\b(?:let(?:'s|’s| us) (?:go with|use|take|stick (?:with|to)|keep|do it with)|"
    r"we(?:'ll|’ll| will)? (?:go|stick) with|(?:i|we)(?:'ve| have)? decided|the decision is|agreed[:,])\b",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"^(?:(?:no|nope|yes|ok(?:ay)?|right|well|wrong|actually|hmm|thanks|good)\b[,.:;! ]+)+(?=\S)",
    re.IGNORECASE,
)


@record
class Signal:
    """Something that may be a fact, as it was said: the words of event `seq`.

    `stated`: the user said it as something that holds in general, which needs nobody to confirm it.
    """

    sort: Sort
    kind: Kind
    text: str
    quote: str
    seq: int
    stated: bool = False


def find(turn: Sequence[Envelope], *, answers: bool) -> list[Signal]:
    """The signals of a turn, in their order; `answers`: something came before it that can be corrected."""
    found: list[Signal] = []
    for number, envelope in enumerate(turn):
        event = envelope.event
        if isinstance(event, TurnStarted | Steered) and envelope.seq is not None:
            said_before = answers or any(isinstance(item.event, ToolCallStarted) for item in turn[:number])
            found += _of_message(said(event.content), envelope.seq, corrects=said_before)
    found += _fixes(turn)
    return list({signal.text.casefold(): signal for signal in found}.values())[:FOUND]


def said(content: Iterable[Block]) -> str:
    """The words of the user in a message, without files that came along."""
    return "\n".join(block.text for block in content if isinstance(block, TextBlock))


def _of_message(text: str, seq: int, *, corrects: bool) -> Iterator[Signal]:
    for sentence in sentences(text):
        if _PREFERENCE.search(sentence):
            yield Signal("preference", "preference", _alone(sentence), sentence, seq, stated=True)
        elif corrects and _CORRECTION.search(sentence):
            yield Signal("correction", "preference", _alone(sentence), sentence, seq)
        elif _DECISION.search(sentence):
            yield Signal("decision", "decision", _alone(sentence), sentence, seq)


def sentences(text: str) -> Iterator[str]:
    """The sentences of the user's own that could hold a fact: no questions, no code, no quotations."""
    for part in _ENDS.split(_FENCED.sub("\n", text[:MESSAGE_CHARS])):
        sentence = part.strip(" \t-*•")
        odd = len(sentence.split()) < SENTENCE_WORDS or len(sentence) > SENTENCE_CHARS
        if not (odd or sentence.endswith("?")):
            yield sentence


def _alone(sentence: str) -> str:
    """The sentence without the words that tie it to the one before."""
    rest = _FILLER.sub("", sentence)
    return rest[0].upper() + rest[1:]


# --- a failure, then a fix -----------------------------------------------------------------------


@record
class _Ran:
    """A command that ended."""

    command: str
    failed: bool
    seq: int


def _fixes(turn: Sequence[Envelope]) -> Iterator[Signal]:
    """Commands that worked after much the same command had failed."""
    failed: list[_Ran] = []
    for ran in _commands(turn):
        if ran.failed:
            failed.append(ran)
            continue
        for other in failed:
            if other.command != ran.command and _alike(other.command, ran.command):
                text = f"`{ran.command}` works here; `{other.command}` fails."
                yield Signal("fix", "procedure", text, ran.command, ran.seq)
                failed.remove(other)
                break


def _commands(turn: Sequence[Envelope]) -> Iterator[_Ran]:
    started: dict[str, tuple[str, int]] = {}
    for envelope in turn:
        event = envelope.event
        if isinstance(event, ToolCallStarted) and event.kind == "execute" and envelope.seq is not None:
            if line := command(event.arguments):
                started[event.call_id] = line, envelope.seq
        elif isinstance(event, ToolCallFinished) and event.call_id in started and event.exit is not None:
            line, seq = started.pop(event.call_id)
            yield _Ran(line, event.exit.code != 0, seq)


def command(arguments: str) -> str:
    """The one line that was run; empty where it was longer, or none."""
    try:
        value: object = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return ""
    match value:
        case {"command": str() as line} if len(line) <= COMMAND_CHARS and "\n" not in line.strip():
            return line.strip()
        case _:
            return ""


def _alike(one: str, other: str) -> bool:
    """Whether two commands want the same: at least half of their words are the same."""
    first, second = (set(_words(command)) for command in (one, other))
    return 2 * len(first & second) >= min(len(first), len(second)) and bool(first & second)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
