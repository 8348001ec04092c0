"""What both ways to a real model, the lean client and litellm, have to do alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from hermes_acp.config import Settings
from hermes_acp.content import TextBlock
from hermes_acp.events import ToolRequest, Usage
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    FinishPart,
    LoginNeeded,
    Model,
    ModelError,
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
from hermes_acp.llm.choice import open_model
from tests.llm.conftest import ENV
from tests.model_server import PATIENCE, USAGE, ModelServer, refused, streamed, text, thought, tool

REQUEST = Request("be brief", (UserMessage((TextBlock("hi"),)),))

pytestmark = pytest.mark.asyncio(loop_scope="module")

Asking = Callable[..., AbstractAsyncContextManager[tuple[Model, ModelServer]]]


@pytest.fixture(params=["openai/m", pytest.param("litellm/openai/m", marks=pytest.mark.slow)])
def asking(request: pytest.FixtureRequest) -> Asking:
    """Opens a model of either kind at a server that behaves as told."""
    if request.param.startswith("litellm/"):
        request.getfixturevalue("litellm_stays")

    @asynccontextmanager
    async def opened(*behaviours: dict[str, object]) -> AsyncIterator[tuple[Model, ModelServer]]:
        async with ModelServer(list(behaviours)) as server:
            settings = Settings(model=request.param, model_base_url=server.base_url, allow_real_models=False)
            model = await open_model(request.param, settings, ENV)
            yield model, server
            await model.aclose()

    return opened


async def parts(model: Model, request: Request = REQUEST) -> list[Part]:
    return [part async for part in model.stream(request)]


async def test_text_thoughts_and_usage_arrive_exactly(asking: Asking) -> None:
    async with asking(streamed(thought("hm"), text("Grüße, "), text("Welt 🌍\n"), usage=USAGE)) as (model, _):
        assert await parts(model) == [
            ThoughtPart("hm"),
            TextPart("Grüße, "),
            TextPart("Welt 🌍\n"),
            UsagePart(Usage(11, 7)),
            FinishPart("stop"),
        ]


async def test_think_tags_are_thoughts(asking: Asking) -> None:
    async with asking(streamed(text("<thi"), text("nk>hm</th"), text("ink>\nyes"))) as (model, _):
        found = await parts(model)
    assert "".join(part.text for part in found if isinstance(part, ThoughtPart)) == "hm"
    assert "".join(part.text for part in found if isinstance(part, TextPart)) == "yes"


async def test_one_chunk_may_be_repeated_many_times(asking: Asking) -> None:
    async with asking(streamed(text("word ", repeat=300))) as (model, _):
        found = await parts(model)
    assert "".join(part.text for part in found if isinstance(part, TextPart)) == "word " * 300


async def test_parallel_tool_calls_stream(asking: Asking) -> None:
    steps = (
        tool(0, '{"path"', call_id="a", name="read"),
        tool(1, "", call_id="b", name="list"),
        tool(0, ':"x"}'),
    )
    async with asking(streamed(*steps, finish="tool_calls")) as (model, _):
        found = await parts(model)
    assert [part for part in found if isinstance(part, (ToolCallPart, FinishPart))] == [
        ToolCallPart(0, '{"path"', "a", "read"),
        ToolCallPart(1, "", "b", "list"),
        ToolCallPart(0, ':"x"}'),
        ToolCallPart(1, "{}"),
        FinishPart("tool_calls"),
    ]


async def test_malformed_arguments_are_passed_on(asking: Asking) -> None:
    async with asking(streamed(tool(0, '{"path": ', call_id="a", name="read"))) as (model, _):
        assert ToolCallPart(0, '{"path": ', "a", "read") in await parts(model)


@pytest.mark.parametrize(("reason", "meant"), [("length", "length"), ("content_filter", "refusal")])
async def test_the_reason_to_stop_is_told(asking: Asking, reason: str, meant: str) -> None:
    async with asking(streamed(text("a"), finish=reason)) as (model, _):
        assert (await parts(model))[-1] == FinishPart(meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (refused(401, "bad key sk-secret"), LoginNeeded, "Set OPENAI_API_KEY"),
        (refused(403, "not yours"), LoginNeeded, "not yours"),
        (refused(404, "no such model"), ModelError, "model_base_url"),
        (refused(429, "slow down"), Transient, "slow down"),
        (refused(500, "oops"), Transient, "oops"),
        (refused(503, "overloaded"), Transient, "overloaded"),
        (refused(400, "maximum context length is 8"), ContextOverflow, "Compact"),
        (refused(400, "wrong number of frogs"), ModelError, "wrong number of frogs"),
    ],
)
async def test_refusals_become_errors_that_help(
    asking: Asking, behaviour: dict[str, object], kind: type[ModelError], words: str
) -> None:
    async with asking(behaviour) as (model, server):
        with pytest.raises(ModelError) as caught:
            await parts(model)
        assert len(server.requests) == 1
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert "sk-secret" not in str(caught.value)


async def test_the_wish_to_wait_comes_with_the_error(asking: Asking) -> None:
    async with asking(refused(429, "slow down", Retry_After="7")) as (model, _):
        with pytest.raises(Transient) as caught:
            await parts(model)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    "steps",
    [
        [text("a"), {"cut": True}],
        [text("a")],
        [text("a"), {"raw": "data: garbage\n\n"}, {"finish": "stop"}],
        [text("a"), {"event": {"error": {"message": "overloaded", "code": 503}}}],
    ],
    ids=["broken off", "no end", "garbage", "error"],
)
async def test_an_answer_that_breaks_off_may_be_asked_for_again(
    asking: Asking, steps: list[dict[str, object]]
) -> None:
    async with asking({"steps": steps}) as (model, _):
        stream = model.stream(REQUEST)
        assert await anext(stream) == TextPart("a")
        with pytest.raises(Transient):
            _ = [part async for part in stream]


async def test_a_broken_connection_is_a_cut_stream(asking: Asking) -> None:
    async with asking({"steps": [text("a"), {"cut": True}]}) as (model, _):
        with pytest.raises(StreamCut, match="broke off"):
            await parts(model)


async def test_closing_the_stream_closes_the_connection_at_once(asking: Asking) -> None:
    async with asking({"steps": [text("a"), {"stall": True}]}) as (model, server):
        stream = model.stream(REQUEST)
        assert await anext(stream) == TextPart("a")
        await stream.aclose()
        async with asyncio.timeout(PATIENCE):
            await server.requests[0].left.wait()


async def test_cancelling_the_reader_closes_the_connection_at_once(asking: Asking) -> None:
    async with asking({"steps": [{"stall": True}]}, streamed(text("next"))) as (model, server):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(parts(model))
            asked = await server.request(0)
            reading.cancel()
        async with asyncio.timeout(PATIENCE):
            await asked.left.wait()
        assert reading.cancelled()
        assert TextPart("next") in await parts(model)


async def test_streams_run_side_by_side(asking: Asking) -> None:
    async with asking(streamed(text("a", delay=0.01), text("b"))) as (model, _):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(parts(model)) for _ in range(5)]
        assert [task.result()[:2] for task in tasks] == [[TextPart("a"), TextPart("b")]] * 5


async def test_the_request_carries_history_tools_and_key(asking: Asking) -> None:
    request = Request(
        "be brief",
        (
            UserMessage((TextBlock("hi"),)),
            AssistantMessage("", (ToolRequest("c1", "read", "{"),)),
            ToolMessage("c1", "read", "text"),
        ),
        (ToolSpec("read", "Read a file", {"type": "object", "properties": {}}),),
    )
    async with asking(streamed(text("ok"))) as (model, server):
        await parts(model, request)
        asked = server.requests[0]
    assert asked.headers["authorization"] == "Bearer sk-secret"
    assert asked.path == "/v1/chat/completions"
    function = {"name": "read", "description": "Read a file", "parameters": request.tools[0].parameters}
    body = {key: value for key, value in asked.body.items() if key in ("model", "stream", "tools")}
    assert body == {"model": "m", "stream": True, "tools": [{"type": "function", "function": function}]}
    assert [message["role"] for message in asked.body["messages"]] == ["system", "user", "assistant", "tool"]
    assert (
        asked.body["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"malformed_arguments": "{"}'
    )


async def test_a_server_that_is_not_there_is_named(asking: Asking) -> None:
    async with asking(streamed(text("x"))) as (model, server):
        base_url = server.base_url
        await server.__aexit__()
        with pytest.raises(Transient) as caught:
            await parts(model)
    assert base_url in str(caught.value)
    assert "Check that the server runs" in str(caught.value)


async def test_nothing_is_printed(asking: Asking, capfd: pytest.CaptureFixture[str]) -> None:
    async with asking(refused(401, "bad"), streamed(text("a"))) as (model, _):
        with pytest.raises(LoginNeeded):
            await parts(model)
        await parts(model)
    assert capfd.readouterr().out == ""
