"""litellm, in its process, with a provider whose format is its own: Anthropic's messages."""

from typing import Any

import pytest

from hermes_acp.config import Settings
from hermes_acp.content import TextBlock
from hermes_acp.events import ToolRequest
from hermes_acp.llm.base import (
    AssistantMessage,
    Effort,
    FinishPart,
    OpaquePart,
    Part,
    Request,
    StreamCut,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolMessage,
    ToolSpec,
    UsagePart,
    UserMessage,
)
from hermes_acp.llm.choice import open_model
from tests.llm.anthropic_server import ANSWER, START, block
from tests.llm.conftest import ENV
from tests.model_server import ModelServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("litellm_stays"),
]

NAME = "litellm/anthropic/claude-sonnet-4-5"
USER = UserMessage((TextBlock("hi"),))
READ = ToolSpec("read", "Read a file", {"type": "object", "properties": {"path": {"type": "string"}}})


async def ask(behaviour: dict[str, Any], *requests: Request) -> tuple[list[list[Part]], list[Any]]:
    """The parts of each answer, and the bodies that the provider got."""
    async with ModelServer([behaviour]) as server:
        base_url = server.base_url.removesuffix("/v1")
        settings = Settings(model=NAME, model_base_url=base_url, allow_real_models=False)
        model = await open_model(NAME, settings, ENV)
        try:
            answers = [[part async for part in model.stream(request)] for request in requests]
        finally:
            await model.aclose()
        return answers, [each.body for each in server.requests]


def request(*messages: Any, effort: Effort = "default") -> Request:
    return Request("be brief", messages or (USER,), (READ,), effort)


async def test_thoughts_signature_text_call_and_usage_arrive() -> None:
    (parts,), _ = await ask(ANSWER, request(effort="low"))
    assert "".join(part.text for part in parts if isinstance(part, ThoughtPart)) == "let me see"
    assert [part for part in parts if isinstance(part, TextPart)] == [TextPart("Reading.")]
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    assert (calls[0].call_id, calls[0].name) == ("toolu_1", "read")
    assert "".join(call.arguments for call in calls) == '{"path": "a"}'
    usage = next(part.usage for part in parts if isinstance(part, UsagePart))
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (160, 20, 100)
    assert parts[-1] == FinishPart("tool_calls")


async def test_signed_thoughts_go_back_as_they_came() -> None:
    (parts,), _ = await ask(ANSWER, request(effort="low"))
    opaque = next(part.data for part in parts if isinstance(part, OpaquePart))
    call = ToolRequest("toolu_1", "read", '{"path": "a"}')
    history = (
        USER,
        AssistantMessage("Reading.", (call,), "let me see", opaque),
        ToolMessage("toolu_1", "read", "contents"),
    )
    _, (body,) = await ask(ANSWER, request(*history, effort="low"))
    assert body["messages"][1] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "let me see", "signature": "SIGNED"},
            {"type": "text", "text": "Reading."},
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
        ],
    }
    result = body["messages"][2]["content"][0]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "toolu_1")


async def test_the_prompt_is_marked_for_the_providers_cache() -> None:
    _, (body,) = await ask(ANSWER, request())
    mark = {"type": "ephemeral"}
    assert body["system"][-1]["cache_control"] == mark
    assert body["messages"][-1]["content"][-1]["cache_control"] == mark


async def test_an_answer_without_its_end_is_cut() -> None:
    broken = {"steps": [START, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"})]}
    with pytest.raises(StreamCut):
        await ask(broken, request())
