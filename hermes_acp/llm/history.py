"""What the wire formats have in common: how a history is read, and what stands for what cannot be sent."""

from __future__ import annotations

import html
import json
import uuid
from typing import cast

import orjson

from hermes_acp.content import AudioBlock, Block, ImageBlock, LinkBlock, ResourceBlock
from hermes_acp.llm.base import AssistantMessage, Message, Request, ToolMessage, UserMessage
from hermes_acp.llm.loose_json import Json

NO_RESULT = "No result: the call was interrupted before it finished."
NO_OUTPUT = "(no output)"
NO_WORDS = "(empty message)"
NO_SIGHT = "[An image was left out: this model cannot see images.]"


def taken_ids(request: Request) -> set[str]:
    """The ids of the calls in the history, which no new call may have."""
    answers = (message for message in request.messages if isinstance(message, AssistantMessage))
    return {call.call_id for message in answers for call in message.tool_calls}


def new_id(wanted: str, taken: set[str]) -> str:
    """The id for a new call, the wanted one if it is free; it is taken afterwards."""
    call_id = wanted if wanted and wanted not in taken else f"call_{uuid.uuid4().hex[:24]}"
    taken.add(call_id)
    return call_id


def results(messages: tuple[Message, ...], start: int) -> dict[str, ToolMessage]:
    """The results between an answer and the next one, by call; the first of each call counts."""
    found: dict[str, ToolMessage] = {}
    for position in range(start, len(messages)):
        message = messages[position]
        if isinstance(message, AssistantMessage):
            break
        if isinstance(message, ToolMessage):
            found.setdefault(message.call_id, message)
    return found


def result_text(result: ToolMessage | None) -> str:
    """What a call gave, in words; never empty."""
    return NO_RESULT if result is None else result.text or NO_OUTPUT


def arguments(text: str) -> Json:
    """The arguments of a call as an object, whatever the model wrote: servers choke on anything else."""
    try:
        value = cast("object", orjson.loads(text))
    except orjson.JSONDecodeError:
        value = None
    return cast("Json", value) if isinstance(value, dict) else _mended(text)


def arguments_text(text: str) -> str:
    """The same as JSON text; arguments that are well stay as the model wrote them."""
    try:
        if isinstance(orjson.loads(text), dict):
            return text
    except orjson.JSONDecodeError:
        pass
    return json.dumps(_mended(text))


def _mended(text: str) -> Json:
    return {"malformed_arguments": text} if text.strip() else {}


def has_images(request: Request) -> bool:
    """Whether the history holds an image."""
    for message in request.messages:
        if isinstance(message, ToolMessage) and message.images:
            return True
        if isinstance(message, UserMessage) and any(_is_image(block) for block in message.content):
            return True
    return False


def _is_image(block: Block) -> bool:
    if isinstance(block, ResourceBlock):
        return block.text is None and (block.mime_type or "").startswith("image/")
    return isinstance(block, ImageBlock)


def image_url(image: ImageBlock) -> str | None:
    """Where the image is when only its address is known."""
    is_remote = not image.data and (image.uri or "").startswith(("http://", "https://"))
    return image.uri if is_remote else None


def resource_image(resource: ResourceBlock) -> ImageBlock | None:
    """The image that a resource holds."""
    mime_type = resource.mime_type or ""
    is_image = resource.text is None and resource.blob and mime_type.startswith("image/")
    return ImageBlock(resource.blob, mime_type) if is_image and resource.blob else None


def link_text(link: LinkBlock) -> str:
    """A reference, in words."""
    facts = [fact for fact in (link.title, link.description, link.mime_type) if fact]
    if link.size is not None:
        facts.append(f"{link.size} bytes")
    return f"[{link.name}]({link.uri})" + (f" ({'; '.join(facts)})" if facts else "")


def resource_text(resource: ResourceBlock) -> str:
    """A resource with its text, or what is said of one that has none."""
    if resource.text is not None:
        # Nothing that a file says can end what is marked as said by it.
        text = resource.text.replace("</resource", "<\\/resource")
        return f'<resource uri="{html.escape(resource.uri)}">\n{text}\n</resource>'
    mime_type = resource.mime_type or "application/octet-stream"
    return f"[The binary resource {resource.uri} of type {mime_type} was left out.]"


def sound_text(audio: AudioBlock, sendable: str) -> str:
    """What is said of a sound that cannot be sent; `sendable` names those that can."""
    return f"[A sound of type {audio.mime_type} was left out: {sendable} can be sent.]"
