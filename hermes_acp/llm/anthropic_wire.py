"""The lean client for Anthropic's Messages API, and for servers that speak its format.

It imports aiohttp, so it is itself imported late (see `llm.choice`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

import aiohttp

from hermes_acp.llm import history, refusals
from hermes_acp.llm.anthropic_events import EventReader
from hermes_acp.llm.anthropic_messages import continues_thoughtless, convert, finish, marked, to_tools
from hermes_acp.llm.base import Effort, Part, Request
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.encoding import encode
from hermes_acp.llm.http_stream import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.refusals import Refusal
from hermes_acp.llm.route import Route
from hermes_acp.records import record

PATH = "/v1/messages"
VERSION = "2023-06-01"

LOGIN_TOKEN = "sk-ant-oat"
LOGIN_BETA = "oauth-2025-04-20"
"""What the API wants to hear beside a token that a login gave instead of a key."""

MAX_OUTPUT = 64_000
"""Tokens that an answer may have at most: the API wants a number, and more only costs time."""

DEFAULT_OUTPUT = 32_000
"""The same for a model that nobody described; a server that allows less says how much."""

LEAST_OUTPUT = 1_024
"""With less room for the answer, the conversation is too long."""

BUDGETS: dict[Effort, int] = {"low": 2_048, "medium": 8_192, "high": 24_576}
"""Tokens of thought, for models that want a number."""

LEAST_BUDGET = 1_024
"""The smallest budget that the API accepts."""

BAD_REQUEST = 400

MAX_ROUNDS = 3
"""How often a request is sent at most: as it is, with less output, and without thoughts."""

OUTPUT_LIMIT = re.compile(r"max_tokens: \d+ > (\d+)")
WINDOW_LIMIT = re.compile(r"`?max_tokens`? exceed context limit: (\d+) \+ \d+ > (\d+)")
"""How the API says that the answer may not become so long."""

THINKING_WORDS = ("thinking", "output_config", "effort")


async def open_model(route: Route) -> AnthropicModel:
    """The model at the end of this route."""
    return AnthropicModel(route)


class AnthropicModel:
    """A `Model` behind the Messages API. Streams may run side by side."""

    def __init__(self, route: Route, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self._route = route
        self._endpoint = Endpoint(route, _url(route.base_url), timeouts)
        self._converted = Converted(convert)
        self._max_output = min(route.info.max_output or DEFAULT_OUTPUT, MAX_OUTPUT)

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
        """Whether image blocks may be sent."""
        return self._route.dialect.images

    def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Ask, and yield the answer; see `llm.base.Model`."""
        reader = EventReader(self._route.dialect.model, self._route.info, history.taken_ids(request))
        return self._endpoint.parts(partial(self._open, request), reader)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        """Send the request, again in another form while the server refuses only the form."""
        form = _Form(self._max_output)
        rounds = 1
        while True:
            body = encode(self._body(request, form))
            response = await self._endpoint.post(_headers(self._route.key), body)
            if 200 <= response.status < 300:
                return response
            refusal = await self._endpoint.refusal(response)
            mended = self._mended(form, refusal)
            if mended is None or rounds == MAX_ROUNDS:
                raise refusals.to_error(self._endpoint.asked, refusal)
            form, rounds = mended, rounds + 1

    def _body(self, request: Request, form: _Form) -> Json:
        body: Json = {
            "model": self._route.model,
            "max_tokens": form.max_output,
            "messages": finish(self._converted.messages(request, self._route.dialect)),
            "stream": True,
        }
        if request.system:
            body["system"] = marked([{"type": "text", "text": request.system}])
        if request.tools:
            body["tools"] = to_tools(request.tools)
        if form.thoughts:
            body |= _thinking(self._route, request, form.max_output)
        return body

    def _mended(self, form: _Form, refusal: Refusal) -> _Form | None:
        """The form that the server may take; None when its complaint is about something else."""
        said = refusal.message
        if refusal.status != BAD_REQUEST:
            return None
        if limit := OUTPUT_LIMIT.search(said):
            self._max_output = max(1, int(limit[1]))
            return replace(form, max_output=self._max_output)
        if window := WINDOW_LIMIT.search(said):
            room = int(window[2]) - int(window[1])
            return replace(form, max_output=room) if LEAST_OUTPUT <= room < form.max_output else None
        if form.thoughts and any(word in said.lower() for word in THINKING_WORDS):
            return replace(form, thoughts=False)
        return None


@record
class _Form:
    """What of a request a server may refuse: how long the answer may be, and what is said of thinking."""

    max_output: int
    thoughts: bool = True


def _url(base: str) -> str:
    base = base.rstrip("/")
    return base if base.endswith(PATH) else base.removesuffix("/v1") + PATH


def _headers(key: str) -> dict[str, str]:
    headers = {"anthropic-version": VERSION}
    if key.startswith(LOGIN_TOKEN):
        return headers | {"Authorization": f"Bearer {key}", "anthropic-beta": LOGIN_BETA}
    return headers | {"x-api-key": key} if key else headers


def _thinking(route: Route, request: Request, max_output: int) -> Json:
    """How much to think, in the terms of this model."""
    how, effort = route.info.thinking, request.effort
    if how == "unknown":
        how = "adaptive" if "claude" in route.model else "budget"
    if how == "never" or (effort == "none" and how == "always"):
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    # Without `display` the thoughts come back empty.
    freely: Json = {"thinking": {"type": "adaptive", "display": "summarized"}}
    if effort == "default":
        return freely if how == "always" else {}
    if how != "budget":
        return freely | {"output_config": {"effort": effort}}
    budget = min(BUDGETS[effort], max_output - 1)
    if budget < LEAST_BUDGET or continues_thoughtless(request.messages, route.dialect):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}
