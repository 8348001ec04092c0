"""Bounded memories of a command's output: what it printed, and what nobody has taken yet."""

from __future__ import annotations

from collections import deque

from hermes_acp.workspace.execution.base import Output

HEAD_CHARACTERS = 8_000
"""Kept from the beginning, where a command says what it is about to do."""

TAIL_CHARACTERS = 24_000
"""Kept from the end, where a command says how it went."""

BACKLOG_CHARACTERS = 1_000_000
"""Output that waits to be taken; over it the oldest is dropped, because no window may stall a command."""


class Transcript:
    """The beginning and the end of a text of any length, in constant memory."""

    def __init__(self, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> None:
        self._head_room = head
        self._head: list[str] = []
        self._tail = _Tail(tail)

    def add(self, text: str) -> None:
        """Append."""
        if self._head_room:
            start, text = text[: self._head_room], text[self._head_room :]
            self._head_room -= len(start)
            self._head.append(start)
        self._tail.add(text)

    def output(self) -> Output:
        """Everything while it fits, else head and tail."""
        head = "".join(self._head)
        text, dropped = self._tail.text()
        return Output(text, dropped, head) if dropped else Output(head + text)


class Backlog:
    """Text on its way to a reader who may be slower than the writer."""

    def __init__(self, limit: int = BACKLOG_CHARACTERS) -> None:
        self._limit = limit
        self._waiting = _Tail(limit)

    def add(self, text: str) -> None:
        """Append."""
        self._waiting.add(text)

    def take(self) -> str:
        """Everything that waits, with a note in front where older text was dropped."""
        text, dropped = self._waiting.text()
        self._waiting = _Tail(self._limit)
        return f"\n[… {dropped} characters dropped …]\n{text}" if dropped else text


class _Tail:
    """The last `limit` characters of what was added; holds less than twice as many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: deque[str] = deque()
        self._held = 0
        self._total = 0

    def add(self, text: str) -> None:
        self._total += len(text)
        piece = text[-self._limit :]
        if not piece:
            return
        self._pieces.append(piece)
        self._held += len(piece)
        while self._held - len(self._pieces[0]) >= self._limit:
            self._held -= len(self._pieces.popleft())

    def text(self) -> tuple[str, int]:
        """The text, and the number of characters before it that are gone."""
        kept = "".join(self._pieces)[-self._limit :]
        return kept, self._total - len(kept)
