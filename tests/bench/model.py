"""A model server for measuring: speaks the OpenAI wire format, does what the last user message says.

The message is a JSON object: `{"chunks": 10, "pace": 0.0}` streams text, `{"tool": "read_file",
"arguments": {…}}` calls a tool once and then says "done", `{"stall": true}` streams one chunk and
waits. Every request is reported on standard output as `{"at": …, "bytes": …}`, and every first
chunk as `{"chunk": …}`; the clock is the system-wide monotonic one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\n\r\n"
)
TEXT = "word "


def event(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = (
        b"data: " + json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]}).encode()
    )
    return frame(body + b"\n\n")


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


END = frame(b"data: [DONE]\n\n") + b"0\r\n\r\n"
WORD = event({"content": TEXT})


def report(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def wish(messages: list[dict[str, object]]) -> tuple[dict[str, object], bool]:
    """The last user message as an object, and whether a tool has answered since."""
    answered = False
    for message in reversed(messages):
        if message["role"] == "tool":
            answered = True
        if message["role"] == "user":
            content = message["content"]
            text = content if isinstance(content, str) else content[0]["text"]
            return json.loads(text), answered
    raise ValueError("no user message")


async def answer(writer: asyncio.StreamWriter, wanted: dict[str, object], *, answered: bool) -> None:
    writer.write(HEAD)
    if "tool" in wanted and not answered:
        function = {"name": wanted["tool"], "arguments": json.dumps(wanted["arguments"])}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        writer.write(event({"role": "assistant", "tool_calls": [call]}))
        writer.write(event({}, "tool_calls") + END)
        report(answered=time.monotonic())
        return
    count = 1 if "tool" in wanted else int(wanted.get("chunks", 1))
    pace = float(wanted.get("pace", 0.0))
    for number in range(count):
        if number == 0:
            report(chunk=time.monotonic())
        elif pace:
            await asyncio.sleep(pace)
        if pace:
            writer.write(event({"content": f"{time.monotonic():.6f} "}))
        else:
            writer.write(WORD)
        if number % 200 == 0:
            await writer.drain()
    if wanted.get("stall"):
        await asyncio.sleep(30)
    writer.write(event({}, "stop") + END)
    await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next(int(item.split(":")[1]) for item in lines if item.startswith("content-length"))
            body = await reader.readexactly(length)
            at = time.monotonic()
            wanted, answered = wish(json.loads(body)["messages"])
            report(at=at, bytes=length)
            await answer(writer, wanted, answered=answered)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=64 * 1024 * 1024)
    report(port=server.sockets[0].getsockname()[1])
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
