"""Completion while a prompt is typed: slash commands with their values, what may stand behind an `@`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from hermes_acp.cli.attach import mentions, words
from hermes_acp.cli.attach.state import State
from hermes_acp.cli.screen import one_line
from hermes_acp.workspace import references


class Project(Protocol):
    """What can be mentioned."""

    async def files(self) -> tuple[str, ...]:
        """The files of the session's folder, relative to it."""
        ...

    async def references(self, typed: str) -> tuple[references.Completion, ...]:
        """What the word behind an `@` can become."""
        ...


class PromptCompleter(Completer):
    """Completes from what the session offers now; the project is looked at when an `@` is typed."""

    def __init__(self, state: Callable[[], State], project: Project) -> None:
        self._state = state
        self._project = project

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """The commands; all else needs waiting."""
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        for text, about in words.completions(self._state(), before):
            yield Completion(text, -len(word), display_meta=about)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """The commands, or behind an `@` the references and the files."""
        typed = mentions.typed(document.text_before_cursor)
        if typed is None:
            for completion in self.get_completions(document, complete_event):
                yield completion
            return
        for item in await self._project.references(typed):
            shown = one_line(item.text)
            yield Completion(item.text, -len(typed) - 1, display=shown, display_meta=item.about)
        for path in mentions.offered(await self._project.files(), typed):
            yield Completion(mentions.quoted(path), -len(typed) - 1, display=one_line(path))
