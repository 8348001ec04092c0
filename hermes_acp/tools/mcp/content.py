"""What a server's tool returned, as a tool result: text and images for the model, all for the person."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from hermes_acp.content import AudioBlock, ImageBlock, LinkBlock, Shown, TextBlock
from hermes_acp.tools.base import ToolResult

MAX_IMAGES = 8
"""Images of one result that the model gets; the rest is named only."""

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What model providers accept; any other image would fail the whole request."""


def tool_result(result: CallToolResult, max_chars: int) -> ToolResult:
    """Translate; text beyond `max_chars` is cut with a note."""
    parts = _Parts()
    for block in result.content:
        parts.add(block)
    if not parts.texts and result.structured_content is not None:
        parts.texts.append(json.dumps(result.structured_content, indent=2, ensure_ascii=False))
    text = cut("\n".join(parts.texts), max_chars) or "(The tool returned nothing.)"
    shown = (TextBlock(text), *parts.images, *parts.shown)
    return ToolResult(text, failed=result.is_error, shown=shown, images=tuple(parts.images))


def cut(text: str, max_chars: int) -> str:
    """The text, or its beginning with a note of how much is missing."""
    if len(text) <= max_chars:
        return text
    missing = len(text) - max_chars
    return f"{text[:max_chars]}\n[cut: {missing:,} more characters; ask the tool for less]"


@dataclass(slots=True)
class _Parts:
    texts: list[str] = field(default_factory=list[str])
    images: list[ImageBlock] = field(default_factory=list[ImageBlock])
    shown: list[Shown] = field(default_factory=list[Shown])

    def add(self, block: ContentBlock) -> None:
        match block:
            case TextContent():
                self.texts.append(block.text)
            case ImageContent():
                self._image(block.data, block.mime_type, None)
            case AudioContent():
                self.texts.append(f"[audio, {block.mime_type}: you cannot hear it, the user can play it]")
                self.shown.append(AudioBlock(block.data, block.mime_type))
            case ResourceLink():
                self._link(block)
            case EmbeddedResource():
                self._resource(block)

    def _image(self, data: str, mime_type: str, uri: str | None) -> None:
        if mime_type not in IMAGE_TYPES or len(self.images) == MAX_IMAGES or not _is_base64(data):
            self.texts.append(f"[an image that cannot be shown to you: {uri or mime_type}]")
            return
        self.images.append(ImageBlock(data, mime_type, uri))

    def _link(self, link: ResourceLink) -> None:
        about = f": {link.description}" if link.description else ""
        self.texts.append(f"[resource {link.name} <{link.uri}>{about}]")
        block = LinkBlock(
            link.uri, link.name, link.title, link.description, mime_type=link.mime_type, size=link.size
        )
        self.shown.append(block)

    def _resource(self, block: EmbeddedResource) -> None:
        resource = block.resource
        if not isinstance(resource, BlobResourceContents):
            self.texts.append(f"[resource <{resource.uri}>]\n{resource.text}")
        elif resource.mime_type in IMAGE_TYPES:
            self._image(resource.blob, resource.mime_type, resource.uri)
        else:
            kind = resource.mime_type or "unknown type"
            self.texts.append(f"[resource <{resource.uri}>, {kind}: binary, not shown to you]")


def _is_base64(data: str) -> bool:
    try:
        return bool(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return False
