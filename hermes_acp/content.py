"""What messages and tool calls are made of, and what they show: pure data, no behaviour."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.records import record


@record
class TextBlock:
    """Plain or Markdown text."""

    text: str
    type: Literal["text"] = "text"


@record
class ImageBlock:
    """An image; `data` is base64."""

    data: str
    mime_type: str
    uri: str | None = None
    type: Literal["image"] = "image"


@record
class AudioBlock:
    """A sound; `data` is base64."""

    data: str
    mime_type: str
    type: Literal["audio"] = "audio"


@record
class LinkBlock:
    """A reference to something that the agent can read by itself."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    type: Literal["link"] = "link"


@record
class ResourceBlock:
    """Contents handed over with the message: `text`, or `blob` as base64; one of the two."""

    uri: str
    text: str | None = None
    blob: str | None = None
    mime_type: str | None = None
    type: Literal["resource"] = "resource"


Block: TypeAlias = TextBlock | ImageBlock | AudioBlock | LinkBlock | ResourceBlock


@record
class Diff:
    """A change of one file as whole texts; `old_text` is None for a new file. Path absolute."""

    path: str
    new_text: str
    old_text: str | None = None
    type: Literal["diff"] = "diff"


@record
class TerminalRef:
    """A terminal that an editor itself runs and shows; its id is `window/id`, with the window's label."""

    terminal_id: str
    type: Literal["terminal"] = "terminal"


Shown: TypeAlias = TextBlock | ImageBlock | AudioBlock | LinkBlock | ResourceBlock | Diff | TerminalRef
"""What a tool call shows to the person (the model reads `ToolCallFinished.result`)."""


@record
class Location:
    """A place in a file for the editor to follow; absolute path, 1-based line."""

    path: str
    line: int | None = None
