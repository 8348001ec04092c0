"""Completion while a prompt is typed: slash commands with their values, and files behind an `@`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from hermes_acp.cli.attach import mentions, words
from hermes_acp.cli.attach.state import State
from hermes_acp.cli.screen import one_line


class PromptCompleter(Completer):
    """Completes from what the session offers now; the files are asked for when the first `@` is typed."""

    def __init__(self, state: Callable[[], State], files: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        self._state = state
        self._files = files

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """The commands; files need waiting."""
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        for text, about in words.completions(self._state(), before):
            yield Completion(text, -len(word), display_meta=about)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """The commands and the files."""
        typed = mentions.typed(document.text_before_cursor)
        if typed is None:
            for completion in self.get_completions(document, complete_event):
                yield completion
            return
        for path in mentions.offered(await self._files(), typed):
            yield Completion(mentions.quoted(path), -len(typed) - 1, display=one_line(path))
