"""Every provider that litellm knows, through `litellm.acompletion`.

litellm takes seconds to import, so this module is only imported in a worker thread, and only when
such a model is opened (see `llm.choice`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from hermes_acp.config import prepare_for_litellm
from hermes_acp.llm import openai_errors
from hermes_acp.llm.base import ModelError, Part, Request, StreamCut
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.openai_chunks import ChunkReader, taken_ids
from hermes_acp.llm.openai_errors import Asked, Refusal
from hermes_acp.llm.openai_messages import to_messages, to_tools
from hermes_acp.llm.route import Route
from hermes_acp.llm.side_loop import SideLoop

prepare_for_litellm()

import litellm  # noqa: E402 (litellm reads the variable that was just set when it is imported)
from litellm.exceptions import BadRequestError, MidStreamFallbackError  # noqa: E402
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper  # noqa: E402
from openai import APIConnectionError  # noqa: E402

CLOSE_SECONDS = 2.0
"""How long we wait for a broken-off stream to close."""

MAX_CAUSES = 16
"""How far back we look for the cause of an error."""

LOST = (APIConnectionError, ConnectionError, TimeoutError, socket.gaierror)

PREFIXES = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception|Timeout)(?: -|:) ?)+")
"""What litellm puts before the provider's words."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds we wait for the first chunk and between chunks."""

    first_chunk: float = 600.0
    idle: float = 120.0


DEFAULT_PATIENCE = Patience()


def open_model(route: Route) -> LitellmModel:
    """The model at the end of this route. Raises `ModelError` when litellm does not know the provider."""
    try:
        litellm.get_llm_provider(route.model)
    except BadRequestError as error:
        raise ModelError(
            f"No provider is known for {route.name}. Check the part before the slash; for a server of your "
            "own write openai/MODEL and set model_base_url."
        ) from error
    return LitellmModel(route)


class LitellmModel:
    """A `Model` through litellm. Streams may run side by side."""

    def __init__(self, route: Route, patience: Patience = DEFAULT_PATIENCE) -> None:
        self._route = route
        self._patience = patience
        where = route.base_url or f"the API of {route.model.partition('/')[0]}"
        self._asked = Asked(route.name, where, route.key_variable, route.key)

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

    async def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Ask, and yield the answer; see `llm.base.Model`."""
        async with aclosing(_side_loop().stream(lambda: self._ask(request))) as parts:
            async for part in parts:
                yield part

    async def aclose(self) -> None:
        """Nothing to free: litellm shares its connections between models."""

    async def _ask(self, request: Request) -> AsyncGenerator[Part, None]:
        """The answer; runs in the side loop."""
        reader = ChunkReader(self._route.dialect.model, self._route.info, taken_ids(request))
        answer = await self._open(request)
        try:
            while (chunk := await self._next(answer, reader)) is not None:
                for part in reader.feed(chunk):
                    yield part
            for part in reader.finish():
                yield part
        finally:
            await _close(answer)

    async def _open(self, request: Request) -> CustomStreamWrapper:
        try:
            async with asyncio.timeout(self._patience.first_chunk):
                answer = await litellm.acompletion(**self._arguments(request))
        except TimeoutError as error:
            reason = f"no answer within {self._patience.first_chunk:g} seconds"
            raise openai_errors.unreachable(self._asked, reason) from error
        except Exception as error:
            raise self._explained(error) from error
        return cast("CustomStreamWrapper", answer)

    def _arguments(self, request: Request) -> dict[str, Any]:
        route = self._route
        arguments: dict[str, Any] = {
            "model": route.model,
            "messages": to_messages(request, route.dialect),
            "stream": True,
            "stream_options": {"include_usage": True},
            "num_retries": 0,
            "max_retries": 0,
            "timeout": self._patience.first_chunk,
            **route.credentials,
        }
        if request.tools:
            arguments["tools"] = to_tools(request.tools)
        if request.effort != "default":
            arguments["reasoning_effort"] = request.effort
        if route.base_url:
            arguments["api_base"] = route.base_url
        if route.key:
            arguments["api_key"] = route.key
        return arguments

    async def _next(self, answer: CustomStreamWrapper, reader: ChunkReader) -> Json | None:
        """The next chunk, None at the end. Raises `StreamCut`."""
        seconds = self._patience.idle if reader.started else self._patience.first_chunk
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(answer, None)
        except TimeoutError as error:
            raise StreamCut(f"{self._asked.model} sent nothing for {seconds:g} seconds.") from error
        except Exception as error:
            raise self._explained(error, cut=True) from error
        if chunk is not None:
            return cast("Json", chunk.model_dump(exclude_none=True))  # pyright: ignore[reportUnknownMemberType]
        # litellm makes up a finish reason when the provider sent none.
        if answer.received_finish_reason is None and answer.intermittent_finish_reason is None:
            raise StreamCut(f"The answer of {self._asked.model} broke off in the middle.")
        return None

    def _explained(self, error: Exception, *, cut: bool = False) -> ModelError:
        """Our error for anything that litellm and the libraries below it raise."""
        cause = error
        if isinstance(error, MidStreamFallbackError) and error.original_exception is not None:
            cause = error.original_exception
        refusal = _refusal(cause)
        if not _is_lost_connection(cause):
            return openai_errors.to_error(self._asked, refusal)
        if cut:
            return StreamCut(
                f"The answer of {self._asked.model} broke off: {self._asked.hide(refusal.message)}"
            )
        return openai_errors.unreachable(self._asked, refusal.message)


def _refusal(error: Exception) -> Refusal:
    status = getattr(error, "status_code", None)
    headers = cast("Mapping[str, str] | None", getattr(error, "litellm_response_headers", None))
    message = PREFIXES.sub("", str(error).partition(" Original exception:")[0])
    return Refusal(
        status if isinstance(status, int) else 0,
        message or type(error).__name__,
        retry_after=openai_errors.wait_wished(headers or {}),
    )


def _is_lost_connection(error: BaseException) -> bool:
    """Whether the network is behind it: litellm reports some of these as a server's error 500."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if isinstance(cause, LOST):
            return True
        cause = cause and (cause.__cause__ or cause.__context__)
    return False


async def _close(answer: CustomStreamWrapper) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await answer.aclose()
    except TimeoutError:
        return


@cache
def _side_loop() -> SideLoop:
    """One for all models: litellm imports, loads and blocks as it goes, up to seconds at first use."""
    return SideLoop("litellm")


def _set_up() -> None:
    """Silence litellm, and take from it what we do ourselves."""
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.modify_params = True
    litellm.disable_streaming_logging = True
    litellm.num_retries = 0
    # Not declared as public, but read from here: an answer may repeat a chunk as often as it likes.
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize  # pyright: ignore[reportPrivateImportUsage]
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)


_set_up()
