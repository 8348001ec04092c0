"""Secrets in text, found and taken out: pure, and linear in the length of the text.

There are three looks: at shapes that say by themselves what they are (`tokens`), at values behind names that
promise a secret (`assignments`), and at places where secrets stand (`places`). `lines` is for long outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hermes_acp.records import record

MARK = "[redacted: {}]"
"""What takes the place of a secret; it says which kind it was."""


@record
class Span:
    """A secret from `start` to before `end` (in code points); `kind` is a name such as "github token"."""

    start: int
    end: int
    kind: str


def mark_of(span: Span) -> str:
    """What takes the place of a secret where it need not come back."""
    return MARK.format(span.kind)


def find(text: str) -> tuple[Span, ...]:
    """The secrets of a text in their order, without overlaps; never raises.

    The first call reads the tables (some 30 ms): call it in a thread.
    """
    # Imported at the first use: their patterns take some 10 ms, which a start without texts saves.
    from hermes_acp.policy.secrets import assignments, places, tokens

    # The shapes come first: where two looks find the same, the more telling name stays.
    found = (*tokens.find(text), *places.find(text), *assignments.find(text))
    return tuple(disjoint(found))


def redact(text: str) -> str:
    """The text with a mark in place of each secret; all else stays as it is."""
    return replaced(text, find(text))


def replaced(text: str, spans: Iterable[Span], mark: Callable[[Span], str] = mark_of) -> str:
    """The text with what `mark` gives in place of each of the spans, which come in their order."""
    pieces: list[str] = []
    done = 0
    for span in spans:
        pieces += (text[done : span.start], mark(span))
        done = span.end
    return "".join((*pieces, text[done:]))


def disjoint(found: Iterable[tuple[int, int, str]]) -> Iterable[Span]:
    """The spans in their order; those that touch the same characters become one."""
    open_span: Span | None = None
    for start, end, kind in sorted(found, key=lambda item: item[:2]):
        if open_span is None or start >= open_span.end:
            if open_span is not None:
                yield open_span
            open_span = Span(start, end, kind)
        elif end > open_span.end:
            open_span = Span(open_span.start, end, open_span.kind)
    if open_span is not None:
        yield open_span
