"""What is told beside a conversation: notices, and what was learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from hermes_acp.events import MemoryChanged, Notice
from hermes_acp.records import mutable
from hermes_acp.server.acp.render.messages import chunk
from hermes_acp.server.messages import Json

LEARNED = {
    "proposed": "proposed",
    "active": "remembered",
    "superseded": "replaced",
    "retracted": "taken back",
}
REVIEW = "`/memory review` shows what is proposed."
TAKE_BACK = "`/memory` shows what is known, and takes it back."
NOTICE_CHARS = 1_000
"""Characters of a line about what was learned."""


@mutable
class Notices:
    """What one client is told: `served` says that it shows notices as such.

    One without them gets those that matter as thoughts, and only within a turn.
    """

    served: bool
    _count: int = 0
    _in_turn: bool = False
    _untold: list[Notice] = field(default_factory=list[Notice])

    def begin_turn(self) -> Iterator[Json]:
        """What waited for a turn to begin."""
        self._in_turn = True
        while self._untold:
            yield from self.tell(self._untold.pop(0))

    def end_turn(self) -> None:
        """What comes from now on may have to wait."""
        self._in_turn = False

    def tell(self, event: Notice) -> Iterator[Json]:
        """A notice, now or with the next turn."""
        if self.served:
            update: Json = {"sessionUpdate": "notice", "severity": event.severity, "title": event.title}
            if event.description:
                update["description"] = event.description
            yield update
        elif event.severity != "info" and not self._in_turn:
            self._untold.append(event)
        elif event.severity != "info":
            # Beside an answer, not in it.
            self._count += 1
            text = ". ".join(filter(None, (event.title, event.description)))
            yield chunk("agent_thought_chunk", f"notice-{self._count}", text)


def learned(event: MemoryChanged) -> Notice:
    """What became of facts, in one line, and where the user goes on from there."""
    told = "; ".join(f"{LEARNED[fact.status]}: {' '.join(fact.text.split())}" for fact in event.facts)
    waiting = any(fact.status == "proposed" for fact in event.facts)
    return Notice("info", f"Memory: {told}"[:NOTICE_CHARS], REVIEW if waiting else TAKE_BACK)
