"""The lean client for the OpenAI chat-completions format, which most providers and local servers speak.

It imports aiohttp, so it is itself imported late (see `llm.choice`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal, cast

import aiohttp
import orjson

from hermes_acp.llm import openai_errors
from hermes_acp.llm.base import ModelError, Part, Request, StreamCut
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.loose_json import Json, as_object
from hermes_acp.llm.openai_chunks import ChunkReader, taken_ids
from hermes_acp.llm.openai_errors import Asked, Refusal
from hermes_acp.llm.openai_messages import encode, has_images, to_tools
from hermes_acp.llm.route import Route
from hermes_acp.llm.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLong

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The longest whole answer we read from a server that does not stream."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error body we read."""

Extra = Literal["stream_options", "reasoning_effort", "images"]
"""What a request can do without when a server refuses it."""

REFUSAL_WORDS: dict[Extra, tuple[str, ...]] = {
    "stream_options": ("stream_options", "include_usage"),
    "reasoning_effort": ("reasoning_effort", "reasoning effort", "reasoning.effort"),
    "images": ("image", "vision", "multimodal"),
}

MAY_REFUSE_EXTRAS = frozenset({400, 415, 422, 500, 501})

MAX_SHOWN_GARBAGE = 120
"""Bytes of a senseless event that the message repeats."""

PATH = "/chat/completions"
DONE = b"[DONE]"
BLANK = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds we wait: to connect, for the first byte, between bytes, for what follows the end.

    The first byte of a large prompt, or of a model that thinks first, takes minutes.
    """

    connect: float = 15.0
    first_byte: float = 600.0
    idle: float = 120.0
    after_finish: float = 5.0
    after_done: float = 0.25


DEFAULT_TIMEOUTS = Timeouts()


def open_model(route: Route) -> OpenAIModel:
    """The model at the end of this route."""
    return OpenAIModel(route)


class OpenAIModel:
    """A `Model` behind the OpenAI chat-completions format. Streams may run side by side."""

    def __init__(self, route: Route, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self._route = route
        self._timeouts = timeouts
        base = route.base_url.rstrip("/")
        self._url = base if base.endswith(PATH) else base + PATH
        self._asked = Asked(route.name, self._url, route.key_variable, route.key)
        self._http: aiohttp.ClientSession | None = None
        self._refused: frozenset[Extra] = frozenset()
        self._converted = Converted()

    @property
    def name(self) -> str:
        """`provider/model` as the user set it."""
        return self._route.name

    @property
    def context_window(self) -> int:
        """Tokens that fit."""
        return self._route.info.context_window

    @property
    def accepts_images(self) -> bool:
        """Whether image blocks may be sent; false once the server refused one."""
        return self._route.dialect.images and "images" not in self._refused

    async def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Ask, and yield the answer; see `llm.base.Model`."""
        reader = ChunkReader(self._route.dialect.model, self._route.info, taken_ids(request))
        response = await self._open(request)
        try:
            async with aclosing(self._batches(response, reader)) as batches:
                async for batch in batches:
                    for event in batch:
                        for part in reader.feed(self._chunk(event)):
                            yield part
            for part in reader.finish():
                yield part
        finally:
            # Not given back to the pool: unless it was read to its end this ends the connection, and
            # with it the work of the server.
            response.close()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    # --- asking --------------------------------------------------------------------------------------

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        """Send the request, again without what the server refuses; each round refuses one thing more."""
        while True:
            response = await self._post(encode(self._body(request)))
            if 200 <= response.status < 300:
                return response
            refusal = await self._refusal(response)
            cause = self._cause(refusal, request)
            if cause is None:
                raise openai_errors.to_error(self._asked, refusal)
            self._refused = self._refused.union((cause,))

    def _body(self, request: Request) -> Json:
        dialect = replace(self._route.dialect, images=self.accepts_images)
        body: Json = {
            "model": self._route.model,
            "messages": self._converted.messages(request, dialect),
            "stream": True,
        }
        if "stream_options" not in self._refused:
            body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = to_tools(request.tools)
        if request.effort != "default" and "reasoning_effort" not in self._refused:
            body["reasoning_effort"] = request.effort
        return body

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        # Compression would only delay small events, and a redirect could carry the key elsewhere.
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "hermes-editor",
        }
        if self._route.key:
            headers["Authorization"] = f"Bearer {self._route.key}"
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                return await self._http.post(
                    self._url,
                    data=BytesIO(body),
                    headers=headers,
                    proxy=self._route.proxy,
                    allow_redirects=False,
                )
        except TimeoutError as error:
            reason = str(error) or f"no answer within {self._timeouts.first_byte:g} seconds"
            raise openai_errors.unreachable(self._asked, reason) from error
        except (aiohttp.ClientError, OSError) as error:
            raise openai_errors.unreachable(self._asked, str(error) or type(error).__name__) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> Refusal:
        try:
            body = await self._read_all(response, MAX_ERROR_BYTES)
        except StreamCut:
            body = b""
        finally:
            response.close()
        return openai_errors.read_body(response.status, response.headers, body)

    def _cause(self, refusal: Refusal, request: Request) -> Extra | None:
        """What we sent and could leave out, if that is what the server complains about."""
        if refusal.status not in MAY_REFUSE_EXTRAS:
            return None
        has_image = has_images(request) and self._route.dialect.images
        sent: tuple[tuple[Extra, bool], ...] = (
            ("stream_options", True),
            ("reasoning_effort", request.effort != "default"),
            ("images", has_image),
        )
        said = refusal.message.lower()
        for extra, was_sent in sent:
            if was_sent and extra not in self._refused and any(word in said for word in REFUSAL_WORDS[extra]):
                return extra
        return None

    # --- reading -------------------------------------------------------------------------------------

    async def _batches(
        self, response: aiohttp.ClientResponse, reader: ChunkReader
    ) -> AsyncGenerator[list[bytes], None]:
        """The JSON texts of the answer, those that arrived together at once. Raises `StreamCut`."""
        received = await self._first(response)
        if received.startswith(b"{"):
            yield [received + await self._read_all(response, MAX_BODY_BYTES)]
            return
        if received.startswith(b"<"):
            raise ModelError(
                f"{self._asked.shown_url} answers with a web page. Check model_base_url: "
                "it often has to end in /v1."
            )
        decoder = EventDecoder()
        while received:
            events = self._decode(decoder, received)
            if DONE in events:
                yield events[: events.index(DONE)]
                await self._drain(response)
                return
            yield events
            received = await self._next(response, reader)
        yield [event for event in decoder.close() if event != DONE]
        if not reader.finished:
            raise StreamCut(f"The answer of {self._asked.model} broke off in the middle.")

    async def _first(self, response: aiohttp.ClientResponse) -> bytes:
        """The first bytes that are not white space."""
        while received := await self._read(response, self._timeouts.first_byte):
            if received := received.lstrip(BLANK):
                break
        return received

    async def _next(self, response: aiohttp.ClientResponse, reader: ChunkReader) -> bytes:
        """More bytes; empty at the end. What goes wrong after the finish reason does not matter."""
        if not reader.finished:
            return await self._read(response, self._timeouts.idle)
        try:
            return await self._read(response, self._timeouts.after_finish)
        except StreamCut:
            return b""

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """Read the end of the body, so that the next request can use the connection."""
        try:
            await self._read(response, self._timeouts.after_done)
        except StreamCut:
            return

    async def _read_all(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """The rest of the body, cut at about `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while size < limit and (piece := await self._read(response, self._timeouts.idle)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    async def _read(self, response: aiohttp.ClientResponse, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await response.content.readany()
        except TimeoutError as error:
            raise StreamCut(f"{self._asked.model} sent nothing for {seconds:g} seconds.") from error
        except (aiohttp.ClientError, OSError) as error:
            why = self._asked.hide(str(error) or type(error).__name__)
            raise StreamCut(f"The answer of {self._asked.model} broke off: {why}.") from error

    def _decode(self, decoder: EventDecoder, received: bytes) -> list[bytes]:
        try:
            return decoder.feed(received)
        except EventTooLong as error:
            raise ModelError(
                f"{self._asked.model} sent an event of more than {MAX_EVENT_BYTES} bytes: "
                "its server is out of order."
            ) from error

    def _chunk(self, event: bytes) -> Json:
        try:
            chunk = cast("object", orjson.loads(event))
        except orjson.JSONDecodeError:
            chunk = self._lenient(event)
        if not isinstance(chunk, dict):
            raise self._garbage(event)
        members = as_object(cast("object", chunk))
        if members.get("error"):
            raise openai_errors.to_error(self._asked, openai_errors.read_payload(members))
        return members

    def _lenient(self, event: bytes) -> object:
        """JSON with what strict parsers refuse: NaN, and halves of surrogate pairs (made readable)."""
        try:
            value = cast("object", json.loads(event.decode("utf-8", "replace")))
            text = json.dumps(value, ensure_ascii=False)
            whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return cast("object", json.loads(whole))
        except (ValueError, RecursionError) as error:
            raise self._garbage(event) from error

    def _garbage(self, event: bytes) -> StreamCut:
        shown = self._asked.hide(event[:MAX_SHOWN_GARBAGE].decode("utf-8", "replace"))
        return StreamCut(f"{self._asked.model} sent something that is not a chunk of an answer: {shown}")
