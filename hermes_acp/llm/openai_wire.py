"""The lean client for the OpenAI chat-completions format, which most providers and local servers speak.

It imports aiohttp, so it is itself imported late (see `llm.choice`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from typing import Literal

import aiohttp

from hermes_acp.llm import history, refusals
from hermes_acp.llm.base import Part, Request
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.encoding import encode
from hermes_acp.llm.http_stream import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.openai_chunks import ChunkReader
from hermes_acp.llm.openai_messages import convert, finish, to_tools
from hermes_acp.llm.refusals import Refusal
from hermes_acp.llm.route import Route

Extra = Literal["stream_options", "reasoning_effort", "images"]
"""What a request can do without when a server refuses it."""

REFUSAL_WORDS: dict[Extra, tuple[str, ...]] = {
    "stream_options": ("stream_options", "include_usage"),
    "reasoning_effort": ("reasoning_effort", "reasoning effort", "reasoning.effort"),
    "images": ("image", "vision", "multimodal"),
}

MAY_REFUSE_EXTRAS = frozenset({400, 415, 422, 500, 501})

PATH = "/chat/completions"


async def open_model(route: Route) -> OpenAIModel:
    """The model at the end of this route."""
    return OpenAIModel(route)


class OpenAIModel:
    """A `Model` behind the OpenAI chat-completions format. Streams may run side by side."""

    def __init__(self, route: Route, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self._route = route
        base = route.base_url.rstrip("/")
        self._endpoint = Endpoint(route, base if base.endswith(PATH) else base + PATH, timeouts)
        self._refused: frozenset[Extra] = frozenset()
        self._converted = Converted(convert)

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

    def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Ask, and yield the answer; see `llm.base.Model`."""
        reader = ChunkReader(self._route.dialect.model, self._route.info, history.taken_ids(request))
        return self._endpoint.parts(partial(self._open, request), reader)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        """Send the request, again without what the server refuses; each round refuses one thing more."""
        headers = {"Authorization": f"Bearer {self._route.key}"} if self._route.key else {}
        while True:
            response = await self._endpoint.post(headers, encode(self._body(request)))
            if 200 <= response.status < 300:
                return response
            refusal = await self._endpoint.refusal(response)
            cause = self._cause(refusal, request)
            if cause is None:
                raise refusals.to_error(self._endpoint.asked, refusal)
            self._refused = self._refused.union((cause,))

    def _body(self, request: Request) -> Json:
        dialect = replace(self._route.dialect, images=self.accepts_images)
        body: Json = {
            "model": self._route.model,
            "messages": finish(request.system, self._converted.messages(request, dialect), dialect),
            "stream": True,
        }
        if "stream_options" not in self._refused:
            body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = to_tools(request.tools)
        if request.effort != "default" and "reasoning_effort" not in self._refused:
            body["reasoning_effort"] = request.effort
        return body

    def _cause(self, refusal: Refusal, request: Request) -> Extra | None:
        """What we sent and could leave out, if that is what the server complains about."""
        if refusal.status not in MAY_REFUSE_EXTRAS:
            return None
        has_image = history.has_images(request) and self._route.dialect.images
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
