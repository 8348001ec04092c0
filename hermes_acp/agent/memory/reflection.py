"""What a turn has taught: found by its evidence, worded by a cheap model where one is set, never on a guess.

What the user said as a general wish holds at once; everything else is a proposal. At most one request to
a model for a turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast, get_args

import orjson

from hermes_acp.agent import prompts
from hermes_acp.agent.hub import News
from hermes_acp.agent.memory import habits, lessons, signals
from hermes_acp.agent.memory.grounds import Ground, Unsure
from hermes_acp.agent.memory.habits import Seen
from hermes_acp.agent.memory.notebook import Notebook, Thinking
from hermes_acp.agent.memory.signals import Signal
from hermes_acp.content import TextBlock
from hermes_acp.events import Envelope, Event, Rewound, Steered, ToolCallStarted, TurnStarted
from hermes_acp.llm import whole
from hermes_acp.llm.base import ModelError, Request, UserMessage
from hermes_acp.memory.facts import screen, wishes
from hermes_acp.memory.facts.changes import Observe, Remember
from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.fact import KEY_CHARS, TEXT_CHARS, BadFact, Evidence, Fact, Kind, moment
from hermes_acp.memory.scopes import Place
from hermes_acp.memory.user_model.claims import is_claim

MODEL_SECONDS = 60.0
"""How long the model may think about a turn."""
ANSWER_CHARS = 6_000
"""A longer answer is cut off, and not used."""
SURE = 0.9
"""The confidence of what was understood without asking."""
GLANCE_CHARS = 512
"""A turn with more characters is looked through in a thread; so many take less than a millisecond."""
GLANCE_EVENTS = 64
"""The same for a turn with more events."""
NOWHERE = Place("")
"""What holds for the user needs no project."""

logger = logging.getLogger(__name__)


def is_idle(book: Notebook, news: News) -> bool:
    """Whether a glance shows that `reflect` would do nothing: so it is with most turns. Pure."""
    turn = news.events
    if turn is None or not book.settled or _rewinds(turn):
        return False
    if _is_aside(turn):
        return True
    if len(turn) > GLANCE_EVENTS or sum(_size(item.event) for item in turn) > GLANCE_CHARS:
        return False
    seen, found = _look(turn, answers=news.after > 1)
    return not found and not _new(book, seen)


async def reflect(book: Notebook, cwd: str, news: News) -> None:
    """Learn from what happened in a session. Raises `StorageError`."""
    turn = news.events
    if turn is None:
        read = await book.journal.read(book.session_id, news.after)
        turn = tuple(item for item in read if (item.seq or 0) <= news.until)
    if not book.settled or _rewinds(turn):
        await lessons.settle(book, cwd)
        book.settled = True
    if _is_aside(turn):
        return
    seen, found = await asyncio.to_thread(_look, turn, answers=news.after > 1)
    await _observe(book, _new(book, seen))
    if not found:
        return
    try:
        ground = await book.grounds.at(cwd, book.session_id, writing=True)
    except Unsure as error:
        logger.warning("session %s: %s", book.session_id, error)
        return
    known = await book.grounds.near(ground.place)
    found = [signal for signal in found if not _is_known(signal, book.session_id, known)]
    for change in await _worded(book.thinking, found, book.session_id, ground):
        try:
            await book.apply(ground, (change,), "reflection")
        except BadFact as error:
            logger.info("session %s: nothing was learned from a sentence: %s", book.session_id, error)


def _rewinds(turn: Sequence[Envelope]) -> bool:
    return any(isinstance(item.event, Rewound) for item in turn)


def _is_aside(turn: Sequence[Envelope]) -> bool:
    return any(isinstance(item.event, TurnStarted) and item.event.aside for item in turn)


def _size(event: Event) -> int:
    """How many characters of an event are looked through."""
    match event:
        case TurnStarted() | Steered():
            return len(signals.said(event.content))
        case ToolCallStarted():
            return len(event.arguments)
        case _:
            return 0


def _look(turn: Sequence[Envelope], *, answers: bool) -> tuple[list[Seen], list[Signal]]:
    """Everything that a turn shows."""
    return habits.seen(turn), signals.find(turn, answers=answers)


def _new(book: Notebook, seen: Sequence[Seen]) -> list[Seen]:
    """What the session has not spoken for yet."""
    return [item for item in seen if item.answer.text not in book.observed]


async def _observe(book: Notebook, new: Sequence[Seen]) -> None:
    """Count what the turn shows of the user; they are told of claims that hold from now on."""
    if not new:
        return
    changes = [
        Observe(
            item.answer.key,
            item.answer.kind,
            item.answer.text,
            (Evidence(book.session_id, item.seq, item.quote, at=moment(item.at)),),
        )
        for item in new
    ]
    await asyncio.to_thread(screen.check, changes)
    applied = await book.grounds.facts.apply(NOWHERE, changes, book.session_id)
    book.observed |= {item.answer.text for item in new}
    news = tuple(edit for edit in applied.edits if _begins_to_hold(edit))
    book.tell(replace(applied, edits=news), "reflection")


def _begins_to_hold(edit: Edit) -> bool:
    return edit.after.status == "active" and (edit.before is None or edit.before.status != "active")


def _is_known(signal: Signal, session_id: str, known: Mapping[str, Fact]) -> bool:
    """Whether the model has written it down itself, by words of the same sentence."""
    return any(
        item.session == session_id and item.seq == signal.seq and item.quote and item.quote in signal.quote
        for fact in known.values()
        if not is_claim(fact)
        for item in fact.evidence
    )


async def _worded(
    thinking: Thinking, found: Sequence[Signal], session_id: str, ground: Ground
) -> list[Remember]:
    """The changes: in the model's words, or in those of the sentences where there is none that answers."""
    if thinking.model and found:
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                answer = await _ask(thinking, found)
            return await asyncio.to_thread(_read, answer, found, session_id, ground)
        except (ModelError, TimeoutError, ValueError) as error:
            logger.warning("session %s: %s gave no lesson: %s", session_id, thinking.model, error)
    return [_change(signal, session_id, ground) for signal in found]


def _change(signal: Signal, session_id: str, ground: Ground) -> Remember:
    return Remember(
        signal.kind,
        signal.text,
        author="user" if signal.stated else "agent",
        confidence=SURE if signal.stated else wishes.INFERRED,
        evidence=(Evidence(session_id, signal.seq, signal.quote, ground.commit),),
        proposed=not signal.stated,
    )


# --- the model -----------------------------------------------------------------------------------


async def _ask(thinking: Thinking, found: Sequence[Signal]) -> str:
    """The model's answer. Raises `ModelError`."""
    model = await thinking.models.open(thinking.model)
    lines = "\n".join(f"{number}. ({item.sort}) {item.text}" for number, item in enumerate(found, 1))
    request = Request(prompts.render("reflect"), (UserMessage((TextBlock(lines),)),))
    return await whole.answer(model, request, ANSWER_CHARS)


def _read(answer: str, found: Sequence[Signal], session_id: str, ground: Ground) -> list[Remember]:
    """The lessons in an answer. Raises `ValueError` when it is none."""
    start, end = answer.find("["), answer.rfind("]")
    items: object = orjson.loads(answer[start : end + 1] if 0 <= start < end else answer)
    if not isinstance(items, list):
        raise ValueError("the answer is no list")
    read = (_lesson(item, found) for item in cast("list[object]", items)[: len(found)])
    return [replace(_change(signal, session_id, ground), key=key) for signal, key in filter(None, read)]


def _lesson(item: object, found: Sequence[Signal]) -> tuple[Signal, str] | None:
    """A sentence with the model's words for it; what adds to the user's words is a proposal."""
    match item:
        case {"number": int() as number, "kind": str() as kind, "text": str() as text} if (
            1 <= number <= len(found) and kind in get_args(Kind) and 0 < len(text) <= TEXT_CHARS
        ):
            key = cast("dict[str, object]", item).get("key")
            signal = found[number - 1]
            stated = signal.stated and wishes.supports(signal.quote, text)
            worded = replace(signal, kind=cast("Kind", kind), text=text, stated=stated)
            return worded, key[:KEY_CHARS] if isinstance(key, str) else ""
        case _:
            return None
