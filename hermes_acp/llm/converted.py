"""Remembers how the last histories looked in the wire format: a longer history costs what is new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from hermes_acp.llm.base import AssistantMessage, Message, Request
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.route import Dialect
from hermes_acp.records import record

KEPT = 16
"""Conversations that are remembered; the one that was not used for longest is forgotten."""

Convert: TypeAlias = Callable[[tuple[Message, ...], int, Dialect], list[Json]]
"""What is sent for the message at a position; an answer brings the results of its calls along."""


@record
class _Kept:
    messages: tuple[Message, ...]
    dialect: Dialect
    ends: list[int]
    sent: list[Json]


class Converted:
    """The conversions of one model. Histories are told apart by `Request.session_id`."""

    def __init__(self, convert: Convert) -> None:
        self._convert = convert
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def messages(self, request: Request, dialect: Dialect) -> list[Json]:
        """What is sent for the whole history, one message after the other; not to be modified."""
        known = self._kept.pop(request.session_id, None)
        ends: list[int] = []
        sent: list[Json] = []
        if known is not None and known.dialect == dialect:
            same = _settled(known.messages, request.messages)
            ends = known.ends[:same]
            sent = known.sent[: ends[-1]] if ends else []
        for position in range(len(ends), len(request.messages)):
            sent += self._convert(request.messages, position, dialect)
            ends.append(len(sent))
        self._kept[request.session_id] = _Kept(request.messages, dialect, ends, sent)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return sent


def _settled(old: tuple[Message, ...], new: tuple[Message, ...]) -> int:
    """How many messages are the very same, up to the last answer, whose results may still change."""
    same = 0
    for before, now in zip(old, new, strict=False):
        if before is not now:
            break
        same += 1
    while same and not isinstance(new[same - 1], AssistantMessage):
        same -= 1
    return max(0, same - 1)
