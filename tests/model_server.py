"""A local HTTP server that speaks the OpenAI chat-completions format and does as it is told.

In a test:

    async with ModelServer([answer("Hello")]) as server:
        ...  # server.base_url, server.requests

As a program, for other processes: `python tests/model_server.py SCRIPT` reads a JSON list of
behaviours, prints its port on a line of its own and ends when its standard input is closed.

A behaviour is a JSON object and serves one request; the last one serves all further requests:

    {"status": 429, "headers": {"Retry-After": "1"}, "body": {…} or "text"}   an HTTP answer
    {"steps": [step, …]}                                                       a streamed answer

Steps, in order:

    {"delta": {…}, "repeat": n, "delay": s}   a chunk with this delta, n times, s seconds before each
    {"event": {…}}                            any JSON as an event
    {"raw": "text"}                           these bytes, however senseless
    {"finish": "stop"}                        a chunk with this finish_reason
    {"usage": {…}}                            a chunk with usage and no choices
    {"done": true}                            `data: [DONE]`
    {"cut": true}                             the connection breaks off
    {"stall": true}                           nothing more until the client goes away
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Json = dict[str, Any]

CHUNKS_BETWEEN_DRAINS = 64
PATIENCE = 60.0
"""Seconds that something expected may take; a test that reaches it has failed."""
MAX_HEAD_BYTES = 64 * 1024
USAGE: Json = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def text(words: str, **more: object) -> Json:
    """A step: a piece of the answer."""
    return {"delta": {"content": words}, **more}


def thought(words: str, **more: object) -> Json:
    """A step: a piece of the reasoning."""
    return {"delta": {"reasoning_content": words}, **more}


def tool(index: int, arguments: object = "", *, call_id: str = "", name: str = "") -> Json:
    """A step: a piece of tool call `index`."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    identity = {"id": call_id, "type": "function"} if call_id else {}
    return {"delta": {"tool_calls": [{"index": index, **identity, "function": function}]}}


def streamed(*steps: Json, finish: str = "stop", usage: Json | None = None) -> Json:
    """A behaviour: these steps and a proper end."""
    counted = [{"usage": usage}] if usage else []
    return {"steps": [*steps, {"finish": finish}, *counted, {"done": True}]}


def answer(words: str) -> Json:
    """A behaviour: one text and a proper end."""
    return streamed(text(words), usage=USAGE)


def refused(status: int, message: str, **headers: str) -> Json:
    """A behaviour: an error as OpenAI writes it; `Retry_After` stands for `Retry-After`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status": status, "headers": named, "body": {"error": {"message": message}}}


@dataclass
class Asked:
    """One request as it came in. `answered` or `left` is set at the end: `left` when the client went away."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    left: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class ModelServer:
    """The server; `requests` holds what was asked of the model, `connections` counts the clients' sockets."""

    behaviours: list[Json]
    models: tuple[str, ...] = ("test-model",)
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0

    async def __aenter__(self) -> ModelServer:
        self._changed = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._writers)

    def __post_init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        """What goes into `model_base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def request(self, number: int) -> Asked:
        """Request `number`, counted from 0; waits until it has come."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    # --- one connection ---------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (asked := await _read_request(reader)) and await self._answer(asked, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            async with self._changed:
                self._changed.notify_all()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can serve another request."""
        if asked.method == "GET":
            await _send(writer, 200, {}, {"data": [{"id": name} for name in self.models]})
            return asked.headers.get("connection") != "close"
        async with self._changed:
            behaviour = self.behaviours[min(len(self.requests), len(self.behaviours) - 1)]
            self.requests.append(asked)
            self._changed.notify_all()
        if "steps" in behaviour:
            return await self._play(asked, behaviour["steps"], reader, writer)
        await _send(
            writer, behaviour.get("status", 200), behaviour.get("headers", {}), behaviour.get("body", {})
        )
        asked.answered.set()
        return True

    async def _play(
        self, asked: Asked, steps: list[Json], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_watch(reader))
            play = group.create_task(_play_steps(steps, writer))
            await asyncio.wait((watch, play), return_when=asyncio.FIRST_COMPLETED)
            end = play.result() if play.done() else "left"
            watch.cancel()
            play.cancel()
        (asked.left if end == "left" else asked.answered).set()
        return end == "whole"


async def _watch(reader: asyncio.StreamReader) -> None:
    """Wait for the client to leave: one that is still being answered has nothing to say."""
    try:
        await reader.read(1)
    except ConnectionError:
        pass


async def _play_steps(steps: list[Json], writer: asyncio.StreamWriter) -> Literal["whole", "cut", "left"]:
    """Stream the answer; how it ended, `left` when the client went away."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    try:
        for step in steps:
            if "cut" in step:
                await _flush(writer)
                return "cut"
            if "stall" in step:
                await asyncio.Event().wait()
            await _play_step(step, writer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    except ConnectionError:
        return "left"
    return "whole"


async def _flush(writer: asyncio.StreamWriter) -> None:
    """Hand everything to the kernel: what a broken connection had already delivered."""
    writer.transport.set_write_buffer_limits(high=0)
    await writer.drain()


async def _play_step(step: Json, writer: asyncio.StreamWriter) -> None:
    data = _framed(_event_of(step))
    for count in range(step.get("repeat", 1)):
        if delay := step.get("delay"):
            await asyncio.sleep(delay)
        writer.write(data)
        if count % CHUNKS_BETWEEN_DRAINS == 0:
            await writer.drain()


def _event_of(step: Json) -> bytes:
    if "raw" in step:
        return step["raw"].encode()
    if "done" in step:
        return b"data: [DONE]\n\n"
    event = step.get("event") or _chunk(step)
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _chunk(step: Json) -> Json:
    chunk: Json = {
        "id": "chatcmpl-test",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "test-model",
        "choices": [],
    }
    if "usage" in step:
        return chunk | {"usage": step["usage"]}
    delta, reason = step.get("delta", {}), step.get("finish")
    return chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    data = await _read_body(reader, headers)
    return Asked(method, path, headers, json.loads(data) if data else None)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces: list[bytes] = []
    while size := int(await reader.readline(), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(pieces)


async def _send(writer: asyncio.StreamWriter, status: int, headers: Json, body: object) -> None:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + data)
    await writer.drain()


async def _main(script: str) -> None:
    behaviours = json.loads(await asyncio.to_thread(Path(script).read_text, "utf-8"))
    async with ModelServer(behaviours) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
