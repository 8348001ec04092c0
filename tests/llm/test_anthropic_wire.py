"""The lean client for Anthropic's Messages API, at a local server that speaks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hermes_acp.config import Settings
from hermes_acp.content import TextBlock
from hermes_acp.events import ToolRequest, Usage
from hermes_acp.llm.anthropic_wire import DEFAULT_OUTPUT, MAX_OUTPUT, AnthropicModel
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    Effort,
    FinishPart,
    LoginNeeded,
    ModelError,
    OpaquePart,
    Part,
    Request,
    StreamCut,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolMessage,
    ToolSpec,
    Transient,
    UsagePart,
    UserMessage,
)
from hermes_acp.llm.catalog import ModelInfo, Thinking
from hermes_acp.llm.choice import open_model
from hermes_acp.llm.route import Dialect, Route
from tests.llm.anthropic_server import ANSWER, START, block, event
from tests.model_server import PATIENCE, ModelServer

NAME = "anthropic/claude-test"
KEY = "sk-ant-secret"
READ = ToolSpec("read", "Read a file", {"type": "object", "properties": {"path": {"type": "string"}}})
USER = UserMessage((TextBlock("hi"),))
REQUEST = Request("be brief", (USER,), (READ,))
END = [event("message_delta", delta={"stop_reason": "end_turn"}), event("message_stop")]
HELLO = {"steps": [START, *block(0, {"type": "text", "text": "hello"}), *END]}


@asynccontextmanager
async def asking(
    *behaviours: dict[str, Any], info: ModelInfo | None = None, key: str = KEY
) -> AsyncIterator[tuple[AnthropicModel, ModelServer]]:
    async with ModelServer(list(behaviours)) as server:
        route = Route(NAME, "claude-test", Dialect(NAME), server.base_url, key=key)
        route = replace(route, key_variable="ANTHROPIC_API_KEY", info=info or route.info)
        model = AnthropicModel(route)
        yield model, server
        await model.aclose()


async def parts(model: AnthropicModel, request: Request = REQUEST) -> list[Part]:
    return [part async for part in model.stream(request)]


def refusal(status: int, kind: str, message: str, **headers: str) -> dict[str, Any]:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return {"status": status, "body": body, "headers": headers}


async def test_thoughts_text_calls_and_usage_arrive() -> None:
    async with asking(ANSWER) as (model, server):
        found = await parts(model)
        asked = server.requests[0]
    assert [part for part in found if not isinstance(part, OpaquePart)] == [
        ThoughtPart("let me "),
        ThoughtPart("see"),
        TextPart("Reading."),
        ToolCallPart(0, "", "toolu_1", "read"),
        ToolCallPart(0, '{"path"'),
        ToolCallPart(0, ': "a"}'),
        UsagePart(Usage(160, 20, 100)),
        FinishPart("tool_calls"),
    ]
    assert asked.path == "/v1/messages"
    sent = {name: asked.headers.get(name) for name in ("x-api-key", "anthropic-version", "authorization")}
    assert sent == {"x-api-key": KEY, "anthropic-version": "2023-06-01", "authorization": None}
    mark = {"cache_control": {"type": "ephemeral"}}
    assert asked.body == {
        "model": "claude-test",
        "max_tokens": DEFAULT_OUTPUT,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"} | mark]}],
        "system": [{"type": "text", "text": "be brief"} | mark],
        "stream": True,
        "tools": [{"name": "read", "description": "Read a file", "input_schema": READ.parameters}],
    }


async def test_a_conversation_with_calls_returns_signed_thoughts_unchanged() -> None:
    async with asking(ANSWER, ANSWER, HELLO) as (model, server):
        history: list[Any] = [USER]
        for _ in range(2):
            found = await parts(model, Request("", tuple(history), (READ,)))
            calls: dict[int, ToolCallPart] = {}
            for part in found:
                if isinstance(part, ToolCallPart):
                    before = calls.get(part.index)
                    calls[part.index] = (
                        replace(before, arguments=before.arguments + part.arguments) if before else part
                    )
            history.append(
                AssistantMessage(
                    "".join(part.text for part in found if isinstance(part, TextPart)),
                    tuple(ToolRequest(call.call_id, call.name, call.arguments) for call in calls.values()),
                    "".join(part.text for part in found if isinstance(part, ThoughtPart)),
                    next(part.data for part in found if isinstance(part, OpaquePart)),
                )
            )
            history += [ToolMessage(call.call_id, call.name, "contents") for call in calls.values()]
        await parts(model, Request("", tuple(history), (READ,)))
        messages = server.requests[2].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
    for place in (1, 3):
        thinking, said, use = messages[place]["content"]
        assert thinking == {"type": "thinking", "thinking": "let me see", "signature": "SIGNED"}
        assert said == {"type": "text", "text": "Reading."}
        assert (use["type"], use["input"]) == ("tool_use", {"path": "a"})
        answered = messages[place + 1]["content"][0]
        assert (answered["tool_use_id"], answered["content"]) == (use["id"], "contents")
    assert messages[1]["content"][2]["id"] != messages[3]["content"][2]["id"]


@pytest.mark.parametrize(
    ("thinking", "effort", "sent"),
    [
        ("budget", "default", {}),
        ("budget", "none", {"thinking": {"type": "disabled"}}),
        ("budget", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("adaptive", "default", {}),
        (
            "adaptive",
            "high",
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "high"},
            },
        ),
        ("always", "none", {}),
        ("always", "default", {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ("never", "high", {}),
        (
            "unknown",
            "medium",
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "medium"},
            },
        ),
    ],
)
async def test_effort_is_told_in_the_models_terms(
    thinking: Thinking, effort: Effort, sent: dict[str, object]
) -> None:
    async with asking(HELLO, info=ModelInfo(thinking=thinking, max_output=200_000)) as (model, server):
        await parts(model, replace(REQUEST, effort=effort))
        body = server.requests[0].body
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == sent
    assert body["max_tokens"] == MAX_OUTPUT


async def test_a_turn_that_began_without_thoughts_goes_on_without() -> None:
    history = (USER, AssistantMessage("", (ToolRequest("a", "read", "{}"),)), ToolMessage("a", "read", "x"))
    async with asking(HELLO, info=ModelInfo(thinking="budget")) as (model, server):
        await parts(model, Request("", history, effort="high"))
        assert "thinking" not in server.requests[0].body


async def test_a_server_that_allows_less_output_is_remembered() -> None:
    said = "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-test"
    async with asking(refusal(400, "invalid_request_error", said), HELLO) as (model, server):
        for _ in range(2):
            assert TextPart("hello") in await parts(model)
        assert [each.body["max_tokens"] for each in server.requests] == [DEFAULT_OUTPUT, 8192, 8192]


async def test_an_answer_shrinks_to_what_is_left_of_the_window() -> None:
    said = "input length and `max_tokens` exceed context limit: {} + 32000 > 200000, decrease it"
    tight = refusal(400, "invalid_request_error", said.format(190_000))
    async with asking(tight, HELLO, HELLO) as (model, server):
        for _ in range(2):
            assert TextPart("hello") in await parts(model)
        sent = [each.body["max_tokens"] for each in server.requests]
        assert sent == [DEFAULT_OUTPUT, 10_000, DEFAULT_OUTPUT]
    async with asking(refusal(400, "invalid_request_error", said.format(199_999))) as (model, server):
        with pytest.raises(ContextOverflow):
            await parts(model)
        assert len(server.requests) == 1


async def test_a_model_that_cannot_think_is_asked_without_it() -> None:
    no = refusal(400, "invalid_request_error", "adaptive thinking is not supported on this model")
    async with asking(no, HELLO) as (model, server):
        assert TextPart("hello") in await parts(model, replace(REQUEST, effort="high"))
        assert ["thinking" in each.body for each in server.requests] == [True, False]
        assert "output_config" not in server.requests[1].body
    async with asking(no) as (model, server):
        with pytest.raises(ModelError, match="not supported"):
            await parts(model, replace(REQUEST, effort="high"))
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "kind", "message", "error", "words"),
    [
        (401, "authentication_error", "invalid x-api-key", LoginNeeded, "Set ANTHROPIC_API_KEY"),
        (403, "permission_error", "not yours", LoginNeeded, "not yours"),
        (404, "not_found_error", "model: claude-test", ModelError, "model_base_url"),
        (413, "request_too_large", "Request exceeds the maximum size", ContextOverflow, "Compact"),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 8",
            ContextOverflow,
            "Compact",
        ),
        (400, "invalid_request_error", "Your credit balance is too low", ModelError, "Add credit"),
        (400, "invalid_request_error", "wrong number of frogs", ModelError, "frogs"),
        (429, "rate_limit_error", "slow down", Transient, "slow down"),
        (500, "api_error", "oops", Transient, "oops"),
        (529, "overloaded_error", "Overloaded", Transient, "Overloaded"),
    ],
)
async def test_refusals_become_errors_that_help(
    status: int, kind: str, message: str, error: type[ModelError], words: str
) -> None:
    async with asking(refusal(status, kind, f"{message} {KEY}")) as (model, server):
        with pytest.raises(ModelError) as caught:
            await parts(model)
        assert len(server.requests) == 1
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


async def test_the_wish_to_wait_comes_with_the_error() -> None:
    async with asking(refusal(429, "rate_limit_error", "slow down", **{"retry-after": "7"})) as (model, _):
        with pytest.raises(Transient) as caught:
            await parts(model)
    assert caught.value.retry_after == 7.0


FIRST = [START, *block(0, {"type": "text", "text": "a"})[:1]]


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([*FIRST, {"cut": True}], StreamCut),
        (FIRST, StreamCut),
        ([*FIRST, {"raw": "event: x\ndata: garbage\n\n"}], StreamCut),
        ([*FIRST, event("error", error={"type": "overloaded_error", "message": "Overloaded"})], Transient),
        ([*FIRST, event("error", error={"type": "api_error", "message": "oops"})], Transient),
    ],
    ids=["broken off", "no end", "garbage", "overloaded", "failed"],
)
async def test_an_answer_that_breaks_off_may_be_asked_for_again(
    steps: list[dict[str, Any]], kind: type[ModelError]
) -> None:
    async with asking({"steps": steps}) as (model, _):
        stream = model.stream(REQUEST)
        assert await anext(stream) == TextPart("a")
        with pytest.raises(kind):
            _ = [part async for part in stream]


async def test_a_whole_answer_is_accepted() -> None:
    message = {
        "type": "message",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    async with asking({"body": message}) as (model, _):
        assert await parts(model) == [TextPart("hello"), UsagePart(Usage(1, 2)), FinishPart("stop")]


async def test_cancelling_the_reader_closes_the_connection_at_once() -> None:
    async with asking({"steps": [*FIRST, {"stall": True}]}, HELLO) as (model, server):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(parts(model))
            asked = await server.request(0)
            reading.cancel()
        async with asyncio.timeout(PATIENCE):
            await asked.left.wait()
        assert TextPart("hello") in await parts(model)


async def test_a_token_from_a_login_goes_where_tokens_go() -> None:
    async with asking(HELLO, key="sk-ant-oat01-x") as (model, server):
        await parts(model)
        headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer sk-ant-oat01-x"
    assert (headers["anthropic-beta"], "x-api-key" in headers) == ("oauth-2025-04-20", False)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/messages"])
async def test_the_base_url_may_end_as_it_likes(ending: str) -> None:
    async with ModelServer([HELLO]) as server:
        base_url = server.base_url.removesuffix("/v1") + ending
        settings = Settings(model=NAME, model_base_url=base_url, allow_real_models=False)
        model = await open_model(NAME, settings, {})
        assert TextPart("hello") in [part async for part in model.stream(REQUEST)]
        asked = server.requests[0]
        await model.aclose()
    assert (asked.path, "x-api-key" in asked.headers) == ("/v1/messages", False)


async def test_the_environment_may_name_another_server() -> None:
    async with ModelServer([HELLO]) as server:
        env = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": KEY}
        model = await open_model(NAME, Settings(allow_real_models=False), env)
        assert TextPart("hello") in [part async for part in model.stream(REQUEST)]
        await model.aclose()
