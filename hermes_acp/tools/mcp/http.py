"""The two HTTP transports of MCP, with the client's headers and bounds on what a server may send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from pydantic_core import from_json

from hermes_acp.tools.mcp.config import McpServer
from hermes_acp.tools.mcp.wire import MAX_MESSAGE_BYTES, ListingDispatcher, Wire

CONNECT_SECONDS = 10.0
"""Connecting to a server; how long an answer may take is bounded per call."""

WRITE_SECONDS = 30.0
"""Sending a request."""

NOTIFY_SECONDS = 5.0
"""The library sends one notification after the other; one that hangs would hold up all that follows."""

GOODBYE_SECONDS = 0.5
"""Telling a server that the session is over; then it is left to notice by itself."""


@asynccontextmanager
async def http_wire(server: McpServer) -> AsyncGenerator[Wire]:
    """Connect over streamable HTTP. Raises what `httpx2` raises, possibly in a group."""
    client = await _client(server)
    transport = streamable_http_client(server.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES)
    async with client, transport as (read, write):
        yield Wire(ListingDispatcher(read, write), asyncio.Event(), client.why)


@asynccontextmanager
async def sse_wire(server: McpServer) -> AsyncGenerator[Wire]:
    """Connect over SSE, the older of the two. Raises what `httpx2` raises, possibly in a group."""
    client = await _client(server)

    # This transport enters and closes the client that its factory gives it.
    def factory(
        headers: dict[str, str] | None = None,  # noqa: ARG001 -- our client has its own
        timeout: httpx2.Timeout | None = None,  # noqa: ARG001
        auth: httpx2.Auth | None = None,  # noqa: ARG001
    ) -> httpx2.AsyncClient:
        return client

    async with sse_client(server.url, httpx_client_factory=factory) as (read, write):
        yield Wire(ListingDispatcher(read, write), asyncio.Event(), client.why)


async def _client(server: McpServer) -> _Client:
    # A new client reads the system's certificates from the disk.
    return await asyncio.to_thread(_Client, server)


class _Client(httpx2.AsyncClient):
    """An HTTP client that bounds answers and goodbyes, and remembers why a server said no."""

    def __init__(self, server: McpServer) -> None:
        # Plain bytes only: the bound must hold for what they unpack to.
        headers = [("accept-encoding", "identity"), *server.headers]
        super().__init__(
            headers=headers, timeout=httpx2.Timeout(CONNECT_SECONDS, read=None, write=WRITE_SECONDS)
        )
        self._refusal = ""

    def why(self) -> str:
        """The last refusal that was not followed by a success, empty when there is none."""
        return self._refusal

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        **options: Any,  # noqa: ANN401 -- the library keeps the types of the rest to itself
    ) -> httpx2.Response:
        """Send a request; as in the base class, with bounds."""
        if request.method == "DELETE":
            async with asyncio.timeout(GOODBYE_SECONDS):
                return await super().send(request, **options)
        async with asyncio.timeout(None if _wants_answer(request) else NOTIFY_SECONDS):
            response = await super().send(request, stream=stream, **options)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed, though plain bytes were asked for")
        if request.method == "POST":
            self._note(response)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _BoundedStream(response.stream)
        return response

    def _note(self, response: httpx2.Response) -> None:
        refused = response.status_code >= httpx2.codes.BAD_REQUEST
        self._refusal = f"HTTP {response.status_code} {response.reason_phrase}" if refused else ""


def _wants_answer(request: httpx2.Request) -> bool:
    """Whether the server may take its time: the stream itself, or a message with a method and an id."""
    if request.method != "POST":
        return True
    message = from_json(request.content)
    return "method" in message and "id" in message


class _BoundedStream(httpx2.AsyncByteStream):
    """The bytes of one answer, up to the bound."""

    def __init__(self, stream: object) -> None:
        self._stream = cast("httpx2.AsyncByteStream", stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError(f"the answer has more than {MAX_MESSAGE_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Close the connection's side."""
        await self._stream.aclose()
