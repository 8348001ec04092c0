"""The process in which litellm lives: `python -m hermes_acp.llm.litellm_worker`, started by the server.

Descriptor 0 is a socket to the server. Lines of JSON come in:

    {"id": 1, "check": "provider/model"}    is the provider known?
    {"id": 2, "ask": {…}}                   ask a model, with the arguments of `litellm.acompletion`
    {"id": 2, "more": 128}                  so many further chunks may be sent
    {"id": 2, "stop": true}                 nobody reads the answer any more

and lines go out, for each id any number of chunks and then one end:

    {"id": 2, "chunk": {…}}
    {"id": 2, "end": "whole" | "cut"}
    {"id": 2, "refused": {"status": 429, "message": "…", "retry_after": 7.0, "lost": false}}

The process ends when the other side of the socket is closed, however that came about.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import litellm
import orjson
from litellm.exceptions import BadRequestError, MidStreamFallbackError
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from openai import APIConnectionError

from hermes_acp.llm import refusals
from hermes_acp.llm.encoding import encode
from hermes_acp.llm.lines import MAX_AHEAD, Lines
from hermes_acp.llm.loose_json import Json, as_count, as_object, as_text

READ_BYTES = 256 * 1024
"""How much is read from the socket at once."""

CLOSE_SECONDS = 2.0
"""How long we wait for a broken-off stream to close."""

MAX_CAUSES = 16
"""How far back we look for the cause of an error."""

LOST = (APIConnectionError, ConnectionError, TimeoutError, socket.gaierror)

PREFIXES = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception|Timeout)(?: -|:) ?)+")
"""What litellm puts before the provider's words."""


def main() -> None:
    """Serve until the server is gone."""
    channel = _take_channel()
    _set_up()
    asyncio.run(_serve(channel))


def _take_channel() -> socket.socket:
    """The socket at descriptor 0, which afterwards reads nothing: neither library nor child gets at it."""
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return channel


def _set_up() -> None:
    """Silence litellm, and take from it what we do ourselves."""
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.modify_params = True
    litellm.disable_streaming_logging = True
    # Counting loads a tokenizer of many megabytes, only to guess what the provider did not say.
    litellm.disable_token_counter = True
    litellm.num_retries = 0
    # Not declared as public, but read from here: an answer may repeat a chunk as often as it likes.
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize  # pyright: ignore[reportPrivateImportUsage]
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)


async def _serve(channel: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=channel)
    lines = Lines()
    async with asyncio.TaskGroup() as group:
        answers = _Answers(group, writer)
        with suppress(ConnectionError):
            while received := await reader.read(READ_BYTES):
                for line in lines.feed(received):
                    answers.take(as_object(orjson.loads(line)))
        # Nobody is left to answer, and litellm's own threads must not keep us: the kernel closes the rest.
        os._exit(0)


@dataclass(slots=True)
class _Answer:
    """An answer under way: how many chunks may be sent, and the task that sends them."""

    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AHEAD))
    task: asyncio.Task[None] | None = None


class _Answers:
    """All answers under way."""

    def __init__(self, group: asyncio.TaskGroup, writer: asyncio.StreamWriter) -> None:
        self._group = group
        self._writer = writer
        self._running: dict[int, _Answer] = {}

    def take(self, message: Json) -> None:
        """Do what a line says; what it says about an answer that has ended is late and means nothing."""
        number = as_count(message.get("id"))
        if model := as_text(message.get("check")):
            self._send(number, _check(model))
        elif arguments := as_object(message.get("ask")):
            answer = self._running[number] = _Answer()
            answer.task = self._group.create_task(self._answer(number, answer.room, arguments))
        elif (answer := self._running.get(number)) is None:
            return
        elif message.get("stop"):
            del self._running[number]
            if answer.task is not None:
                answer.task.cancel()
        else:
            for _ in range(as_count(message.get("more"))):
                answer.room.release()

    async def _answer(self, number: int, room: asyncio.Semaphore, arguments: dict[str, Any]) -> None:
        """Send one answer and its end; cancelled, it closes the connection to the provider."""
        try:
            answer = cast("CustomStreamWrapper", await litellm.acompletion(**arguments))
            try:
                async for chunk in answer:
                    _forget(answer)
                    await room.acquire()
                    self._send(number, {"chunk": _members(chunk)})
            finally:
                await _close(answer)
            end: Json = {"end": "whole" if _is_whole(answer) else "cut"}
        except Exception as error:  # noqa: BLE001 (whatever it is, the server explains it)
            end = {"refused": _refusal(error)}
        self._running.pop(number, None)
        self._send(number, end)

    def _send(self, number: int, message: Json) -> None:
        # Never waits: what may be under way is bounded by `MAX_AHEAD` for each answer.
        self._writer.write(encode({"id": number, **message}) + b"\n")


def _check(model: str) -> Json:
    try:
        litellm.get_llm_provider(model)
    except BadRequestError as error:
        return {"refused": _refusal(error)}
    return {"end": "whole"}


def _members(chunk: Any) -> Json:  # noqa: ANN401 (what litellm yields has no type)
    """What an answer is read from."""
    return chunk.model_dump(include={"choices", "usage"}, exclude_none=True)


def _forget(answer: CustomStreamWrapper) -> None:
    """Drop the chunk that litellm kept last, to show its loggers the whole answer in the end.

    We have no loggers, and a long answer takes 60 MiB. What says how many tokens it was has to stay.
    """
    kept = cast("list[Any]", answer.chunks)  # pyright: ignore[reportUnknownMemberType]
    if kept and getattr(kept[-1], "usage", None) is None:
        kept.pop()


def _is_whole(answer: CustomStreamWrapper) -> bool:
    """Whether the provider named a reason to finish: litellm makes one up when it did not."""
    return answer.received_finish_reason is not None or answer.intermittent_finish_reason is not None


async def _close(answer: CustomStreamWrapper) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await answer.aclose()
    except TimeoutError:
        return


def _refusal(error: Exception) -> Json:
    """What litellm and the libraries below it raised, as the provider's refusal."""
    cause = error
    if isinstance(error, MidStreamFallbackError) and error.original_exception is not None:
        cause = error.original_exception
    status = getattr(cause, "status_code", None)
    headers = cast("Mapping[str, str] | None", getattr(cause, "litellm_response_headers", None))
    message = PREFIXES.sub("", str(cause).partition(" Original exception:")[0])
    return {
        "status": status if isinstance(status, int) else 0,
        "message": message or type(cause).__name__,
        "retry_after": refusals.wait_wished(headers or {}),
        "lost": _is_lost_connection(cause),
    }


def _is_lost_connection(error: BaseException) -> bool:
    """Whether the network is behind it: litellm reports some of these as a server's error 500."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if isinstance(cause, LOST):
            return True
        cause = cause and (cause.__cause__ or cause.__context__)
    return False


if __name__ == "__main__":
    main()
