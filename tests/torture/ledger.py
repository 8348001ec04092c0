"""What a client was told, and whether a replay still has all of it: pure functions over updates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Mark: TypeAlias = tuple[str, str, str]
"""One lasting thing: what it is, its id, and all of it as JSON."""

CHUNKS = ("agent_message_chunk", "agent_thought_chunk")
INTERRUPTED = "This turn was interrupted"
ENDED = ("completed", "failed")
SAFE_AFTER = 1.0
"""Seconds after which shown text survives even if nothing follows it: half a second, and patience."""


@dataclass
class Ledger:
    """The lasting things of one conversation, in order, as far as the client knows that they last.

    Text that streams is no promise yet. It is one as soon as anything lasting follows it, for
    nothing overtakes a message on its way to the journal. What was shown long enough before a kill
    is one too, as the beginning of its message.
    """

    marks: list[Mark] = field(default_factory=list[Mark])
    beginnings: dict[tuple[str, str], str] = field(default_factory=dict["tuple[str, str]", str])
    _drafts: dict[tuple[str, str], str] = field(default_factory=dict["tuple[str, str]", str])
    _arrivals: list[tuple[float, tuple[str, str], int]] = field(
        default_factory=list["tuple[float, tuple[str, str], int]"]
    )

    def prompted(self, text: str) -> None:
        """The user said something."""
        self._drafts["user", text] = text

    def take(self, update: Json, at: float = 0.0) -> None:
        """An update arrived."""
        kind = update["sessionUpdate"]
        if kind in CHUNKS:
            key = (kind, update["messageId"])
            self._drafts[key] = self._drafts.get(key, "") + update["content"]["text"]
            self._arrivals.append((at, key, len(self._drafts[key])))
        elif kind == "user_message_chunk":
            self.acknowledge()
            self.prompted(update["content"]["text"])
        elif (mark := _mark(update)) is not None:
            self.acknowledge()
            self.marks.append(mark)

    def acknowledge(self) -> None:
        """Everything up to here lasts: a later lasting thing, or the answer to the prompt, was seen."""
        self.marks += [(kind, key, text) for (kind, key), text in self._drafts.items()]
        self._drafts.clear()
        self._arrivals.clear()

    def died(self, at: float) -> None:
        """The process was killed: what was neither promised nor shown for long may be gone."""
        for arrived, key, length in self._arrivals:
            if arrived <= at - SAFE_AFTER:
                self.beginnings[key] = self._drafts[key][:length]
        self._drafts.clear()
        self._arrivals.clear()


def replayed(updates: Iterable[Json]) -> Ledger:
    """The ledger of a whole replay."""
    ledger = Ledger()
    for update in updates:
        ledger.take(update)
    ledger.acknowledge()
    return ledger


def lost(known: Ledger, replay: Ledger) -> list[str]:
    """What was promised and is not replayed, or not in its place."""
    rest = iter(replay.marks)
    problems = [f"lost: {mark}" for mark in known.marks if not any(mark == other for other in rest)][:1]
    texts = {(kind, key): text for kind, key, text in replay.marks}
    return problems + [
        f"lost: the beginning of {key}: {text!r}"
        for key, text in known.beginnings.items()
        if not texts.get(key, "").startswith(text)
    ]


def unfinished(replay: Ledger) -> list[str]:
    """What a replay leaves open: calls without an end, and broken turns that it does not call so."""
    started = {key for kind, key, _ in replay.marks if kind == "started"}
    ended = [key for kind, key, _ in replay.marks if kind == "ended"]
    problems = [f"no end: call {key}" for key in started - set(ended)]
    problems += [f"ended twice or never started: call {key}" for key in ended if key not in started]
    turns: list[list[Mark]] = []
    for mark in replay.marks:
        if mark[0] == "user":
            turns.append([])
        if turns:
            turns[-1].append(mark)
    for turn in turns:
        number = turn[0][2].split()[-1]
        texts = [text for kind, _, text in turn if kind == "agent_message_chunk"]
        if f"Finished {number}." not in texts and not any(INTERRUPTED in text for text in texts):
            problems.append(f"neither finished nor called interrupted: turn {turn[0][2]!r}")
    return problems


def calls(replay: Ledger) -> list[tuple[Json, Json]]:
    """The input of each call and how it ended."""
    ends = {key: json.loads(body) for kind, key, body in replay.marks if kind == "ended"}
    return [
        (json.loads(body)["rawInput"], ends.get(key, {}))
        for kind, key, body in replay.marks
        if kind == "started"
    ]


def _mark(update: Json) -> Mark | None:
    match update:
        case {"sessionUpdate": "tool_call" | "tool_call_update", "toolCallId": key, "rawInput": _}:
            kept = {name: update.get(name) for name in ("title", "kind", "rawInput", "locations")}
            return ("started", key, json.dumps(kept))
        case {"sessionUpdate": "tool_call_update", "toolCallId": key, "status": status} if status in ENDED:
            kept = {name: update.get(name) for name in ("status", "content", "rawOutput", "locations")}
            return ("ended", key, json.dumps(kept))
        case {"sessionUpdate": "plan"}:
            return ("plan", "", json.dumps(update["entries"]))
        case {"sessionUpdate": "usage_update"}:
            return ("usage", "", json.dumps(update["used"]))
        case _:
            return None
