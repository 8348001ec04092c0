"""The events of an answer in the format of Anthropic's Messages API as parts of ours; no I/O."""

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

REASONS: dict[str, Literal["length", "refusal"]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
"""Any other reason means that the model had said what it wanted."""

COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


@dataclass(slots=True)
class _Block:
    """One block of the answer as it arrives; `kept` is what has to go back of it."""

    kept: Json
    call: int = -1
    has_input: bool = False


class EventReader:
    """Reads one answer: `feed` each event, then `finish`.

    The opaque part holds the blocks of thought, which have to go back unchanged, and between them the
    places of the text (by its length) and of the calls (by their ids), which are known otherwise.
    """

    def __init__(self, model: str, info: ModelInfo, taken: Iterable[str] = ()) -> None:
        self.finished = False
        self._model = model
        self._info = info
        self._taken = set(taken)
        self._blocks: list[_Block] = []
        self._by_index: dict[int, _Block] = {}
        self._calls = 0
        self._counts: dict[str, int] = {}
        self._stop_reason = ""
        self._explanation = ""

    def feed(self, event: Json) -> list[Part]:
        """The parts that this event completes; events of unknown types mean nothing."""
        parts: list[Part] = []
        match event.get("type"):
            case "content_block_delta":
                self._extend(as_count(event.get("index")), as_object(event.get("delta")), parts)
            case "content_block_start":
                self._start(as_count(event.get("index")), as_object(event.get("content_block")), parts)
            case "content_block_stop":
                self._stop(as_count(event.get("index")), parts)
            case "message_start":
                self._count(as_object(as_object(event.get("message")).get("usage")))
            case "message_delta":
                self._count(as_object(event.get("usage")))
                self._end(as_object(event.get("delta")))
            case "message":
                self._read_whole(event, parts)
            case _:
                pass
        return parts

    def finish(self) -> list[Part]:
        """What has to go back, the usage, and the reason why the model stopped."""
        parts: list[Part] = []
        for index in list(self._by_index):
            self._stop(index, parts)
        if self._explanation:
            parts.append(TextPart(self._explanation))
        if blocks := self._to_send_back():
            parts.append(OpaquePart(Opaque(self._model, blocks).dump()))
        if self._counts:
            parts.append(UsagePart(_usage(self._counts, self._info)))
        said_all = "tool_calls" if self._calls else "stop"
        parts.append(FinishPart(REASONS.get(self._stop_reason, said_all)))
        return parts

    def _read_whole(self, message: Json, parts: list[Part]) -> None:
        """An answer that was not streamed."""
        for index, block in enumerate(as_list(message.get("content"))):
            self._start(index, as_object(block), parts)
            self._stop(index, parts)
        self._count(as_object(message.get("usage")))
        self._end(message)

    def _count(self, usage: Json) -> None:
        """Later counts replace earlier ones; a count of 0 at the end of a few servers does not."""
        for name in COUNTS:
            if count := as_count(usage.get(name)):
                self._counts[name] = count

    def _end(self, delta: Json) -> None:
        if reason := as_text(delta.get("stop_reason")):
            self.finished = True
            self._stop_reason = reason
            self._explanation = as_text(as_object(delta.get("stop_details")).get("explanation"))

    # --- blocks ----------------------------------------------------------------------------------

    def _start(self, index: int, started: Json, parts: list[Part]) -> None:
        match started.get("type"):
            case "text":
                block = _Block({"type": "text", "size": 0})
                self._extend_text(block, as_text(started.get("text")), parts)
            case "thinking":
                block = _Block({"type": "thinking", "thinking": "", "signature": ""})
                self._extend_thought(block, started, parts)
            case "redacted_thinking":
                block = _Block(started)
            case "tool_use":
                block = self._open_call(started, parts)
            case _:
                return
        self._by_index[index] = block
        self._blocks.append(block)

    def _open_call(self, started: Json, parts: list[Part]) -> _Block:
        call_id = history.new_id(as_text(started.get("id")), self._taken)
        block = _Block({"type": "tool_use", "id": call_id}, self._calls)
        self._calls += 1
        whole = as_object(started.get("input"))
        block.has_input = bool(whole)
        text = orjson.dumps(whole).decode() if whole else ""
        parts.append(ToolCallPart(block.call, text, call_id, as_text(started.get("name"))))
        return block

    def _extend(self, index: int, delta: Json, parts: list[Part]) -> None:
        block = self._by_index.get(index)
        if block is None:
            return
        match block.kept["type"]:
            case "text":
                self._extend_text(block, as_text(delta.get("text")), parts)
            case "thinking":
                self._extend_thought(block, delta, parts)
            case "tool_use":
                if piece := as_text(delta.get("partial_json")):
                    block.has_input = True
                    parts.append(ToolCallPart(block.call, piece))
            case _:
                pass

    def _extend_text(self, block: _Block, piece: str, parts: list[Part]) -> None:
        if piece:
            block.kept["size"] = as_count(block.kept["size"]) + len(piece)
            parts.append(TextPart(piece))

    def _extend_thought(self, block: _Block, delta: Json, parts: list[Part]) -> None:
        for name in ("thinking", "signature"):
            block.kept[name] = as_text(block.kept[name]) + as_text(delta.get(name))
        if thought := as_text(delta.get("thinking")):
            parts.append(ThoughtPart(thought))

    def _stop(self, index: int, parts: list[Part]) -> None:
        block = self._by_index.pop(index, None)
        if block is not None and block.call >= 0 and not block.has_input:
            parts.append(ToolCallPart(block.call, "{}"))

    def _to_send_back(self) -> list[Json]:
        """The blocks in their order; none when there was no thought.

        A thought without a signature was cut off, and is refused when it comes back; only servers that
        sign nothing want it, beside calls.
        """
        kept = [block.kept for block in self._blocks]
        if not self._calls:
            kept = [block for block in kept if block["type"] != "thinking" or block["signature"]]
        return kept if any("thinking" in as_text(block["type"]) for block in kept) else []


def _usage(counts: dict[str, int], info: ModelInfo) -> Usage:
    fresh, read, written, received = (counts.get(name, 0) for name in COUNTS)
    sent = fresh + read + written
    return Usage(sent, received, read, info.cost(sent, received, read, written))
