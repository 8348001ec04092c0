"""What each text passes on its way to the model, the windows and the journal: secrets, strangers' orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import field, replace

from hermes_acp.content import Block, Diff, ResourceBlock, Shown, TextBlock
from hermes_acp.events import Notice, Steered, ToolKind
from hermes_acp.policy import injection, provenance
from hermes_acp.policy.masking import Masks, Stream
from hermes_acp.records import mutable
from hermes_acp.tools.base import ToolResult

FILES: tuple[ToolKind, ...] = ("read", "search", "edit", "delete", "move")
"""Calls of this kind give texts of files, which stay as they are: the model may edit them."""

SHORT = 1_024
"""Characters of a text that is looked through in less time than it takes to ask a thread for it.

That is 0.35 ms in the middle of a turn, when the threads are asleep and the journal is busy.
"""

SERVER = "__"
"""Stands in the names of tools of MCP servers alone."""

SUSPICIOUS = "Suspicious text in what the agent reads: {what}"
CONSEQUENCE = (
    "{warning} The model was told to follow none of it. Until this turn ends, you are asked before anything "
    "that could carry data away, whatever your rules and the mode say."
)
HIDDEN = "A secret in your message is hidden from the model"
REVERSIBLE = (
    "It gets a mark in its place, which becomes the secret again in files that it writes, and in nothing "
    "else. For a command, put the secret into a file or a variable yourself."
)


@mutable
class Screening:
    """The screen of one turn, whose `masks` are those of its session; `publish` tells the user.

    `tainted`: something suspicious was seen, and what could carry data away has to be asked for.
    """

    masks: Masks = field(default_factory=Masks)
    tainted: bool = False

    async def prompt(
        self, content: tuple[Block, ...], publish: Callable[[Notice], None]
    ) -> tuple[Block, ...]:
        """What the user said, without its secrets; the user is told of them."""
        screened: list[Block] = []
        for block in content:
            match block:
                case TextBlock():
                    screened.append(replace(block, text=await self._hide(block.text, given=True)))
                case ResourceBlock():
                    screened += await self.resources((block,), publish)
                case _:
                    screened.append(block)
        typed = zip(content, screened, strict=True)
        if any(isinstance(said, TextBlock) and said != told for said, told in typed):
            publish(Notice("warning", HIDDEN, REVERSIBLE))
        return tuple(screened)

    async def steered(self, message: Steered, publish: Callable[[Notice], None]) -> Steered:
        """The same of what the user said meanwhile."""
        return replace(message, content=await self.prompt(message.content, publish))

    async def result(
        self, name: str, kind: ToolKind, result: ToolResult, publish: Callable[[Notice], None]
    ) -> ToolResult:
        """What a call gave, for the model and for the person."""
        is_file = kind in FILES and SERVER not in name
        if self.masks.ready and injection.is_ready() and not result.shown and len(result.text) <= SHORT:
            masked, warning = self._result(result, is_file=is_file)
        else:
            masked, warning = await asyncio.to_thread(self._result, result, is_file=is_file)
        self._warn(name, warning, publish)
        return masked

    async def resources(
        self, blocks: tuple[ResourceBlock, ...], publish: Callable[[Notice], None]
    ) -> tuple[ResourceBlock, ...]:
        """Files that a prompt refers to or brings along."""
        screened: list[ResourceBlock] = []
        for block in blocks:
            if block.text is None:
                screened.append(block)
                continue
            text, warning = await asyncio.to_thread(self._outside, block.text, is_file=True)
            self._warn(block.uri, warning, publish)
            screened.append(replace(block, text=text))
        return tuple(screened)

    async def text(self, text: str) -> str:
        """Any text without secrets."""
        return await self._hide(text)

    async def shown(self, shown: tuple[Shown, ...]) -> tuple[Shown, ...]:
        """What a person is shown, without secrets."""
        return await asyncio.to_thread(lambda: tuple(map(self._shown, shown))) if shown else ()

    def stream(self) -> Stream:
        """Output that arrives in pieces."""
        return Stream(self.masks)

    async def _hide(self, text: str, *, given: bool = False) -> str:
        if self.masks.ready and len(text) <= SHORT:
            return self.masks.hide(text, given=given)
        return await asyncio.to_thread(self.masks.hide, text, given=given)

    def _result(self, result: ToolResult, *, is_file: bool) -> tuple[ToolResult, str]:
        text, warning = self._outside(result.text, is_file=is_file)
        shown = tuple(map(self._shown, result.shown))
        title = None if result.title is None else self.masks.hide(result.title)
        return replace(result, text=text, shown=shown, title=title), warning

    def _outside(self, text: str, *, is_file: bool) -> tuple[str, str]:
        checked = (provenance.noted if is_file else provenance.neutralised)(self.masks.hide(text))
        return checked.text, checked.warning

    def _shown(self, shown: Shown) -> Shown:
        hide = self.masks.hide
        match shown:
            case TextBlock():
                return replace(shown, text=hide(shown.text))
            case Diff():
                old = None if shown.old_text is None else hide(shown.old_text, shown.path)
                return replace(shown, new_text=hide(shown.new_text, shown.path), old_text=old)
            case ResourceBlock() if shown.text is not None:
                return replace(shown, text=hide(shown.text))
            case _:
                return shown

    def _warn(self, what: str, warning: str, publish: Callable[[Notice], None]) -> None:
        if warning:
            self.tainted = True
            title, description = SUSPICIOUS.format(what=what), CONSEQUENCE.format(warning=warning)
            publish(Notice("warning", title, description))
