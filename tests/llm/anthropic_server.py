"""Answers in the format of Anthropic's Messages API, for `ModelServer`."""

from __future__ import annotations

import json
from typing import Any


def event(kind: str, **members: object) -> dict[str, Any]:
    data = json.dumps({"type": kind, **members})
    return {"raw": f"event: {kind}\ndata: {data}\n\n"}


def block(index: int, start: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 50,
            "output_tokens": 1,
        },
    },
)
ANSWER: dict[str, Any] = {
    "steps": [
        START,
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "let me "},
            {"type": "thinking_delta", "thinking": "see"},
            {"type": "signature_delta", "signature": "SIGNED"},
        ),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Reading."}),
        *block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"path"'},
            {"type": "input_json_delta", "partial_json": ': "a"}'},
        ),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 20}),
        event("message_stop"),
    ]
}
