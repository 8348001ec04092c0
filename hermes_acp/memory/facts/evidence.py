"""Whether evidence is what it says: quotes stand in their messages, files are as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from hermes_acp.memory.facts.changes import Change, Confirm, Retract, Take
from hermes_acp.memory.facts.fact import Evidence, Fact, folded

MessageText: TypeAlias = Callable[[str, int], Awaitable[str]]
"""The text of an event of a session, by the session's id and the event's number; empty when there is none."""
BlobOf: TypeAlias = Callable[[str], str | None]
"""The blob that a path has in the code now; None when there is no such file."""


async def checked(changes: Sequence[Change], message: MessageText) -> list[Change]:
    """The changes, with what was found of their evidence. Raises what `message` raises."""
    return [
        change
        if isinstance(change, (Retract, Confirm, Take))
        else replace(change, evidence=tuple([await _checked(item, message) for item in change.evidence]))
        for change in changes
    ]


def stale(fact: Fact, blob_of: BlobOf) -> bool:
    """Whether code that the fact was read from has changed since."""
    anchors = (item.anchor.rpartition("@") for item in fact.evidence if item.anchor)
    return any(blob_of(path) != blob for path, _, blob in anchors)


def stands_in(quote: str, text: str) -> bool:
    """Whether a text has these words in a row, however the lines break; an empty quote means any text."""
    said = folded(text)
    return bool(said) and folded(quote) in said


async def _checked(item: Evidence, message: MessageText) -> Evidence:
    text = await message(item.session, item.seq)
    found = await asyncio.to_thread(stands_in, item.quote, text)
    return replace(item, found=found)
