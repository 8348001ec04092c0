"""Tool calls: a card is opened once, updated while the call runs, and ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import cast

import orjson

from hermes_acp.content import TerminalRef, TextBlock
from hermes_acp.events import (
    ApprovalResolved,
    QuestionAnswered,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallProgress,
    ToolCallStarted,
)
from hermes_acp.records import mutable
from hermes_acp.server.acp.render.content import content, fenced, location, visible
from hermes_acp.server.acp.render.meta import hermes
from hermes_acp.server.messages import Json

OUTPUT_SHOWN = 64 * 1024
"""Characters of a running command's output in one content update: its end."""


@mutable
class Calls:
    """The cards that one client has open; `terminal_output` says that it shows output by itself."""

    terminal_output: bool
    _opened: set[str] = field(default_factory=set[str])
    _running: set[str] = field(default_factory=set[str])
    _terminals: set[str] = field(default_factory=set[str])
    _embedded: set[str] = field(default_factory=set[str])
    _output: dict[str, str] = field(default_factory=dict[str, str])

    def open(self, event: ToolCallAnnounced | ToolCallStarted) -> Json:
        """A call that the model asks for, or that begins."""
        update: Json = {
            "sessionUpdate": "tool_call_update" if event.call_id in self._opened else "tool_call",
            "toolCallId": event.call_id,
            "title": event.name,
            "name": event.name,
            "kind": event.kind,
            "status": "pending",
        }
        self._opened.add(event.call_id)
        if isinstance(event, ToolCallStarted):
            update["title"] = event.title
            update["rawInput"] = _raw_input(event.arguments)
            if event.locations:
                update["locations"] = [location(item) for item in event.locations]
            if event.kind in ("read", "search", "think"):
                update["status"] = "in_progress"
                self._running.add(event.call_id)
        return update

    def progress(self, event: ToolCallProgress, label: str | None) -> Iterator[Json]:
        """What a running call shows to the client with this label, if there is anything new."""
        update: Json = {"sessionUpdate": "tool_call_update", "toolCallId": event.call_id}
        if event.call_id not in self._running:
            self._running.add(event.call_id)
            update["status"] = "in_progress"
        if event.shown is not None:
            shown = list(visible(event.shown, label))
            if shown or not event.shown:
                update["content"] = [content(item) for item in shown]
            if any(isinstance(item, TerminalRef) for item in shown):
                self._embedded.add(event.call_id)
        if event.output:
            update |= self._command_output(event)
        if len(update) > 2:
            yield update

    def _command_output(self, event: ToolCallProgress) -> Json:
        if not self.terminal_output:
            text = (self._output.get(event.call_id, "") + event.output)[-OUTPUT_SHOWN:]
            self._output[event.call_id] = text
            return {"content": [content(TextBlock(fenced(text)))]}
        update: Json = {"_meta": {"terminal_output": {"terminal_id": event.call_id, "data": event.output}}}
        if event.call_id not in self._terminals:
            self._terminals.add(event.call_id)
            update["content"] = [content(TerminalRef(event.call_id))]
            cast("Json", update["_meta"])["terminal_info"] = {"terminal_id": event.call_id}
        return update

    def finish(self, event: ToolCallFinished) -> Json:
        """How a call ended; nothing is kept of it."""
        update: Json = {
            "sessionUpdate": "tool_call_update",
            "toolCallId": event.call_id,
            "status": "completed" if event.outcome == "completed" else "failed",
        }
        if event.title is not None:
            update["title"] = event.title
        if event.call_id in self._terminals:
            ended = event.exit
            update["_meta"] = {
                "terminal_exit": {
                    "terminal_id": event.call_id,
                    "exit_code": ended.code if ended else None,
                    "signal": ended.signal if ended else None,
                }
            }
        elif event.call_id not in self._embedded:
            shown = [item for item in event.shown if not isinstance(item, TerminalRef)]
            update["content"] = [
                content(item) for item in (*(shown or [TextBlock(event.result)]), *event.images)
            ]
        if event.locations:
            update["locations"] = [location(item) for item in event.locations]
        update["rawOutput"] = _raw_output(event, told="content" in update)
        for seen in (self._opened, self._running, self._terminals, self._embedded):
            seen.discard(event.call_id)
        self._output.pop(event.call_id, None)
        return update


def resolved(event: ApprovalResolved | QuestionAnswered, label: str | None) -> Iterator[Json]:
    """Who answered, for the clients that were asked too."""
    if label is None or event.client in ("", label):
        return
    update: Json = {"sessionUpdate": "tool_call_update", "toolCallId": event.call_id}
    if isinstance(event, QuestionAnswered):
        yield update | hermes(resolvedBy=event.client, outcome=event.outcome)
    else:
        yield update | hermes(resolvedBy=event.client, optionId=event.option_id)


def _raw_output(event: ToolCallFinished, *, told: bool) -> Json:
    """How the call ended; what the model reads only where the content does not say it already."""
    output: Json = {"outcome": event.outcome}
    if event.exit is not None:
        output |= {"exitCode": event.exit.code, "signal": event.exit.signal}
    return output if told else output | {"text": event.result}


def _raw_input(arguments: str) -> object:
    try:
        return cast("object", orjson.loads(arguments))
    except orjson.JSONDecodeError:
        return arguments
