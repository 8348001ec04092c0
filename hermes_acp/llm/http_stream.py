"""One URL of a provider that answers with a stream of events: connections, waits, refusals, reading.

It imports aiohttp, so it is itself imported late (see `llm.choice`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from io import BytesIO
from typing import Protocol, cast

import aiohttp
import orjson

from hermes_acp.llm import providers, refusals
from hermes_acp.llm.base import ModelError, Part, StreamCut
from hermes_acp.llm.loose_json import Json, as_object
from hermes_acp.llm.patience import Patience
from hermes_acp.llm.refusals import Asked, Refusal
from hermes_acp.llm.route import Route
from hermes_acp.llm.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLong
from hermes_acp.records import record

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The longest whole answer we read from a server that does not stream."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error body we read."""

MAX_SHOWN_GARBAGE = 120
"""Bytes of a senseless event that the message repeats."""

DONE = b"[DONE]"
BLANK = b"\xef\xbb\xbf \t\r\n"


@record
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


class Reader(Protocol):
    """What understands the events of one answer."""

    finished: bool
    """Whether those read so far say why the model stopped."""

    def feed(self, event: Json, /) -> list[Part]:
        """The parts that this event completes. Raises `ModelError`s."""
        ...

    def finish(self) -> list[Part]:
        """What is left at the end of the answer."""
        ...


class Endpoint:
    """Requests to one URL, any number side by side; `asked` is what messages say about it."""

    def __init__(self, route: Route, url: str, timeouts: Timeouts) -> None:
        self.asked = Asked(route.name, url, route.key_variable, route.key)
        self._url = url
        self._proxy = providers.proxy_for(url, route.env)
        self._timeouts = timeouts
        self._http: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def post(self, headers: Mapping[str, str], body: bytes) -> aiohttp.ClientResponse:
        """Send a request; the head of the answer, whose status may be anything. Raises `Transient`.

        Close the response in the end: unless it was read to its end this ends the connection, and with it
        the work of the server.
        """
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        # Compression would only delay small events, and a redirect could carry the key elsewhere.
        always = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "hermes-editor",
        }
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                return await self._http.post(
                    self._url,
                    data=BytesIO(body),
                    headers={**always, **headers},
                    proxy=self._proxy,
                    allow_redirects=False,
                )
        except TimeoutError as error:
            reason = str(error) or f"no answer within {self._timeouts.first_byte:g} seconds"
            raise refusals.unreachable(self.asked, reason) from error
        except (aiohttp.ClientError, OSError) as error:
            raise refusals.unreachable(self.asked, str(error) or type(error).__name__) from error

    async def refusal(self, response: aiohttp.ClientResponse) -> Refusal:
        """What the server says in an answer that is none; the response is closed."""
        try:
            with closing(Patience(response.content)) as content:
                body = await self._read_all(content, MAX_ERROR_BYTES)
        except StreamCut:
            body = b""
        finally:
            response.close()
        return refusals.read_body(response.status, response.headers, body)

    async def parts(
        self, ask: Callable[[], Awaitable[aiohttp.ClientResponse]], reader: Reader
    ) -> AsyncGenerator[Part, None]:
        """What the model says in the answer that `ask` gives. Raises `ModelError`s."""
        response = await ask()
        try:
            async with aclosing(self._batches(response, reader)) as batches:
                async for batch in batches:
                    for event in batch:
                        for part in reader.feed(self._parse(event)):
                            yield part
            for part in reader.finish():
                yield part
        finally:
            response.close()

    async def _batches(
        self, response: aiohttp.ClientResponse, reader: Reader
    ) -> AsyncGenerator[list[bytes], None]:
        """The JSON texts of the answer, those that arrived together at once."""
        with closing(Patience(response.content)) as content:
            received = await self._first(content)
            if received.startswith(b"{"):
                yield [received + await self._read_all(content, MAX_BODY_BYTES)]
                return
            if received.startswith(b"<"):
                raise ModelError(
                    f"{self.asked.shown_url} answers with a web page. Check model_base_url: "
                    "it often has to end in /v1."
                )
            decoder = EventDecoder()
            while received:
                events = self._decode(decoder, received)
                if DONE in events:
                    yield events[: events.index(DONE)]
                    await self._drain(content)
                    return
                yield events
                if reader.finished:
                    received = await self._rest(content)
                else:
                    received = await self._read(content, self._timeouts.idle)
            yield [event for event in decoder.close() if event != DONE]
            if not reader.finished:
                raise StreamCut(f"The answer of {self.asked.model} broke off in the middle.")

    def _parse(self, event: bytes) -> Json:
        """The JSON object in an event. Raises the error that it reports, and `StreamCut` for garbage."""
        try:
            chunk = cast("object", orjson.loads(event))
        except orjson.JSONDecodeError:
            chunk = self._lenient(event)
        if not isinstance(chunk, dict):
            raise self._garbage(event)
        members = as_object(cast("object", chunk))
        if members.get("error"):
            raise refusals.to_error(self.asked, refusals.read_payload(members))
        return members

    async def _first(self, content: Patience) -> bytes:
        """The first bytes that are not white space."""
        while received := await self._read(content, self._timeouts.first_byte):
            if received := received.lstrip(BLANK):
                break
        return received

    async def _rest(self, content: Patience) -> bytes:
        """More bytes behind the finish reason; empty at the end. What goes wrong there does not matter."""
        try:
            return await self._read(content, self._timeouts.after_finish)
        except StreamCut:
            return b""

    async def _drain(self, content: Patience) -> None:
        """Read the end of the body, so that the next request can use the connection."""
        try:
            await self._read(content, self._timeouts.after_done)
        except StreamCut:
            return

    async def _read_all(self, content: Patience, limit: int) -> bytes:
        """The rest of the body, cut at about `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        while size < limit and (piece := await self._read(content, self._timeouts.idle)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    async def _read(self, content: Patience, seconds: float) -> bytes:
        try:
            return await content.read(seconds)
        except TimeoutError as error:
            raise StreamCut(f"{self.asked.model} sent nothing for {seconds:g} seconds.") from error
        except (aiohttp.ClientError, OSError) as error:
            why = self.asked.hide(str(error) or type(error).__name__)
            raise StreamCut(f"The answer of {self.asked.model} broke off: {why}.") from error

    def _decode(self, decoder: EventDecoder, received: bytes) -> list[bytes]:
        try:
            return decoder.feed(received)
        except EventTooLong as error:
            raise ModelError(
                f"{self.asked.model} sent an event of more than {MAX_EVENT_BYTES} bytes: "
                "its server is out of order."
            ) from error

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
        shown = self.asked.hide(event[:MAX_SHOWN_GARBAGE].decode("utf-8", "replace"))
        return StreamCut(f"{self.asked.model} sent something that is not a chunk of an answer: {shown}")
