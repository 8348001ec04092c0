"""The script files of the scripted model: JSON Lines, one answer a line (see docs/models.md)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hermes_acp.llm.base import ModelError
from hermes_acp.llm.catalog import DEFAULT_CONTEXT_WINDOW
from hermes_acp.records import record

MAX_SCRIPT_BYTES = 16 * 1024 * 1024
MAX_PIECES = 10_000_000
"""How many pieces one step may have."""

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=MAX_PIECES)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Pieces(_Strict):
    """How a step's text is delivered."""

    chunks: Count = 1
    repeat: Count = 1
    delay: Seconds = 0.0


class TextStep(_Pieces):
    """Text of the answer: cut in `chunks`, the whole `repeat` times, `delay` before each piece."""

    text: str = Field(min_length=1)


class ThoughtStep(_Pieces):
    """Reasoning, delivered like text."""

    thought: str = Field(min_length=1)


class ToolStep(_Strict):
    """A tool call; `raw` are arguments as they are, malformed if need be."""

    tool: str = Field(min_length=1)
    arguments: dict[str, object] = Field(default_factory=dict)
    raw: str | None = None
    id: str = ""
    chunks: Count = 1
    delay: Seconds = 0.0


class WaitStep(_Strict):
    """Silence."""

    wait: Seconds


class Spent(_Strict):
    """Tokens and US dollars."""

    input: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    cost: float | None = None


class UsageStep(_Strict):
    """What the request used."""

    usage: Spent


class OpaqueStep(_Strict):
    """Provider state that has to come back."""

    opaque: str


class FaultStep(_Strict):
    """An error, raised the first `times` that this place is reached; later the step is skipped."""

    fault: Literal["overload", "cut", "auth", "overflow", "error"]
    message: str = ""
    retry_after: Seconds | None = None
    times: Count = 1


Step: TypeAlias = TextStep | ThoughtStep | ToolStep | WaitStep | UsageStep | OpaqueStep | FaultStep

STEPS: dict[str, type[Step]] = {
    "text": TextStep,
    "thought": ThoughtStep,
    "tool": ToolStep,
    "wait": WaitStep,
    "usage": UsageStep,
    "opaque": OpaqueStep,
    "fault": FaultStep,
}
"""Which member makes an object which step."""


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiled)]


class When(_Strict):
    """When an answer fits: `user` alone, right after a user message that matches; `result`, right
    after a tool result that matches (and, with `user`, in a turn whose user message matches);
    `system` narrows either to requests whose system prompt matches.
    """

    user: Pattern | None = None
    result: Pattern | None = None
    system: Pattern | None = None


class _Line(_Strict):
    parts: list[dict[str, object]]
    when: When | None = None
    finish: Literal["stop", "tool_calls", "length", "refusal"] | None = None


class Header(_Strict):
    """What the model claims to be; optional first line of a script."""

    context_window: int = Field(default=DEFAULT_CONTEXT_WINDOW, ge=1)
    accepts_images: bool = True


@record
class Answer:
    """One answer; `number` is its place in the script, from 0."""

    number: int
    steps: tuple[Step, ...]
    finish: Literal["stop", "tool_calls", "length", "refusal"]
    when: When | None = None


@record
class Script:
    """A whole script."""

    header: Header
    answers: tuple[Answer, ...]

    @property
    def ordered(self) -> tuple[Answer, ...]:
        """The answers without a condition, given one after the other."""
        return tuple(answer for answer in self.answers if answer.when is None)

    @property
    def conditional(self) -> tuple[Answer, ...]:
        """The answers with a condition; the first that fits is given, as often as it fits."""
        return tuple(answer for answer in self.answers if answer.when is not None)


def read(path: str) -> Script:
    """Read a script file; blocking. Raises `ModelError` that names the line and the problem."""
    file = Path(path).expanduser()
    try:
        if file.stat().st_size > MAX_SCRIPT_BYTES:
            raise ModelError(f"The script {path} is larger than {MAX_SCRIPT_BYTES} bytes.")
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The script {path} cannot be read: {error}.") from error
    return parse(text, path)


def parse(text: str, path: str) -> Script:
    """A script from its text; `path` is for messages. Raises `ModelError`."""
    header = Header()
    answers: list[Answer] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        try:
            members = _members(line)
            if "parts" in members or answers:
                answers.append(_answer(len(answers), members))
            else:
                header = Header.model_validate(members)
        except ValidationError as error:
            raise ModelError(f"{path}, line {number}: {_problem(error)}.") from error
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}, line {number}: {error}.") from error
    if not answers:
        raise ModelError(f'The script {path} has no answers: write one a line, {{"parts": [...]}}.')
    return Script(header, tuple(answers))


def _members(line: str) -> dict[str, object]:
    value = cast("object", json.loads(line))
    if not isinstance(value, dict):
        raise ValueError("an answer is a JSON object")
    return cast("dict[str, object]", value)


def _answer(number: int, members: dict[str, object]) -> Answer:
    line = _Line.model_validate(members)
    steps = tuple(_step(place, part) for place, part in enumerate(line.parts, 1))
    has_calls = any(isinstance(step, ToolStep) for step in steps)
    return Answer(number, steps, line.finish or ("tool_calls" if has_calls else "stop"), line.when)


def _step(place: int, part: dict[str, object]) -> Step:
    kind = next((kind for name, kind in STEPS.items() if name in part), None)
    if kind is None:
        raise ValueError(f"part {place} has none of {', '.join(STEPS)}")
    try:
        return kind.model_validate(part)
    except ValidationError as error:
        raise ValueError(f"part {place}: {_problem(error)}") from error


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
