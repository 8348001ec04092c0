"""The seam between the agent and language models: a request in, a stream of parts out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import field
from typing import Literal, Protocol, TypeAlias

from hermes_acp.content import Block, ImageBlock
from hermes_acp.events import ToolRequest, Usage
from hermes_acp.records import record

Effort: TypeAlias = Literal["default", "none", "low", "medium", "high"]
"""How much the model should think; `default` leaves it to the provider."""


@record
class UserMessage:
    """What the user said."""

    content: tuple[Block, ...]


@record
class AssistantMessage:
    """What the model said; `opaque` goes back to the provider as it came."""

    text: str
    tool_calls: tuple[ToolRequest, ...] = ()
    thought: str = ""
    opaque: str | None = None


@record
class ToolMessage:
    """The result of one tool call, in the order of the calls."""

    call_id: str
    name: str
    text: str
    images: tuple[ImageBlock, ...] = ()


Message: TypeAlias = UserMessage | AssistantMessage | ToolMessage


@record
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, object]


@record
class Request:
    """One call of the model. The history is never modified by a model."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    effort: Effort = "default"
    session_id: str = field(default="", compare=False)


# --- what a stream yields ------------------------------------------------------------------------


@record
class TextPart:
    """A piece of the answer; never empty."""

    text: str


@record
class ThoughtPart:
    """A piece of the reasoning; never empty."""

    text: str


@record
class ToolCallPart:
    """A piece of tool call number `index`; `call_id` and `name` come with its first piece."""

    index: int
    arguments: str = ""
    call_id: str = ""
    name: str = ""


@record
class OpaquePart:
    """Provider state for `AssistantMessage.opaque`; the last one counts."""

    data: str


@record
class UsagePart:
    """What the request used; may come late or not at all."""

    usage: Usage


@record
class FinishPart:
    """Why the model stopped. A stream that ends without one was cut: `StreamCut` is raised."""

    reason: Literal["stop", "tool_calls", "length", "refusal"]


Part: TypeAlias = TextPart | ThoughtPart | ToolCallPart | OpaquePart | UsagePart | FinishPart


class Model(Protocol):
    """A model that is ready to be asked.

    `stream` raises the `ModelError`s below, before or between parts. Closing the generator (or
    cancelling the task that reads it) closes the connection to the provider at once.
    """

    @property
    def name(self) -> str:
        """`provider/model` as the user set it."""
        ...

    @property
    def context_window(self) -> int:
        """Tokens that fit; a cautious guess where the catalogue does not know the model."""
        ...

    @property
    def accepts_images(self) -> bool:
        """Whether image blocks may be sent."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Ask, and yield the answer as it arrives."""
        ...

    async def aclose(self) -> None:
        """Free connections; the model is not used afterwards."""
        ...


# --- what can go wrong: `str(error)` is a sentence for the user, with what to do -------------------


class ModelError(Exception):
    """A request failed and asking again will not help."""


class LoginNeeded(ModelError):
    """No key, or a key that the provider refuses."""


class ContextOverflow(ModelError):
    """The request is longer than the model's window."""


class Transient(ModelError):
    """Asking again may help: overload, 5xx, an unreachable or slow endpoint.

    `retry_after` is the provider's wish in seconds, None when it named none.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StreamCut(Transient):
    """The answer broke off in the middle."""
