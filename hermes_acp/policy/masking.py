"""Marks that stand for secrets: put in on the way to the model and the journal, taken out in a file again."""

from __future__ import annotations

import re
import secrets as random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from hermes_acp.policy import secrets
from hermes_acp.policy.secrets import Span, lines
from hermes_acp.records import mutable

MARKS_BOUND = 4_096
"""Secrets of one session that are remembered; over it the oldest is forgotten."""

KNOWN_BOUND = 256
"""The newest of them are also searched for by their value."""

LONG = 200_000
"""In longer texts only the suspicious lines are looked at."""

HELD = 8_192
"""Characters of an unfinished line (or key) that wait for their end in a stream."""

MARK = re.compile(r"\[redacted: [^\[\]\n#]{1,40} #[0-9a-f]{6}\]")

UNKNOWN = (
    "{mark} stands for a secret that is not known any more, because the session was opened anew: nothing "
    "was written. Read the file again and use the marks that it shows now."
)
ELSEWHERE = (
    "{mark} stands for a secret that was not read from {path}, and can only be written where it was read: "
    "nothing was written. Read it from the environment or another file at run time, or ask the user to put "
    "it there."
)


class Misplaced(ValueError):
    """A mark cannot be written; `str()` tells the model why and what to do."""


@mutable
class _Secret:
    """One value. `paths` are the files that held it; one that the user `gave` may go into any file."""

    value: str
    mark: str
    paths: set[str] = field(default_factory=set[str])
    given: bool = False


class Masks:
    """The secrets that one session has met, in memory only; may be used in several threads.

    A mark has a random number, so that it never means another value: not in a later run of the
    server, and not in another session.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._by_value: dict[str, _Secret] = {}
        self._by_mark: dict[str, _Secret] = {}
        self._lock = threading.Lock()
        self.ready = False
        """Whether the tables are read: then a short text needs no thread."""
        for value in known:
            self._remember(value, "environment")

    def hide(self, text: str, path: str = "", *, given: bool = False) -> str:
        """The text with a mark in place of each secret; the same value gets the same mark.

        `path` is the file that holds the text. The first call reads tables: call it in a thread.
        """
        spans = self._spans(text)
        self.ready = True
        if not spans:
            return text
        with self._lock:
            return secrets.replaced(text, spans, self._marking(text, path, given=given))

    def restore(self, text: str, path: str, now: str) -> str:
        """The text with the secrets back in place of their marks, to be written to `path`.

        What the file holds `now` as text that looks like a mark stays. Raises `Misplaced`.
        """

        def value(match: re.Match[str]) -> str:
            mark, secret = match[0], self._by_mark.get(match[0])
            if secret is not None and (secret.given or path in secret.paths):
                return secret.value
            if mark in now:
                return mark
            raise Misplaced((UNKNOWN if secret is None else ELSEWHERE).format(mark=mark, path=path))

        with self._lock:
            return MARK.sub(value, text)

    def _spans(self, text: str) -> tuple[Span, ...]:
        found = secrets.find(text) if len(text) <= LONG else tuple(lines.suspected(text))
        marks = [match.span() for match in MARK.finditer(text)] if "[redacted: " in text else []
        every = ((span.start, span.end, span.kind) for span in (*found, *self._known(text)))
        return tuple(
            span
            for span in secrets.disjoint(every)
            if not any(start < span.end and span.start < end for start, end in marks)
        )

    def _known(self, text: str) -> Iterator[Span]:
        with self._lock:
            values = [value for value in self._by_value if len(value) >= lines.SHORTEST][-KNOWN_BOUND:]
        for value in values:
            at = text.find(value)
            while at >= 0:
                yield Span(at, at + len(value), "secret")
                at = text.find(value, at + len(value))

    def _marking(self, text: str, path: str, *, given: bool) -> Callable[[Span], str]:
        def mark(span: Span) -> str:
            secret = self._remember(text[span.start : span.end], span.kind)
            secret.given |= given
            if path:
                secret.paths.add(path)
            return secret.mark

        return mark

    def _remember(self, value: str, kind: str) -> _Secret:
        if (secret := self._by_value.get(value)) is None:
            mark = f"[redacted: {kind} #{random.token_hex(3)}]"
            secret = self._by_value[value] = self._by_mark[mark] = _Secret(value, mark)
            if len(self._by_value) > MARKS_BOUND:
                oldest = self._by_value.pop(next(iter(self._by_value)))
                del self._by_mark[oldest.mark]
        return secret


class Stream:
    """Text that arrives in pieces, with marks in place of secrets that pieces cut in two.

    The last word waits for its end, and so does a line in which something announces a secret.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._held = ""

    def add(self, text: str) -> str:
        """What can be shown now. The tables must have been read: some text was hidden before."""
        text = self._held + text
        cut = lines.whole(text)
        if len(text) - cut > HELD:
            cut = len(text)
        self._held = text[cut:]
        return self._masks.hide(text[:cut]) if cut else ""

    def end(self) -> str:
        """What was held back."""
        text, self._held = self._held, ""
        return self._masks.hide(text) if text else ""
