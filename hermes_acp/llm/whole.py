"""The whole answer of a model as text, for those who show none of it before it is there."""

from __future__ import annotations

from contextlib import aclosing

from hermes_acp.llm.base import Model, ModelError, Request, TextPart
from hermes_acp.llm.retry import Retrying, stream


async def answer(model: Model, request: Request, limit: int) -> str:
    """The text of an answer of at most `limit` characters. Raises `ModelError`.

    Cancelling it closes the connection to the provider at once.
    """
    pieces: list[str] = []
    length = 0
    async with aclosing(stream(model, request)) as parts:
        async for part in parts:
            if isinstance(part, Retrying) and part.discard:
                pieces.clear()
                length = 0
            elif isinstance(part, TextPart):
                pieces.append(part.text)
                length += len(part.text)
                if length > limit:
                    raise ModelError(f"its answer is longer than {limit:,} characters")
    return "".join(pieces)
