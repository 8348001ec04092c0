"""Every provider that litellm knows, through the process in which litellm lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache

from hermes_acp.config import for_models
from hermes_acp.llm import history, openai_messages, refusals
from hermes_acp.llm.base import ContextOverflow, ModelError, Part, Request, StreamCut, Transient
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.litellm_process import RequestTooLong, Worker, WorkerLost
from hermes_acp.llm.loose_json import Json, as_object, as_text
from hermes_acp.llm.openai_chunks import ChunkReader
from hermes_acp.llm.refusals import Asked, Refusal
from hermes_acp.llm.route import Route
from hermes_acp.records import record

WORKERS = 8
"""Environments that are remembered with their worker; a forgotten one lives on with its models."""


@record
class Patience:
    """Seconds we wait for the first chunk, and between chunks."""

    first_chunk: float = 600.0
    idle: float = 120.0


DEFAULT_PATIENCE = Patience()


async def open_model(route: Route) -> LitellmModel:
    """The model at the end of this route; litellm is loaded when this returns.

    Raises `ModelError` when litellm does not know the provider, or cannot be loaded.
    """
    worker = _shared_worker(asyncio.get_running_loop(), frozenset(for_models(route.env).items()))
    worker.use()
    try:
        await _check(worker, route)
    except BaseException:
        await worker.release()
        raise
    return LitellmModel(route, worker)


@lru_cache(maxsize=WORKERS)
def _shared_worker(_loop: asyncio.AbstractEventLoop, env: frozenset[tuple[str, str]]) -> Worker:
    """One for all models with the same keys: its process costs more than everything else together."""
    return Worker(dict(env))


async def _check(worker: Worker, route: Route) -> None:
    try:
        async with aclosing(worker.call({"check": route.model})) as answers:
            async for answer in answers:
                if "refused" in answer:
                    raise ModelError(
                        f"No provider is known for {route.name}. Check the part before the slash; for a "
                        "server of your own write openai/MODEL and set model_base_url."
                    )
    except WorkerLost as error:
        raise ModelError(_lost(route.name, error)) from error


def _lost(name: str, error: WorkerLost) -> str:
    return f"litellm, through which {name} is asked, {error}. It is started again at the next request."


class LitellmModel:
    """A `Model` through litellm. Streams may run side by side. `worker` is released by `aclose`."""

    def __init__(self, route: Route, worker: Worker, patience: Patience = DEFAULT_PATIENCE) -> None:
        self._route = route
        self._worker = worker
        self._patience = patience
        self._converted = Converted(openai_messages.convert)
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
        reader = ChunkReader(self._route.dialect.model, self._route.info, history.taken_ids(request))
        async with aclosing(self._worker.call({"ask": self._arguments(request)})) as messages:
            while (chunk := await self._next(messages, reader)) is not None:
                for part in reader.feed(chunk):
                    yield part
        for part in reader.finish():
            yield part

    async def aclose(self) -> None:
        """Give up the process, which ends with its last model."""
        await self._worker.release()

    def _arguments(self, request: Request) -> Json:
        """What `litellm.acompletion` is called with."""
        route = self._route
        sent = self._converted.messages(request, route.dialect)
        arguments: Json = {
            "model": route.model,
            "messages": openai_messages.finish(request.system, sent, route.dialect),
            "stream": True,
            "stream_options": {"include_usage": True},
            "num_retries": 0,
            "max_retries": 0,
            "timeout": self._patience.first_chunk,
            **route.credentials,
        }
        if request.tools:
            arguments["tools"] = openai_messages.to_tools(request.tools)
        if request.effort != "default":
            arguments["reasoning_effort"] = request.effort
        if route.base_url:
            arguments["api_base"] = route.base_url
        if route.key:
            arguments["api_key"] = route.key
        return arguments

    async def _next(self, messages: AsyncGenerator[Json, None], reader: ChunkReader) -> Json | None:
        """The next chunk, None at the end. Raises `ModelError`s."""
        seconds = self._patience.idle if reader.started else self._patience.first_chunk
        try:
            async with asyncio.timeout(seconds):
                message = await anext(messages)
        except TimeoutError as error:
            raise self._silent(seconds, cut=reader.started) from error
        except WorkerLost as error:
            kind = StreamCut if reader.started else Transient
            raise kind(_lost(self.name, error)) from error
        except RequestTooLong as error:
            raise ContextOverflow(
                f"The conversation is too long for {self.name}. Compact it and go on."
            ) from error
        if refused := as_object(message.get("refused")):
            raise self._explained(refused, cut=reader.started)
        if as_text(message.get("end")) == "cut":
            raise StreamCut(f"The answer of {self.name} broke off in the middle.")
        return as_object(message["chunk"]) if "chunk" in message else None

    def _silent(self, seconds: float, *, cut: bool) -> Transient:
        if cut:
            return StreamCut(f"{self.name} sent nothing for {seconds:g} seconds.")
        return refusals.unreachable(self._asked, f"no answer within {seconds:g} seconds")

    def _explained(self, refused: Mapping[str, object], *, cut: bool) -> ModelError:
        """Our error for what litellm and the libraries below it raised."""
        status, wait = refused.get("status"), refused.get("retry_after")
        refusal = Refusal(
            status if isinstance(status, int) else 0,
            as_text(refused.get("message")),
            retry_after=wait if isinstance(wait, float) else None,
        )
        if not refused.get("lost"):
            return refusals.to_error(self._asked, refusal)
        if cut:
            return StreamCut(f"The answer of {self.name} broke off: {self._asked.hide(refusal.message)}")
        return refusals.unreachable(self._asked, refusal.message)
