"""What is known about a model (window, price, vision), read from litellm's packaged price list.

The list is three megabytes and litellm takes seconds to import, so litellm is only located, never
imported, and only the one entry that is asked for is parsed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, cast

from hermes_acp.records import record

Thinking: TypeAlias = Literal["unknown", "never", "budget", "adaptive", "always"]
"""How a model thinks: within a budget of tokens, as much as it sees fit, or that whatever is asked."""

DEFAULT_CONTEXT_WINDOW = 128_000
"""Tokens we assume of a model that nobody described."""

PRICE_LIST = "model_prices_and_context_window_backup.json"


@record
class ModelInfo:
    """The facts about one model; prices in US dollars a token, None where unknown."""

    context_window: int = DEFAULT_CONTEXT_WINDOW
    max_output: int | None = None
    accepts_images: bool = True
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    written_price: float | None = None
    thinking: Thinking = "unknown"

    def cost(
        self, input_tokens: int, output_tokens: int, cached_tokens: int = 0, written_tokens: int = 0
    ) -> float | None:
        """US dollars of a request; None when the price is unknown.

        `input_tokens` includes those read from the provider's cache and those written to it.
        """
        if self.input_price is None or self.output_price is None:
            return None
        cached_price = self.input_price if self.cached_price is None else self.cached_price
        written_price = self.input_price if self.written_price is None else self.written_price
        fresh = max(0, input_tokens - cached_tokens - written_tokens)
        return (
            fresh * self.input_price
            + cached_tokens * cached_price
            + written_tokens * written_price
            + output_tokens * self.output_price
        )

    def without_price(self) -> ModelInfo:
        """The same model at somebody else's server."""
        return replace(self, input_price=None, output_price=None, cached_price=None, written_price=None)


UNKNOWN = ModelInfo()
"""A model that the list does not have: images are tried, because servers say so when they cannot."""


async def lookup(name: str) -> ModelInfo:
    """The facts about `provider/model`; `UNKNOWN` when the list has no such model."""
    return await asyncio.to_thread(read, name)


def read(name: str) -> ModelInfo:
    """`lookup` for callers that may block."""
    if (file := price_list()) is None:
        return UNKNOWN
    try:
        text = file.read_text("utf-8")
    except OSError:
        return UNKNOWN
    entries = (entry_of(text, key) for key in _keys(name))
    return next((_info(entry) for entry in entries if entry is not None), UNKNOWN)


def price_list() -> Path | None:
    """Where the installed litellm keeps its list."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / PRICE_LIST


def entry_of(text: str, key: str) -> dict[str, object] | None:
    """The entry of the list under exactly this key, found without parsing the rest."""
    start = text.find(f"\n    {json.dumps(key)}: {{")
    if start < 0:
        return None
    try:
        entry, _ = json.JSONDecoder().raw_decode(text, text.index(": {", start) + 2)
    except ValueError:
        return None
    return cast("dict[str, object]", entry)


def _keys(name: str) -> tuple[str, ...]:
    """How the list may call the model: with its provider, or by its bare name."""
    return (name, name.partition("/")[2]) if "/" in name else (name,)


def _info(entry: dict[str, object]) -> ModelInfo:
    window = _number(entry.get("max_input_tokens")) or _number(entry.get("max_tokens"))
    limit = _number(entry.get("max_output_tokens"))
    return ModelInfo(
        context_window=int(window) if window else DEFAULT_CONTEXT_WINDOW,
        max_output=int(limit) if limit else None,
        accepts_images=entry.get("supports_vision") is True,
        input_price=_number(entry.get("input_cost_per_token")),
        output_price=_number(entry.get("output_cost_per_token")),
        cached_price=_number(entry.get("cache_read_input_token_cost")),
        written_price=_number(entry.get("cache_creation_input_token_cost")),
        thinking=_thinking(entry),
    )


def _thinking(entry: dict[str, object]) -> Thinking:
    if entry.get("thinking_always_on") is True:
        return "always"
    if entry.get("supports_adaptive_thinking") is True:
        return "adaptive"
    return "budget" if entry.get("supports_reasoning") is True else "never"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
