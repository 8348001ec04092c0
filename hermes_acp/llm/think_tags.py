"""Reasoning that models write into their answer between `<think>` and `</think>`."""

from __future__ import annotations

from typing import Literal

from hermes_acp.llm.base import TextPart, ThoughtPart

OPEN = "<think>"
CLOSE = "</think>"


class ThinkTags:
    """Splits an answer, however it is cut, into thoughts and text.

    A tag counts only before the first word of the answer: later ones are text that somebody wants
    to read. White space around the tagged part is dropped; anything else comes out unchanged.
    """

    def __init__(self) -> None:
        self._state: Literal["start", "thought", "text"] = "start"
        self._held = ""
        self._thought_seen = False

    def feed(self, text: str) -> list[TextPart | ThoughtPart]:
        """The parts that are certain by now."""
        if self._state == "text":
            return [TextPart(text)]
        self._held += text
        parts: list[TextPart | ThoughtPart] = []
        while self._step(parts):
            pass
        return parts

    def finish(self) -> list[TextPart | ThoughtPart]:
        """What was held back when the answer ended."""
        held, self._held = self._held, ""
        if self._state == "thought":
            return [ThoughtPart(held)] if held else []
        if self._thought_seen:
            held = held.lstrip()
        return [TextPart(held)] if held else []

    def _step(self, parts: list[TextPart | ThoughtPart]) -> bool:
        """Take one decision; False when more text is needed for the next."""
        if self._state == "thought":
            return self._read_thought(parts)
        if self._state == "start":
            return self._read_start()
        if self._held:
            parts.append(TextPart(self._held))
            self._held = ""
        return False

    def _read_start(self) -> bool:
        words = self._held.lstrip()
        if words.startswith(OPEN):
            self._state, self._held, self._thought_seen = "thought", words[len(OPEN) :], True
            return True
        if OPEN.startswith(words):
            return False
        self._state = "text"
        if self._thought_seen:
            self._held = words
        return True

    def _read_thought(self, parts: list[TextPart | ThoughtPart]) -> bool:
        thought, tag, rest = self._held.partition(CLOSE)
        if not tag:
            keep = _overlap(thought, CLOSE)
            thought, rest = thought[: len(thought) - keep], thought[len(thought) - keep :]
        if thought:
            parts.append(ThoughtPart(thought))
        self._held = rest
        if tag:
            self._state = "start"
        return bool(tag)


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
