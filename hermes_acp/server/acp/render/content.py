"""Blocks, contents of tool calls and places in files, as the protocol has them: pure functions."""

from __future__ import annotations

from collections.abc import Iterator

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
from hermes_acp.server.messages import Json


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


def terminal(label: str, terminal_id: str) -> str:
    """The id of a window's terminal among those of all windows."""
    return f"{label}/{terminal_id}"


def fenced(text: str) -> str:
    """Text as a Markdown code block that it cannot break out of."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def visible(shown: tuple[Shown, ...], label: str | None) -> Iterator[Shown]:
    """What a client can show: terminals only when they are its own, under the ids that it gave."""
    own = terminal(label or "", "")
    for item in shown:
        if not isinstance(item, TerminalRef):
            yield item
        elif item.terminal_id.startswith(own):
            yield TerminalRef(item.terminal_id.removeprefix(own))
