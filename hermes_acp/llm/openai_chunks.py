"""The chunks of an OpenAI-style answer, however sloppy the server, as parts of ours; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import orjson

from hermes_acp.events import Usage
from hermes_acp.llm import history
from hermes_acp.llm.base import (
    FinishPart,
    OpaquePart,
    Part,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    UsagePart,
)
from hermes_acp.llm.catalog import ModelInfo
from hermes_acp.llm.loose_json import Json, as_count, as_list, as_object, as_text
from hermes_acp.llm.opaque import Opaque
from hermes_acp.llm.think_tags import ThinkTags

FinishReason = Literal["stop", "tool_calls", "length", "refusal"]

REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "safety": "refusal",
}
"""Any other reason means that the model had said what it wanted."""

UNNAMED = "unnamed_tool"
"""The name of a call whose name never came: the result then tells the model."""

ID_SEPARATOR = "__thought__"
"""Behind this, litellm appends a signature of kilobytes to the ids of calls; we keep it apart."""


@dataclass(slots=True)
class _Call:
    """One tool call as it arrives; pieces wait in `held` until the name is known."""

    index: int
    wire_id: str = ""
    call_id: str = ""
    name: str = ""
    held: str = ""
    has_arguments: bool = False


class ChunkReader:
    """Reads one answer: `feed` each chunk, then `finish`.

    Ids of calls are unique within the answer and against `taken`. Usage and the reason to finish
    come last, from `finish`, because servers send usage after the reason or repeat it.
    """

    def __init__(self, model: str, info: ModelInfo, taken: Iterable[str] = ()) -> None:
        self.started = False
        self.finished = False
        self._info = info
        self._taken = set(taken)
        self._tags = ThinkTags()
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._usage: Usage | None = None
        self._reason: FinishReason = "stop"
        self._opaque = Opaque(model)

    def feed(self, chunk: Json) -> list[Part]:
        """The parts that this chunk completes. A whole answer (not streamed) is one big chunk."""
        self.started = True
        if usage := chunk.get("usage"):
            self._count(read_usage(as_object(usage), self._info))
        choices = as_list(chunk.get("choices"))
        if not choices:
            return []
        choice = as_object(choices[0])
        parts: list[Part] = []
        self._read_delta(as_object(choice.get("delta") or choice.get("message")), parts)
        if reason := choice.get("finish_reason"):
            self.finished = True
            self._reason = _worse(self._reason, REASONS.get(str(reason).lower(), "stop"))
        return parts

    def finish(self) -> list[Part]:
        """The parts that were held back, the usage, and the reason why the model stopped."""
        parts: list[Part] = [*self._tags.finish()]
        for call in self._calls:
            if not call.call_id:
                call.name = UNNAMED
                self._open(call, parts)
            if not call.has_arguments:
                parts.append(ToolCallPart(call.index, "{}"))
        if self._opaque:
            parts.append(OpaquePart(self._opaque.dump()))
        if self._usage is not None:
            parts.append(UsagePart(self._usage))
        reason = "tool_calls" if self._calls and self._reason == "stop" else self._reason
        parts.append(FinishPart(reason))
        return parts

    def _count(self, usage: Usage) -> None:
        # A request without a single token was not counted.
        if usage.input_tokens or usage.output_tokens:
            self._usage = usage

    def _read_delta(self, delta: Json, parts: list[Part]) -> None:
        if len(delta) == 1 and isinstance(content := delta.get("content"), str):
            # The common chunk carries only text: looking for all else takes as long as the rest of the work.
            parts += self._tags.feed(content) if content else ()
            return
        if thought := as_text(delta.get("reasoning_content") or delta.get("reasoning")):
            parts.append(ThoughtPart(thought))
        if content := delta.get("content"):
            if isinstance(content, str):
                parts += self._tags.feed(content)
            else:
                self._read_blocks(as_list(content), parts)
        if calls := delta.get("tool_calls"):
            for call in as_list(calls):
                self._read_call(as_object(call), parts)
        if refusal := as_text(delta.get("refusal")):
            self._reason = "refusal"
            parts.append(TextPart(refusal))
        if blocks := delta.get("reasoning_details") or delta.get("thinking_blocks"):
            self._opaque.add([as_object(block) for block in as_list(blocks)])

    def _read_blocks(self, blocks: list[object], parts: list[Part]) -> None:
        """Content as a list of typed blocks, with reasoning among them."""
        for block in map(as_object, blocks):
            if text := as_text(block.get("text")):
                parts += self._tags.feed(text)
            thinking = block.get("thinking")
            pieces = [as_text(as_object(piece).get("text")) for piece in as_list(thinking)]
            parts += [ThoughtPart(piece) for piece in (as_text(thinking), *pieces) if piece]

    def _read_call(self, piece: Json, parts: list[Part]) -> None:
        function = as_object(piece.get("function"))
        wire_id, name = as_text(piece.get("id")), as_text(function.get("name"))
        call = self._call_for(piece.get("index"), wire_id, name)
        call.wire_id = call.wire_id or wire_id
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else _as_json(arguments)
        call.has_arguments = call.has_arguments or bool(text)
        if call.call_id:
            if text:
                parts.append(ToolCallPart(call.index, text))
            return
        call.name, call.held = name, call.held + text
        if name:
            self._open(call, parts)

    def _call_for(self, index: object, wire_id: str, name: str) -> _Call:
        """The call that a piece belongs to, going by its index, its id, or the order of arrival."""
        if isinstance(index, int):
            known = self._by_index.get(index)
            # Some servers give every whole call the index 0.
            if known is not None and not (name and wire_id and known.wire_id and wire_id != known.wire_id):
                return known
            self._by_index[index] = call = self._new_call()
            return call
        last = self._calls[-1] if self._calls else None
        if wire_id:
            return next((call for call in self._calls if call.wire_id == wire_id), None) or self._new_call()
        return self._new_call() if last is None or (name and last.name) else last

    def _new_call(self) -> _Call:
        call = _Call(len(self._calls))
        self._calls.append(call)
        return call

    def _open(self, call: _Call, parts: list[Part]) -> None:
        call.call_id = self._unique_id(call.wire_id)
        parts.append(ToolCallPart(call.index, call.held, call.call_id, call.name))
        call.held = ""

    def _unique_id(self, wire_id: str) -> str:
        call_id = history.new_id(wire_id.partition(ID_SEPARATOR)[0], self._taken)
        if ID_SEPARATOR in wire_id:
            self._opaque.long_ids[call_id] = call_id + wire_id[wire_id.index(ID_SEPARATOR) :]
        return call_id


def read_usage(usage: Json, info: ModelInfo) -> Usage:
    """Tokens and cost; the provider's own figure for the cost wins over the price list."""
    details = as_object(usage.get("prompt_tokens_details"))
    cached = as_count(details.get("cached_tokens")) or as_count(usage.get("prompt_cache_hit_tokens"))
    sent, received = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
    stated = usage.get("cost")
    written = as_count(usage.get("cache_creation_input_tokens"))
    cost = float(stated) if isinstance(stated, (int, float)) else info.cost(sent, received, cached, written)
    return Usage(sent, received, cached, cost)


def _worse(one: FinishReason, other: FinishReason) -> FinishReason:
    return one if other == "stop" else other


def _as_json(value: object) -> str:
    return "" if value is None else orjson.dumps(value).decode()
