"""Events to `session/update`: pure, one renderer for each session that a client watches.

A renderer remembers only what the client has seen (how much of each message, which cards are open),
so that text is exact however deltas were merged or dropped, and a card is opened once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import orjson

from hermes_acp.content import (
    AudioBlock,
    Block,
    Diff,
    ImageBlock,
    LinkBlock,
    Location,
    ResourceBlock,
    Shown,
    TerminalRef,
    TextBlock,
)
from hermes_acp.events import (
    ApprovalResolved,
    Command,
    CommandsChanged,
    CompactionStarted,
    ContextCompacted,
    Envelope,
    MemoryChanged,
    MessageCompleted,
    Notice,
    Option,
    OptionsChanged,
    PlaceChanged,
    PlanEntry,
    PlanUpdated,
    QuestionAnswered,
    Rewound,
    SessionEnded,
    Steered,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    TitleChanged,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallProgress,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.records import record
from hermes_acp.server.messages import Json, encode

OUTPUT_SHOWN = 64 * 1024
"""Characters of a running command's output in one content update: its end."""
DELTA = (
    b'{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"%b","update":'
    b'{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":%b},"messageId":"%b"}}}\n'
)
"""The hot path of streaming; ids are our own and need no escaping."""
BOUNDARIES = (TurnStarted, TurnEnded)
INTERRUPTED = "*This turn was interrupted: the server stopped before it was finished.*"
"""What a reopened conversation says where a turn broke off."""
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
TAKEN_BACK = "*The turn above was taken back: the model does not know of it.*"
"""What it says behind a turn that was taken back, which the protocol cannot remove."""


@record
class Abilities:
    """What the client can show."""

    notices: bool = False
    compaction: bool = False
    terminal_output: bool = False


@dataclass(slots=True)
class Renderer:
    """What one client has seen of one session."""

    session_id: str
    abilities: Abilities
    taken_back: set[str] = field(default_factory=set[str])
    """The turns of a replay that do not count any more."""
    _sent: dict[tuple[str, str], int] = field(default_factory=dict["tuple[str, str]", int])
    _opened: set[str] = field(default_factory=set[str])
    _running: set[str] = field(default_factory=set[str])
    _terminals: set[str] = field(default_factory=set[str])
    _embedded: set[str] = field(default_factory=set[str])
    _output: dict[str, str] = field(default_factory=dict[str, str])
    _notices: int = 0
    _in_turn: bool = False
    _untold: list[Notice] = field(default_factory=list[Notice])

    def render(self, envelope: Envelope, *, label: str | None = None) -> bytes:
        """The lines to send for one event, possibly none.

        `label` names the client that is shown to, which shows its own messages and knows its own answers
        itself; None for the replay of a conversation, where messages are sent too.
        """
        event = envelope.event
        if isinstance(event, TextDelta):
            return self._delta(event)
        if isinstance(event, BOUNDARIES):
            self._in_turn = isinstance(event, TurnStarted)
        return b"".join(line(self.session_id, item) for item in self._updates(envelope, label))

    def _updates(self, envelope: Envelope, label: str | None) -> Iterator[Json]:
        event = envelope.event
        match event:
            case TurnStarted() | Steered():
                if event.client != label:
                    yield from _user_message(event, taken_back=envelope.turn_id in self.taken_back)
                while self._untold and self._in_turn:
                    yield from self._notice(self._untold.pop(0))
            case ThoughtDelta():
                yield from self._rest("agent_thought_chunk", event.message_id, event.text, event.offset)
            case MessageCompleted():
                yield from self._rest("agent_thought_chunk", event.message_id, event.thought)
                yield from self._rest("agent_message_chunk", event.message_id, _said(event))
                self._sent.pop(("agent_thought_chunk", event.message_id), None)
                self._sent.pop(("agent_message_chunk", event.message_id), None)
            case ToolCallAnnounced() | ToolCallStarted():
                yield self._open_call(event)
            case ToolCallProgress():
                yield from self._progress(event, label)
            case ApprovalResolved() | QuestionAnswered():
                yield from _resolved(event, label)
            case ToolCallFinished():
                yield self._finish_call(event)
            case PlanUpdated():
                yield {"sessionUpdate": "plan", "entries": [_plan_entry(item) for item in event.entries]}
            case UsageUpdated():
                yield _usage(event)
            case OptionsChanged():
                yield from _options_changed(event)
            case TitleChanged() | PlaceChanged():
                yield _info(event)
            case CommandsChanged():
                yield {
                    "sessionUpdate": "available_commands_update",
                    "availableCommands": [_command(item) for item in event.commands],
                }
            case Notice() | MemoryChanged(facts=(_, *_)):
                yield from self._notice(event if isinstance(event, Notice) else _learned(event))
            case SessionEnded() if event.reason and event.client != label:
                yield from self._notice(Notice("warning", event.reason))
            case CompactionStarted() | SummaryDelta() | ContextCompacted():
                yield from self._compaction(event)
            case Rewound():
                yield _rewound(event)
            case TurnEnded():
                yield from self._end_turn(event, envelope, label)
            case _:
                return

    def _end_turn(self, event: TurnEnded, envelope: Envelope, label: str | None) -> Iterator[Json]:
        if event.stop_reason == "interrupted":
            yield _chunk("agent_message_chunk", f"interrupted-{envelope.turn_id}", INTERRUPTED)
        elif label is not None:
            yield _ended(event, envelope.at, label)
        if envelope.turn_id in self.taken_back:
            yield _chunk("agent_message_chunk", f"taken-back-{envelope.turn_id}", TAKEN_BACK)

    # --- messages --------------------------------------------------------------------------------

    def _delta(self, event: TextDelta) -> bytes:
        text = self._new(("agent_message_chunk", event.message_id), event.text, event.offset)
        return DELTA % (self.session_id.encode(), _quoted(text), event.message_id.encode()) if text else b""

    def _rest(self, kind: str, message_id: str, text: str, offset: int = 0) -> Iterator[Json]:
        if new := self._new((kind, message_id), text, offset):
            yield _chunk(kind, message_id, new)

    def _new(self, key: tuple[str, str], text: str, offset: int) -> str:
        """What the client has not seen of a piece; nothing of one behind a gap, which is filled later."""
        sent = self._sent.get(key, 0)
        if not offset <= sent < offset + len(text):
            return ""
        self._sent[key] = offset + len(text)
        return text[sent - offset :]

    # --- tool calls ------------------------------------------------------------------------------

    def _open_call(self, event: ToolCallAnnounced | ToolCallStarted) -> Json:
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

    def _progress(self, event: ToolCallProgress, label: str | None) -> Iterator[Json]:
        update: Json = {"sessionUpdate": "tool_call_update", "toolCallId": event.call_id}
        if event.call_id not in self._running:
            self._running.add(event.call_id)
            update["status"] = "in_progress"
        if event.shown is not None:
            shown = list(_visible(event.shown, label))
            if shown or not event.shown:
                update["content"] = [content(item) for item in shown]
            if any(isinstance(item, TerminalRef) for item in shown):
                self._embedded.add(event.call_id)
        if event.output:
            update |= self._command_output(event)
        if len(update) > 2:
            yield update

    def _command_output(self, event: ToolCallProgress) -> Json:
        if not self.abilities.terminal_output:
            text = (self._output.get(event.call_id, "") + event.output)[-OUTPUT_SHOWN:]
            self._output[event.call_id] = text
            return {"content": [content(TextBlock(fenced(text)))]}
        update: Json = {"_meta": {"terminal_output": {"terminal_id": event.call_id, "data": event.output}}}
        if event.call_id not in self._terminals:
            self._terminals.add(event.call_id)
            update["content"] = [content(TerminalRef(event.call_id))]
            cast("Json", update["_meta"])["terminal_info"] = {"terminal_id": event.call_id}
        return update

    def _finish_call(self, event: ToolCallFinished) -> Json:
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

    # --- the rest --------------------------------------------------------------------------------

    def _notice(self, event: Notice) -> Iterator[Json]:
        if self.abilities.notices:
            update: Json = {"sessionUpdate": "notice", "severity": event.severity, "title": event.title}
            if event.description:
                update["description"] = event.description
            yield update
        elif event.severity != "info" and not self._in_turn:
            self._untold.append(event)
        elif event.severity != "info":
            # A client without notices shows it beside an answer, not in it.
            self._notices += 1
            text = ". ".join(filter(None, (event.title, event.description)))
            yield _chunk("agent_thought_chunk", f"notice-{self._notices}", text)

    def _compaction(self, event: CompactionStarted | SummaryDelta | ContextCompacted) -> Iterator[Json]:
        if not self.abilities.compaction:
            return
        update: Json = {"sessionUpdate": "compaction_update", "compactionId": event.compaction_id}
        match event:
            case CompactionStarted():
                yield update | {"status": "in_progress"}
            case SummaryDelta():
                if new := self._new(
                    ("compaction_summary_chunk", event.compaction_id), event.text, event.offset
                ):
                    update["sessionUpdate"] = "compaction_summary_chunk"
                    yield update | {"content": block(TextBlock(new))}
            case ContextCompacted():
                self._sent.pop(("compaction_summary_chunk", event.compaction_id), None)
                update["status"] = event.status
                # It replaces the pieces, of which nothing is kept when there is no summary.
                update["summary"] = [block(TextBlock(event.summary))] if event.summary else []
                yield update | ({"error": event.error} if event.error else {})


def line(session_id: str, update: Json) -> bytes:
    """One `session/update` notification."""
    return encode(
        {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session_id, "update": update}}
    )


def block(item: Block) -> Json:
    """A content block of the protocol."""
    match item:
        case TextBlock():
            return {"type": "text", "text": item.text}
        case ImageBlock():
            body: Json = {"type": "image", "data": item.data, "mimeType": item.mime_type}
            return body | ({"uri": item.uri} if item.uri else {})
        case AudioBlock():
            return {"type": "audio", "data": item.data, "mimeType": item.mime_type}
        case LinkBlock():
            extra = {"title": item.title, "description": item.description, "mimeType": item.mime_type}
            known = {name: value for name, value in extra.items() if value is not None}
            size = {} if item.size is None else {"size": item.size}
            return {"type": "resource_link", "uri": item.uri, "name": item.name, **known, **size}
        case ResourceBlock():
            resource: Json = {"uri": item.uri}
            resource |= {"text": item.text} if item.text is not None else {"blob": item.blob}
            resource |= {"mimeType": item.mime_type} if item.mime_type else {}
            return {"type": "resource", "resource": resource}


def content(item: Shown) -> Json:
    """Content of a tool call."""
    match item:
        case Diff():
            return {"type": "diff", "path": item.path, "oldText": item.old_text, "newText": item.new_text}
        case TerminalRef():
            return {"type": "terminal", "terminalId": item.terminal_id}
        case _:
            return {"type": "content", "content": block(item)}


def location(item: Location) -> Json:
    """A place in a file."""
    return {"path": item.path} if item.line is None else {"path": item.path, "line": item.line}


def config_option(item: Option) -> Json:
    """A session configuration option."""
    option: Json = {
        "id": item.option_id,
        "name": item.name,
        "type": "select",
        "currentValue": item.current,
        "options": [
            {"value": value.value, "name": value.name}
            | ({"description": value.description} if value.description else {})
            for value in item.values
        ],
    }
    if item.description:
        option["description"] = item.description
    if item.category != "other":
        option["category"] = item.category
    return option


def modes(options: tuple[Option, ...]) -> Json:
    """The mode option once more, as the session modes that older clients show."""
    mode = next(item for item in options if item.category == "mode")
    return {
        "currentModeId": mode.current,
        "availableModes": [
            {"id": value.value, "name": value.name, "description": value.description} for value in mode.values
        ],
    }


def terminal(label: str, terminal_id: str) -> str:
    """The id of a window's terminal among those of all windows."""
    return f"{label}/{terminal_id}"


def fenced(text: str) -> str:
    """Text as a Markdown code block that it cannot break out of."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _chunk(kind: str, message_id: str, text: str) -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}, "messageId": message_id}


def _visible(shown: tuple[Shown, ...], label: str | None) -> Iterator[Shown]:
    """What a client can show: terminals only when they are its own, under the ids that it gave."""
    own = terminal(label or "", "")
    for item in shown:
        if not isinstance(item, TerminalRef):
            yield item
        elif item.terminal_id.startswith(own):
            yield TerminalRef(item.terminal_id.removeprefix(own))


def _learned(event: MemoryChanged) -> Notice:
    """What became of facts, in one line, and where the user goes on from there."""
    told = "; ".join(f"{LEARNED[fact.status]}: {' '.join(fact.text.split())}" for fact in event.facts)
    waiting = any(fact.status == "proposed" for fact in event.facts)
    return Notice("info", f"Memory: {told}"[:NOTICE_CHARS], REVIEW if waiting else TAKE_BACK)


def _rewound(event: Rewound) -> Json:
    rewound = {"direction": event.direction, "turns": event.count}
    return {"sessionUpdate": "session_info_update", "_meta": {"hermes": {"rewound": rewound}}}


def _user_message(event: TurnStarted | Steered, *, taken_back: bool) -> Iterator[Json]:
    whose = _hermes(client=event.client, takenBack=taken_back)
    name = _named(event.speaker) if isinstance(event, TurnStarted) else ""
    for item in (*((TextBlock(name),) if name else ()), *event.content):
        yield {
            "sessionUpdate": "user_message_chunk",
            "content": block(item),
            "messageId": event.message_id,
            **whose,
        }


def _named(speaker: str) -> str:
    """What stands before the words of somebody whose name is known, because they were imported."""
    return f"{speaker}: " if speaker else ""


def _said(event: MessageCompleted) -> str:
    return _named(event.speaker) + event.text if event.text else ""


def _resolved(event: ApprovalResolved | QuestionAnswered, label: str | None) -> Iterator[Json]:
    """Who answered, for the clients that were asked too."""
    if label is None or event.client in ("", label):
        return
    update: Json = {"sessionUpdate": "tool_call_update", "toolCallId": event.call_id}
    if isinstance(event, QuestionAnswered):
        yield update | _hermes(resolvedBy=event.client, outcome=event.outcome)
    else:
        yield update | _hermes(resolvedBy=event.client, optionId=event.option_id)


def _hermes(**members: str | bool | None) -> Json:
    """`_meta` with what the protocol has no member for; nothing when there is nothing to say."""
    known = {name: value for name, value in members.items() if value}
    return {"_meta": {"hermes": known}} if known else {}


def _options_changed(event: OptionsChanged) -> Iterator[Json]:
    yield {
        "sessionUpdate": "config_option_update",
        "configOptions": [config_option(item) for item in event.options],
    }
    mode = next(item for item in event.options if item.category == "mode")
    yield {"sessionUpdate": "current_mode_update", "currentModeId": mode.current}


def _info(event: TitleChanged | PlaceChanged) -> Json:
    if isinstance(event, TitleChanged):
        return {"sessionUpdate": "session_info_update", "title": event.title}
    return {"sessionUpdate": "session_info_update", "_meta": {"hermes": {"cwd": event.cwd}}}


def _ended(event: TurnEnded, at: float, label: str) -> Json:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    other = None if event.client == label else event.client
    how = _hermes(stopReason=event.stop_reason, cancelledBy=other, error=event.error)
    return {"sessionUpdate": "session_info_update", "updatedAt": moment, **how}


def _usage(event: UsageUpdated) -> Json:
    update: Json = {"sessionUpdate": "usage_update", "used": event.used, "size": event.size}
    if event.cost is not None:
        update["cost"] = {"amount": event.cost, "currency": "USD"}
    return update


def _plan_entry(item: PlanEntry) -> Json:
    return {"content": item.content, "priority": item.priority, "status": item.status}


def _command(item: Command) -> Json:
    command: Json = {"name": item.name, "description": item.description}
    return command if item.hint is None else command | {"input": {"hint": item.hint}}


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


def _quoted(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except TypeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode())
