import pytest

from hermes_acp.events import Usage
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
from hermes_acp.llm.opaque import Opaque
from hermes_acp.llm.openai_chunks import UNNAMED, ChunkReader

Json = dict[str, object]


def read(*deltas: Json, finish: str | None = "stop", taken: tuple[str, ...] = ()) -> list[Part]:
    reader = ChunkReader("m", UNKNOWN, taken)
    parts = [part for delta in deltas for part in reader.feed({"choices": [{"delta": delta}]})]
    parts += reader.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return parts + reader.finish()


def piece(arguments: object = None, **more: object) -> Json:
    """A delta with one piece of a call; `name` goes into the function."""
    function: Json = {} if arguments is None else {"arguments": arguments}
    if name := more.pop("name", None):
        function["name"] = name
    return {"tool_calls": [{**more, "function": function}]}


def calls(parts: list[Part]) -> list[tuple[str, str, str]]:
    """The calls that a stream adds up to: id, name, arguments."""
    found: dict[int, tuple[str, str, str]] = {}
    for part in parts:
        if isinstance(part, ToolCallPart):
            call_id, name, arguments = found.get(part.index, ("", "", ""))
            assert bool(part.call_id) == (part.index not in found)
            found[part.index] = (call_id or part.call_id, name or part.name, arguments + part.arguments)
    return [found[index] for index in sorted(found)]


def test_text_and_thoughts_in_all_their_spellings() -> None:
    assert read(
        {"role": "assistant", "content": ""},
        {"reasoning_content": "a", "reasoning": "a"},
        {"reasoning": "b"},
        {"content": "<think>c</think>"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "d"}]}]},
        {"content": [{"type": "text", "text": "hello"}, "junk"]},
        {"content": " you", "reasoning_content": None},
    ) == [
        ThoughtPart("a"),
        ThoughtPart("b"),
        ThoughtPart("c"),
        ThoughtPart("d"),
        TextPart("hello"),
        TextPart(" you"),
        FinishPart("stop"),
    ]


def test_parallel_calls_are_told_apart_by_their_index() -> None:
    parts = read(
        piece('{"a"', index=0, id="x", name="read"),
        piece("", index=1, id="y", name="list"),
        piece(":1}", index=0),
        piece("{}", index=1, name="list"),
    )
    assert calls(parts) == [("x", "read", '{"a":1}'), ("y", "list", "{}")]
    assert parts[-1] == FinishPart("tool_calls")


def test_calls_without_an_index_go_by_id_or_order() -> None:
    assert calls(
        read(
            piece('{"a":', id="x", name="read"),
            piece("1}", id="x"),
            piece("{", id="y", name="list"),
            piece("}"),
            piece("{}", name="third"),
        )
    )[:2] == [("x", "read", '{"a":1}'), ("y", "list", "{}")]


def test_whole_calls_that_all_claim_index_0_are_several() -> None:
    parts = read(piece("{}", index=0, id="x", name="read"), piece('{"b":2}', index=0, id="y", name="list"))
    assert calls(parts) == [("x", "read", "{}"), ("y", "list", '{"b":2}')]


def test_arguments_may_be_an_object_or_missing() -> None:
    parts = read(
        piece({"path": "a"}, index=0, id="x", name="read"),
        piece(None, index=1, id="y", name="list"),
        piece("", index=2, id="z", name="plan"),
    )
    assert calls(parts) == [("x", "read", '{"path":"a"}'), ("y", "list", "{}"), ("z", "plan", "{}")]


def test_malformed_arguments_arrive_as_they_are() -> None:
    assert calls(read(piece('{"path": ', index=0, id="x", name="read"))) == [("x", "read", '{"path": ')]


def test_missing_and_repeated_ids_become_new_ones() -> None:
    parts = read(
        piece("{}", index=0, name="read"),
        piece("{}", index=1, id="old", name="read"),
        piece("{}", index=2, id="x", name="read"),
        piece("{}", index=3, id="x", name="read"),
        taken=("old",),
    )
    ids = [call_id for call_id, _, _ in calls(parts)]
    assert len(set(ids)) == 4
    assert "old" not in ids
    assert ids[2] == "x"


def test_a_call_is_announced_when_its_name_is_known() -> None:
    parts = read(piece("{", index=0, id="x"), piece("}", index=0, name="read"), piece("{}", index=1, id="y"))
    assert calls(parts) == [("x", "read", "{}"), ("y", UNNAMED, "{}")]


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        ("stop", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "refusal"),
        ("SAFETY", "refusal"),
        ("eos", "stop"),
    ],
)
def test_reasons_to_finish(stated: str, meant: str) -> None:
    assert read({"content": "a"}, finish=stated) == [TextPart("a"), FinishPart(meant)]  # type: ignore[arg-type]


def test_a_refusal_is_shown_and_ends_the_answer_as_one() -> None:
    assert read({"refusal": "I will not."}) == [TextPart("I will not."), FinishPart("refusal")]


def test_a_cut_answer_with_calls_is_still_cut() -> None:
    assert read(piece("{", index=0, id="x", name="read"), finish="length")[-1] == FinishPart("length")


def test_a_whole_answer_is_one_chunk() -> None:
    reader = ChunkReader("m", UNKNOWN)
    message = {"content": "hi", "tool_calls": [{"id": "x", "function": {"name": "read", "arguments": "{}"}}]}
    parts = reader.feed({"choices": [{"message": message, "finish_reason": "stop"}]}) + reader.finish()
    assert parts == [TextPart("hi"), ToolCallPart(0, "{}", "x", "read"), FinishPart("tool_calls")]


def test_the_last_usage_counts_and_is_priced() -> None:
    info = ModelInfo(input_price=1.0, output_price=2.0, cached_price=0.5, written_price=1.25)
    reader = ChunkReader("m", info)
    reader.feed({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    details = {"cached_tokens": 4}
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": details}
    reader.feed({"usage": usage | {"cache_creation_input_tokens": 2}})
    assert reader.finish() == [
        UsagePart(Usage(10, 3, 4, 4 * 1.0 + 4 * 0.5 + 2 * 1.25 + 6.0)),
        FinishPart("stop"),
    ]


@pytest.mark.parametrize(
    ("usage", "meant"),
    [
        (
            {"prompt_tokens": 5, "prompt_cache_hit_tokens": 2, "cost": 0.25},
            [UsagePart(Usage(5, 0, 2, 0.25))],
        ),
        ({"prompt_tokens": float("inf"), "completion_tokens": -1}, []),
        ({"prompt_tokens": "many", "completion_tokens": None, "x": 1}, []),
        ({"prompt_tokens": 0, "completion_tokens": 0}, []),
    ],
)
def test_usage_of_other_servers_counts_if_they_counted(usage: Json, meant: list[Part]) -> None:
    reader = ChunkReader("m", UNKNOWN)
    reader.feed({"usage": usage})
    assert reader.finish() == [*meant, FinishPart("stop")]


def test_streamed_reasoning_blocks_are_joined_until_they_are_signed() -> None:
    parts = read(
        {"thinking_blocks": [{"type": "thinking", "thinking": "a"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "b", "signature": "s1"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "c"}]},
        piece("{}", index=0, id="x__thought__sig", name="read"),
    )
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "ab", "signature": "s1"},
        {"type": "thinking", "thinking": "c"},
    ]
    assert OpaquePart(Opaque("m", blocks, {"x": "x__thought__sig"}).dump()) in parts
    assert calls(parts) == [("x", "read", "{}")]


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": ["x"]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": "x", "reasoning": {"a": 1}}}]},
        {"usage": "x", "choices": [{"delta": {"thinking_blocks": 7, "refusal": []}}]},
    ],
)
def test_nonsense_is_passed_over(chunk: Json) -> None:
    assert ChunkReader("m", UNKNOWN).feed(chunk) == []
