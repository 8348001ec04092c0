"""Provider state that has to go back unchanged with the answer it came with, kept as JSON text.

It is bound to the model that made it: another model would refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from hermes_acp.llm.loose_json import Json, as_list, as_object, as_text

GROWING = ("text", "thinking", "summary", "data")
"""Members of a streamed block whose pieces are joined; any other member is replaced."""


@dataclass(slots=True)
class Opaque:
    """The blocks of reasoning of one answer, and the provider's long ids of its calls by our ids."""

    model: str
    blocks: list[Json] = field(default_factory=list[Json])
    long_ids: dict[str, str] = field(default_factory=dict[str, str])

    def __bool__(self) -> bool:
        """Whether there is anything to send back."""
        return bool(self.blocks or self.long_ids)

    def add(self, pieces: list[Json]) -> None:
        """Take streamed pieces of blocks; a piece continues the last block unless that is signed."""
        for piece in pieces:
            last = self.blocks[-1] if self.blocks else None
            if last is not None and _continues(last, piece):
                _extend(last, piece)
            else:
                self.blocks.append(dict(piece))

    def dump(self) -> str:
        """The JSON text for `AssistantMessage.opaque`."""
        return orjson.dumps({"model": self.model, "blocks": self.blocks, "long_ids": self.long_ids}).decode()


def load(text: str | None, model: str) -> Opaque:
    """What this model left with an earlier answer; empty when another model, of any kind, wrote it."""
    try:
        stored = as_object(orjson.loads(text or "{}"))
    except orjson.JSONDecodeError:
        return Opaque(model)
    if stored.get("model") != model:
        return Opaque(model)
    blocks = [as_object(block) for block in as_list(stored.get("blocks"))]
    return Opaque(
        model, blocks, {name: as_text(value) for name, value in as_object(stored.get("long_ids")).items()}
    )


def _continues(last: Json, piece: Json) -> bool:
    return (
        not last.get("signature")
        and last.get("type") == piece.get("type")
        and last.get("index") == piece.get("index")
    )


def _extend(last: Json, piece: Json) -> None:
    for name, value in piece.items():
        before = last.get(name)
        if name in GROWING and isinstance(value, str) and isinstance(before, str):
            last[name] = before + value
        elif value is not None:
            last[name] = value
