import pytest

from hermes_acp.events import Usage
from hermes_acp.llm.anthropic_events import EventReader
from hermes_acp.llm.base import (
    FinishPart,
    OpaquePart,
    Part,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    UsagePart,
)
from hermes_acp.llm.catalog import UNKNOWN, ModelInfo
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.opaque import Opaque, load

MODEL = "anthropic/m"


def read(*events: Json, info: ModelInfo = UNKNOWN, taken: tuple[str, ...] = ()) -> list[Part]:
    reader = EventReader(MODEL, info, taken)
    parts = [part for event in events for part in reader.feed(event)]
    return parts + reader.finish()


def block(index: int, start: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def ended(reason: str, **delta: object) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **delta}}


def said(text: str) -> Json:
    return {"type": "text_delta", "text": text}


def thought(text: str) -> Json:
    return {"type": "thinking_delta", "thinking": text}


def signed(signature: str) -> Json:
    return {"type": "signature_delta", "signature": signature}


def written(text: str) -> Json:
    return {"type": "input_json_delta", "partial_json": text}


TEXT: Json = {"type": "text", "text": ""}
THINKING: Json = {"type": "thinking", "thinking": "", "signature": ""}


def use(call_id: str, name: str = "read", **arguments: object) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def test_thoughts_text_and_calls_come_in_order_and_leave_their_places() -> None:
    hidden: Json = {"type": "redacted_thinking", "data": "SECRET"}
    parts = read(
        *block(0, THINKING, thought("let "), thought("me"), signed("S1")),
        *block(1, TEXT, said("I read"), said(" ü")),
        *block(2, hidden),
        *block(3, use("t1"), written('{"path"'), written(': "a"}')),
        *block(4, use("t2", "list")),
        ended("tool_use"),
    )
    assert parts == [
        ThoughtPart("let "),
        ThoughtPart("me"),
        TextPart("I read"),
        TextPart(" ü"),
        ToolCallPart(0, "", "t1", "read"),
        ToolCallPart(0, '{"path"'),
        ToolCallPart(0, ': "a"}'),
        ToolCallPart(1, "", "t2", "list"),
        ToolCallPart(1, "{}"),
        parts[-2],
        FinishPart("tool_calls"),
    ]
    assert isinstance(parts[-2], OpaquePart)
    assert load(parts[-2].data, MODEL) == Opaque(
        MODEL,
        [
            {"type": "thinking", "thinking": "let me", "signature": "S1"},
            {"type": "text", "size": 8},
            hidden,
            {"type": "tool_use", "id": "t1"},
            {"type": "tool_use", "id": "t2"},
        ],
    )


def test_blocks_that_interleave_are_told_apart() -> None:
    first, second = block(0, use("a"), written("[1")), block(1, use("b"), written("[2"))
    parts = read(first[0], second[0], first[1], second[1], second[2], first[2], ended("tool_use"))
    assert parts[2:4] == [ToolCallPart(0, "[1"), ToolCallPart(1, "[2")]


def test_arguments_may_come_whole() -> None:
    parts = read(*block(0, use("a", path="x")), ended("tool_use"))
    assert parts == [ToolCallPart(0, '{"path":"x"}', "a", "read"), FinishPart("tool_calls")]


def test_ids_are_unique_in_the_conversation() -> None:
    parts = read(*block(0, use("a")), *block(1, use("b")), *block(2, use("b")), taken=("a",))
    ids = [part.call_id for part in parts if isinstance(part, ToolCallPart) and part.call_id]
    assert (len(set(ids)), ids[1], "a" in ids) == (3, "b", False)


def test_tokens_are_counted_with_those_from_the_cache() -> None:
    info = ModelInfo(input_price=1.0, output_price=10.0, cached_price=0.1, written_price=2.0)
    start: Json = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 50,
        "output_tokens": 1,
    }
    parts = read(
        {"type": "message_start", "message": {"usage": start}},
        ended("end_turn") | {"usage": {"output_tokens": 20, "input_tokens": 0}},
        info=info,
    )
    assert parts == [UsagePart(Usage(160, 20, 100, 10 + 10 + 100 + 200)), FinishPart("stop")]


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("something new", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
    ],
)
def test_the_reason_to_stop_is_told(reason: str, meant: str) -> None:
    assert read(ended(reason)) == [FinishPart(meant)]  # type: ignore[arg-type]


def test_a_refusal_with_words_is_shown() -> None:
    details = {"type": "refusal", "explanation": "I may not."}
    assert read(ended("refusal", stop_details=details)) == [TextPart("I may not."), FinishPart("refusal")]


def test_a_thought_that_was_cut_off_does_not_go_back() -> None:
    parts = read(*block(0, THINKING, thought("hm"))[:2], ended("max_tokens"))
    assert parts == [ThoughtPart("hm"), FinishPart("length")]


def test_a_server_that_signs_nothing_gets_its_thoughts_back_beside_calls() -> None:
    parts = read(*block(0, {"type": "thinking"}, thought("hm")), *block(1, use("a")), ended("tool_use"))
    opaque = next(part.data for part in parts if isinstance(part, OpaquePart))
    assert load(opaque, MODEL).blocks[0] == {"type": "thinking", "thinking": "hm", "signature": ""}


def test_an_answer_that_was_not_streamed_is_read_whole() -> None:
    message: Json = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "yes"},
            use("a", path="x"),
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    parts = read(message)
    assert [part for part in parts if not isinstance(part, OpaquePart)] == [
        ThoughtPart("hm"),
        TextPart("yes"),
        ToolCallPart(0, '{"path":"x"}', "a", "read"),
        UsagePart(Usage(3, 4)),
        FinishPart("tool_calls"),
    ]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "ping"},
        {"type": "content_block_delta"},
        {"type": "content_block_delta", "index": 7, "delta": {"text": "x"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "from the future"}},
        {"type": "content_block_start", "index": "x", "content_block": 7},
        {"type": "content_block_stop", "index": 9},
        {"type": "message_start", "message": None},
        {"type": "message_delta", "delta": None, "usage": []},
        {"type": ["message"]},
    ],
)
def test_what_means_nothing_is_passed_over(event: Json) -> None:
    assert read(event, ended("end_turn")) == [FinishPart("stop")]
