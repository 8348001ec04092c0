"""A model that plays a script file, for tests and the demonstration; it asks nobody."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import pairwise

from hermes_acp.content import TextBlock
from hermes_acp.events import Usage
from hermes_acp.llm import script
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    FinishPart,
    LoginNeeded,
    Message,
    ModelError,
    OpaquePart,
    Part,
    Request,
    StreamCut,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolMessage,
    Transient,
    UsagePart,
    UserMessage,
)
from hermes_acp.llm.script import (
    Answer,
    FaultStep,
    OpaqueStep,
    Script,
    Step,
    TextStep,
    ThoughtStep,
    ToolStep,
    UsageStep,
    WaitStep,
    When,
)

PARTS_BETWEEN_PAUSES = 64
"""After so many parts without a wait, the event loop gets its turn."""

MAX_PLAYED_FAULTS = 10_000
"""How many faults are remembered as played; older ones would be played again."""


async def open_model(path: str) -> ScriptedModel:
    """The model `scripted/PATH`. Raises `ModelError` that names the line and the problem."""
    return ScriptedModel(path, await asyncio.to_thread(script.read, path))


class ScriptedModel:
    """Plays a script; one instance serves any number of sessions at once.

    The place in the script is read off the history of each request, so that it survives a restart.
    Only how often a fault was played is remembered here: a request looks the same when it is retried.
    """

    def __init__(self, path: str, played: Script) -> None:
        self._path = path
        self._script = played
        self._faults: dict[tuple[str, int, int, int], int] = {}

    @property
    def name(self) -> str:
        """`scripted/PATH`."""
        return f"scripted/{self._path}"

    @property
    def context_window(self) -> int:
        """What the script claims."""
        return self._script.header.context_window

    @property
    def accepts_images(self) -> bool:
        """What the script claims."""
        return self._script.header.accepts_images

    async def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Play the answer to this request; see `llm.base.Model`."""
        answer = choose(self._script, request)
        if answer is None:
            yield TextPart(self._exhausted(request))
            yield FinishPart("stop")
            return
        calls = 0
        for place, step in enumerate(answer.steps):
            if isinstance(step, FaultStep):
                self._play_fault(step, (request.session_id, len(request.messages), answer.number, place))
                continue
            delay = _delay(step)
            for count, part in enumerate(_parts(step, calls, len(request.messages)), 1):
                if delay or count % PARTS_BETWEEN_PAUSES == 0:
                    await asyncio.sleep(delay)
                yield part
            if isinstance(step, WaitStep):
                await asyncio.sleep(step.wait)
            calls += isinstance(step, ToolStep)
        yield FinishPart(answer.finish)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _play_fault(self, fault: FaultStep, place: tuple[str, int, int, int]) -> None:
        played = self._faults.pop(place, 0)
        self._faults[place] = played + 1
        if len(self._faults) > MAX_PLAYED_FAULTS:
            del self._faults[next(iter(self._faults))]
        if played < fault.times:
            raise _error(fault)

    def _exhausted(self, request: Request) -> str:
        return (
            f"The script {self._path} is exhausted: it has {len(self._script.ordered)} answers in order, "
            f"and no condition fits request {_answers_before(request) + 1} of this conversation."
        )


def choose(played: Script, request: Request) -> Answer | None:
    """The answer to this request, None when the script has none left."""
    conditional, ordered = played.conditional, played.ordered
    fitting = _first_fitting(conditional, request, len(request.messages))
    if fitting is not None:
        return fitting
    position = _answers_before(request)
    if conditional:
        # Answers that a condition gave do not count as steps through the ordered ones.
        position -= sum(
            _first_fitting(conditional, request, place) is not None
            for place, message in enumerate(request.messages)
            if isinstance(message, AssistantMessage)
        )
    return ordered[position] if position < len(ordered) else None


def _first_fitting(answers: Sequence[Answer], request: Request, end: int) -> Answer | None:
    """The first answer whose condition fits the history as it was before message `end`."""
    return next(
        (answer for answer in answers if answer.when is not None and _fits(answer.when, request, end)), None
    )


def _fits(when: When, request: Request, end: int) -> bool:
    if end == 0 or (when.system is not None and not re.search(when.system, request.system)):
        return False
    after_tool = isinstance(request.messages[end - 1], ToolMessage)
    if after_tool != (when.result is not None):
        return False
    if when.result is not None and not re.search(when.result, _last_results(request.messages, end)):
        return False
    return when.user is None or re.search(when.user, _last_user_text(request.messages, end)) is not None


def _last_user_text(messages: Sequence[Message], end: int) -> str:
    for place in range(end - 1, -1, -1):
        if isinstance(message := messages[place], UserMessage):
            return "\n".join(block.text for block in message.content if isinstance(block, TextBlock))
    return ""


def _last_results(messages: Sequence[Message], end: int) -> str:
    """The results of the last step, in their order."""
    texts: list[str] = []
    while end > 0 and isinstance(message := messages[end - 1], ToolMessage):
        texts.insert(0, message.text)
        end -= 1
    return "\n".join(texts)


def _answers_before(request: Request) -> int:
    return sum(isinstance(message, AssistantMessage) for message in request.messages)


def _delay(step: Step) -> float:
    return step.delay if isinstance(step, (TextStep, ThoughtStep, ToolStep)) else 0.0


def _parts(step: Step, index: int, history: int) -> Iterator[Part]:
    match step:
        case TextStep():
            parts = [TextPart(piece) for piece in _cut(step.text, step.chunks)]
            for _ in range(step.repeat):
                yield from parts
        case ThoughtStep():
            thoughts = [ThoughtPart(piece) for piece in _cut(step.thought, step.chunks)]
            for _ in range(step.repeat):
                yield from thoughts
        case ToolStep():
            yield from _call_parts(step, index, history)
        case UsageStep():
            spent = step.usage
            yield UsagePart(Usage(spent.input, spent.output, spent.cached, spent.cost))
        case OpaqueStep():
            yield OpaquePart(step.opaque)
        case WaitStep() | FaultStep():
            return


def _call_parts(step: ToolStep, index: int, history: int) -> Iterator[Part]:
    # The length of the history makes the id unique within the conversation, and the same on a retry.
    call_id = step.id or f"call_{history}_{index}"
    arguments = json.dumps(step.arguments, ensure_ascii=False) if step.raw is None else step.raw
    first, *rest = _cut(arguments, step.chunks) or [""]
    yield ToolCallPart(index, first, call_id, step.tool)
    yield from (ToolCallPart(index, piece) for piece in rest)


def _cut(text: str, chunks: int) -> list[str]:
    """The text in `chunks` pieces of about the same length; fewer when it is shorter than that."""
    count = max(1, min(chunks, len(text)))
    bounds = [len(text) * place // count for place in range(count + 1)]
    pieces = [text[start:end] for start, end in pairwise(bounds)]
    return [piece for piece in pieces if piece]


def _error(fault: FaultStep) -> ModelError:
    match fault.fault:
        case "overload":
            return Transient(fault.message or "The scripted model is overloaded.", fault.retry_after)
        case "cut":
            return StreamCut(fault.message or "The scripted answer broke off.", fault.retry_after)
        case "auth":
            return LoginNeeded(fault.message or "The scripted model refused the key.")
        case "overflow":
            return ContextOverflow(fault.message or "The conversation is too long for the scripted model.")
        case "error":
            return ModelError(fault.message or "The scripted model failed.")
