import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hermes_acp.content import ImageBlock, TextBlock
from hermes_acp.llm.base import (
    Effort,
    FinishPart,
    ModelError,
    Part,
    Request,
    StreamCut,
    TextPart,
    Transient,
    UserMessage,
)
from hermes_acp.llm.openai_wire import OpenAIModel, Timeouts
from hermes_acp.llm.route import Dialect, Route
from tests.model_server import PATIENCE, ModelServer, answer, refused, streamed, text

REQUEST = Request("", (UserMessage((TextBlock("hi"),)),))
PICTURE = Request("", (UserMessage((TextBlock("see"), ImageBlock("QUJD", "image/png"))),))
HELLO = [TextPart("hello"), FinishPart("stop")]
QUICK = Timeouts(connect=1.0, first_byte=0.1, idle=0.05, after_finish=0.05, after_done=0.05)


@asynccontextmanager
async def asking(
    *behaviours: dict[str, Any], timeouts: Timeouts | None = None
) -> AsyncIterator[tuple[OpenAIModel, ModelServer]]:
    async with ModelServer(list(behaviours)) as server:
        route = Route("openai/m", "m", Dialect("openai/m"), server.base_url)
        model = OpenAIModel(route, timeouts) if timeouts else OpenAIModel(route)
        yield model, server
        await model.aclose()


async def parts(model: OpenAIModel, request: Request = REQUEST) -> list[Part]:
    return [part async for part in model.stream(request)]


def asked(effort: Effort) -> Request:
    return Request("", REQUEST.messages, effort=effort)


async def test_what_a_server_refuses_is_left_out_from_then_on() -> None:
    behaviours = [
        refused(400, "Unknown parameter: stream_options"),
        refused(400, "reasoning_effort is not supported"),
        refused(500, "image input is not supported by this model"),
        streamed(text("hello")),
    ]
    request = Request("", PICTURE.messages, effort="high")
    async with asking(*behaviours) as (model, server):
        assert model.accepts_images
        assert await parts(model, request) == HELLO
        assert not model.accepts_images
        assert await parts(model, request) == HELLO
        bodies = [each.body for each in server.requests]
    assert ["stream_options" in body for body in bodies] == [True, False, False, False, False]
    assert [body.get("reasoning_effort") for body in bodies] == ["high", "high", None, None, None]
    images = ["image_url" in str(body["messages"]) for body in bodies]
    assert images == [True, True, True, False, False]


async def test_a_refusal_of_something_that_was_not_sent_is_an_error() -> None:
    async with asking(refused(400, "reasoning_effort and images are bad")) as (model, server):
        with pytest.raises(ModelError):
            await parts(model)
        assert len(server.requests) == 1


async def test_effort_is_sent_only_when_it_is_set() -> None:
    async with asking(streamed(text("hello"))) as (model, server):
        await parts(model, asked("default"))
        await parts(model, asked("none"))
        assert [each.body.get("reasoning_effort") for each in server.requests] == [None, "none"]


async def test_a_whole_json_answer_is_accepted() -> None:
    message = {"role": "assistant", "content": "hello"}
    whole = {"body": {"choices": [{"message": message, "finish_reason": "stop"}]}}
    async with asking(whole, {"body": {"error": {"message": "no", "code": 429}}}) as (model, _):
        assert await parts(model) == HELLO
        with pytest.raises(Transient, match="429"):
            await parts(model)


async def test_comments_and_odd_line_ends_are_passed_over() -> None:
    raw = ': keep-alive\r\n\r\ndata:{"choices":[{"delta":{"content":"hel'
    rest = 'lo"}}]}\r\n\r\nevent: end\ndata: [DONE]\n\n'
    async with asking({"steps": [{"raw": raw}, {"raw": rest}]}) as (model, _):
        assert await parts(model) == HELLO


async def test_the_end_may_come_without_marker_or_blank_line() -> None:
    last = 'data: {"choices":[{"delta":{"content":"hello"},"finish_reason":"stop"}]}'
    async with asking({"steps": [{"raw": last}]}) as (model, _):
        assert await parts(model) == HELLO


async def test_half_a_surrogate_pair_is_made_readable() -> None:
    raw = 'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n'
    async with asking({"steps": [{"raw": raw}, {"done": True}]}) as (model, _):
        assert (await parts(model))[0] == TextPart("a\ufffd")


@pytest.mark.parametrize("raw", ["data: [1, 2]\n\n", "data: {\n\n", "data: " + "[" * 5000 + "\n\n"])
async def test_garbage_is_a_cut_stream_that_shows_a_little_of_it(raw: str) -> None:
    async with asking({"steps": [{"raw": raw}]}) as (model, _):
        with pytest.raises(StreamCut, match="not a chunk") as caught:
            await parts(model)
    assert len(str(caught.value)) < 250


async def test_a_web_page_instead_of_an_answer_is_explained() -> None:
    async with asking({"body": "<!doctype html><html>"}) as (model, _):
        with pytest.raises(ModelError, match="web page"):
            await parts(model)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async with asking({"status": 307, "headers": {"Location": "http://127.0.0.1:9/"}}) as (model, _):
        with pytest.raises(ModelError, match="redirect"):
            await parts(model)


async def test_silence_is_bounded() -> None:
    async with asking({"steps": [{"stall": True}]}, timeouts=QUICK) as (model, server):
        with pytest.raises(StreamCut, match=r"nothing for 0\.1 seconds"):
            await parts(model)
        await server.requests[0].left.wait()
    async with asking({"steps": [text("a"), {"stall": True}]}, timeouts=QUICK) as (model, server):
        with pytest.raises(StreamCut, match=r"nothing for 0\.05 seconds"):
            await parts(model)
        await server.requests[0].left.wait()


@pytest.mark.parametrize("end", [[{"stall": True}], [{"cut": True}], [{"done": True}, {"stall": True}]])
async def test_trouble_after_the_finish_reason_does_not_matter(end: list[dict[str, Any]]) -> None:
    steps = [text("hello"), {"finish": "stop"}, *end]
    async with asking({"steps": steps}, timeouts=QUICK) as (model, _):
        assert await parts(model) == HELLO


async def test_one_connection_serves_request_after_request() -> None:
    async with asking(answer("hello")) as (model, server):
        for _ in range(5):
            await parts(model)
        assert (server.connections, len(server.requests)) == (1, 5)


async def test_an_answer_that_is_left_early_does_not_disturb_the_next() -> None:
    async with asking(streamed(text("hello", repeat=1000))) as (model, _):
        for _ in range(3):
            stream = model.stream(REQUEST)
            assert await anext(stream) == TextPart("hello")
            await stream.aclose()
        assert len(await parts(model)) == 1001


async def test_ten_thousand_chunks_are_exact() -> None:
    async with asking(streamed(text("wörd ", repeat=10_000))) as (model, _):
        found = await parts(model)
    assert "".join(part.text for part in found if isinstance(part, TextPart)) == "wörd " * 10_000


async def test_a_large_request_arrives_whole() -> None:
    words = "x" * 3_000_000
    async with asking(streamed(text("hello"))) as (model, server):
        assert await parts(model, Request("", (UserMessage((TextBlock(words),)),))) == HELLO
        assert server.requests[0].body["messages"] == [{"role": "user", "content": words}]


async def test_cancelling_before_the_head_of_the_answer_closes_the_connection() -> None:
    arrived = asyncio.Event()
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        while await reader.read(65536):
            pass
        left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    model = OpenAIModel(Route("openai/m", "m", Dialect("m"), f"http://127.0.0.1:{port}/v1"))
    async with server, asyncio.TaskGroup() as group:
        reading = group.create_task(parts(model))
        await arrived.wait()
        reading.cancel()
        async with asyncio.timeout(PATIENCE):
            await left.wait()
    await model.aclose()
